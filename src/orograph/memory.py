"""Memory budgets: how they are written, and how many samples fit into one."""

import math
import re

from orograph.errors import ConfigurationError

_UNITS = {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

DEFAULT_MEMORY = "4GiB"
_MOST = 2**60  # bytes


def parse_bytes(budget: str | int) -> int:
    """The number of bytes meant by `"4GiB"`, `"500 MB"` or a plain number.

    Raises:
        ConfigurationError: the text is no size, or is not positive, or so small a number without a unit that one was forgotten.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(budget))
    if match is None or match[2].lower() not in _UNITS or match[1].count(".") > 1 or match[1] == ".":
        raise ConfigurationError(f"memory '{budget}' is not a size; write it like 4GiB or 500MB.")
    wanted = float(match[1]) * _UNITS[match[2].lower()]
    if wanted > _MOST:
        raise ConfigurationError(f"memory '{str(budget)[:20]}…' is more than any machine has; write it like 4GiB or 500MB.")
    size = int(wanted)
    if size <= 0:
        raise ConfigurationError(f"memory '{budget}' must be positive; write it like 4GiB or 500MB.")
    if isinstance(budget, str) and not match[2] and size < _UNITS["k"]:
        raise ConfigurationError(f"memory '{budget}' is of bytes, in which nothing fits; give it a unit, like 4GiB or 500MB.")
    return size


def format_bytes(size: float) -> str:
    """A size for people: `1.4 GB`, `96 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def chunk_length(samples: int, bytes_per_sample: float, budget: int) -> int:
    """The length of equal chunks of `samples` samples that fit the budget; at least 1.

    Equal chunks, because each distinct chunk length costs a trace of its own.
    """
    largest = max(1, min(samples, int(budget / max(bytes_per_sample, 1))))
    return math.ceil(samples / math.ceil(samples / largest))
