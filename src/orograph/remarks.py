"""What a command says beside its answer: warnings, one line each on standard error; a worker's are its driver's to tell.

An answer that a program reads has standard output to itself: what a model or data of one's own print goes to standard error.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from orograph.errors import OrographWarning, shown

Remark = tuple[str, bool]  # what was said, and whether by this library

_ANSWERS: ContextVar[TextIO | None] = ContextVar("answers", default=None)


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Within it whatever is printed goes to standard error, and only `answer` to standard output."""
    token = _ANSWERS.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _ANSWERS.reset(token)


def answer(text: str) -> None:
    """Print what a program reads."""
    print(text, file=_ANSWERS.get())


@contextlib.contextmanager
def told(*, own: bool, others: bool) -> Iterator[None]:
    """Within it warnings are lines; of those that are not to be told nothing is seen, nor of what further processes of `torchrun`
    say: they do as the first does.

    Args:
        own: whether this library's are told.
        others: whether torch's and everybody else's are.
    """
    said: set[str] = set()
    first = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        text = shown(" ".join(str(message).split()))
        if text not in said:
            said.add(text)
            with contextlib.suppress(OSError, ValueError):  # a closed standard error ends no command
                print(f"warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        if not others or not first:
            warnings.simplefilter("ignore")
        if own and first:
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
