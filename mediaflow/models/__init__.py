"""Model weights: the one list of them, where they come from, and their verification."""
