"""The catalog: one SQLite file that is the truth about assets, their locations and findings."""
