"""Queues: RQ on Redis or Valkey, with JSON only and an allow-list of what a job may name."""
