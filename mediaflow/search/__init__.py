"""From a query to results: words, spaces, and how they are put together."""
