"""Warnings as a command tells them: one line on standard error, each text once; a worker's are its driver's to tell."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from orograph.errors import OrographWarning, shown

Remark = tuple[str, bool]  # what was said, and whether by this library


@contextlib.contextmanager
def told(*, own: bool, others: bool) -> Iterator[None]:
    """Within it warnings are lines; of those that are not to be told nothing is seen.

    Args:
        own: whether this library's are told.
        others: whether torch's and everybody else's are.
    """
    said: set[str] = set()

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        text = shown(" ".join(str(message).split()))
        if text not in said:
            said.add(text)
            with contextlib.suppress(OSError, ValueError):  # a closed standard error ends no command
                print(f"warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        if not others:
            warnings.simplefilter("ignore")
        if own:
            warnings.simplefilter("default", OrographWarning)
        yield


@contextlib.contextmanager
def gathered() -> Iterator[list[Remark]]:
    """Warnings of a worker, of which nobody sees standard error: a list that is filled at the end, each text once."""
    remarks: list[Remark] = []
    with warnings.catch_warnings(record=True) as caught:
        yield remarks
    remarks.extend(dict.fromkeys((str(each.message), issubclass(each.category, OrographWarning)) for each in caught))


def passed_on(remarks: list[Remark]) -> None:
    """In the driver: warns of what a worker said, once for all workers."""
    for text, own in remarks:
        warnings.warn(text, OrographWarning if own else UserWarning, stacklevel=2)
