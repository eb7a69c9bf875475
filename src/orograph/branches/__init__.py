"""Branches of critical points as runs: followed from a point of a sweep or a checkpoint, through folds and where they meet."""
