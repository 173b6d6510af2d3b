"""How jobs are run: a worker that watches, and a child of it in which models live."""
