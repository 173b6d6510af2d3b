"""Benchmarks: the numbers of docs/benchmarks.md, each by `scripts/benchmark NAME`."""
