"""One place where an error of torch, or of the user's module or loss, becomes a sentence of this library.

The sentence names the innermost module of the user's that was at work (its `forward` is on the traceback), or the loss, and what
was said; the original stays chained to it. Errors that come from neither are faults of this library and pass as they are.
"""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch import nn

from orograph.errors import ConfigurationError, OrographError

_FROM_TORCH = (RuntimeError, NotImplementedError)
_LONGEST = 240  # characters of another's message


@contextlib.contextmanager
def explained(model: nn.Module, doing: str) -> Iterator[None]:
    """Raises ConfigurationError in place of what user code or torch raises inside.

    Args:
        model: whose modules are named.
        doing: what was tried, as in "the Hessian cannot be computed".
    """
    try:
        yield
    except (OrographError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:  # a script's own function may end its process
        culprit = _culprit(error.__traceback__, model)
        if not culprit and not isinstance(error, _FROM_TORCH):
            raise
        where = f"{culprit} raises" if culprit else "torch raises"
        raise ConfigurationError(
            f"{doing}: {where} {said(error)}; call model and loss on such a batch by themselves, and mend or exchange what fails."
        ) from error


def said(error: BaseException) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} ({lines[0][:_LONGEST].rstrip('.') if lines else 'no message'})"


def _culprit(traceback: TracebackType | None, model: nn.Module) -> str:
    names = {id(module): name or "model" for name, module in model.named_modules()}
    found = ""
    while traceback is not None:
        frame = traceback.tb_frame
        owner: Any = frame.f_locals.get("self")
        if id(owner) in names and isinstance(owner, nn.Module):
            found = f"'{names[id(owner)]}' ({type(owner).__name__})"
        elif frame.f_globals.get("__name__") == "orograph.reduction":
            found = "the loss"
        traceback = traceback.tb_next
    return found
