"""Effective ranks."""
