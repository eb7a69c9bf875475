"""The paths that have names. Imports no torch."""

PATHS = ("linear", "bezier", "chain", "band", "aligned")
WAYS = (*PATHS, "anchored")  # a study, which connects many pairs, goes without the one that takes Hessian products
