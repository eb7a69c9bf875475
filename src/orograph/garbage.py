"""Work without a search for garbage."""

import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """For imports and drawing, which make many small objects that stay: to look for garbage would take a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@functools.cache
def keep_imports() -> None:
    """What a process has imported stays: no later search looks at it again. Only the first call in a process counts."""
    gc.freeze()
