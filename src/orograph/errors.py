"""The few errors a user can meet. Each message names the value, the limit and the way out."""

import difflib
from collections.abc import Iterable


class OrographError(Exception):
    """Base of every error that is the input's fault; the command prints it and exits with 2."""


class ConfigurationError(OrographError, ValueError):
    """An option, an argument or a combination of them is out of range. Messages name arguments as `momentum`; the command line
    shows these as flags."""


class DataError(OrographError):
    """A data set, a checkpoint or a batch cannot be used."""


class RunError(OrographError):
    """A run directory is missing, foreign, locked, damaged or does not fit on the disk."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """The error for a name that is not among `known`, with the nearest one."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}."
    return ConfigurationError(f"unknown {kind} '{name}'; {hint}")
