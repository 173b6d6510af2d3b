"""mediaflow: makes a pile of photos, scans, videos and recordings searchable."""
