"""Bulk edge and outliers."""
