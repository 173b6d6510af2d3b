"""From a query to results: full text, spaces, filters and fusion."""
