"""FAISS: snapshots of the spaces, which are a cache of the vectors in the catalog."""
