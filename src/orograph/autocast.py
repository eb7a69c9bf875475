"""Autocast that surrounds a caller changes no number: whatever this library computes is in the dtypes of its tensors."""

import contextlib
from collections.abc import Iterator

import torch

_KINDS = ("cpu", "cuda")


@contextlib.contextmanager
def uncast() -> Iterator[None]:
    """Operations compute in the dtypes of their tensors: autocast around is switched off, one that a module begins works."""
    with contextlib.ExitStack() as stack:
        for kind in _KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
