"""The smallest eigenvalue and the index."""
