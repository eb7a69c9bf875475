"""The paths that have names. Imports no torch."""

PATHS = ("linear", "bezier", "chain", "band", "aligned")
