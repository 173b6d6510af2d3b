"""What may be enqueued: one module per task, and the three functions that workers run."""
