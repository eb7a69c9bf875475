"""The few errors a user can meet. Each message names the value, the limit and the way out."""

import difflib
import unicodedata
from collections.abc import Iterable

_LONGEST = 1200  # letters of a message
_NAMES = 40  # that are listed


class OrographError(Exception):
    """Base of every error that is the input's fault; the command prints it and exits with 2."""


class ConfigurationError(OrographError, ValueError):
    """An option, an argument or a combination of them is out of range. Messages name arguments as `momentum`; the command line
    shows these as flags."""


class DataError(OrographError):
    """A data set, a checkpoint or a batch cannot be used."""


class RunError(OrographError):
    """A run directory is missing, foreign, locked, damaged or does not fit on the disk."""


class OrographWarning(UserWarning):
    """What a result does not show by itself and its reader must know; the command line tells it in one line."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """The error for a name that is not among `known`, with the nearest one."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names[:_NAMES])}{more}."
    return ConfigurationError(f"unknown {kind} '{name}'; {hint}")


def a(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"


def shown(text: object, longest: int = _LONGEST) -> str:
    """Text that may come from elsewhere, on one line that a terminal shows as it is.

    Control characters, line breaks, changes of direction and halves of characters are spelled out (`\\x1b`), and of a long text
    the middle is left out.
    """
    words = "".join(letter if _is_plain(letter) else letter.encode("unicode_escape").decode() for letter in str(text))
    return words if len(words) <= longest else f"{words[: 2 * longest // 3]} … {words[-longest // 3 :]}"


def _is_plain(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
