"""Seconds of a piece of work, for plans that multiply them."""

import time
from collections.abc import Callable
from typing import Any


def seconds_of(work: Callable[[], Any], *, times: int = 1, warm: bool = True) -> float:
    """Of one call, the mean of several; after one that traces and prepares whatever is kept, where this has not been done."""
    if warm:
        work()
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times
