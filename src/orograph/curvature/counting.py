"""How far a computation is, told in products: `on_product(stage, count)` has one meaning wherever it is an argument.

`stage` names what is being computed ("spectrum", "trace", …), `count` is the number of matrix–vector products spent so far: of
this call, all its stages together where one limit holds for them, else of the stage. It is called after products, from the
process and thread that make them; what it returns is not looked at, what it raises ends the computation.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

OnProduct = Callable[[str, int], None]


def counter(on_product: Callable[..., Any] | None, stage: str) -> Callable[[int], Any]:
    """Tells a callback of one stage; nobody where there is none.

    A callback of one argument without a default, the count alone, still works, with a `DeprecationWarning`.
    """
    if on_product is None:
        return lambda count: None
    if _takes_count_alone(on_product):
        warnings.warn(
            "an on_product of one argument is deprecated: it is called with what is computed and with the products so far, "
            "on_product(stage, count).",
            DeprecationWarning,
            stacklevel=3,
        )
        return on_product
    return functools.partial(on_product, stage)


def renamed(on_product: OnProduct | None, stage: str) -> OnProduct | None:
    """A callback that is told another stage than the computation's own: one part of a larger whole."""
    if on_product is None:
        return None
    told = counter(on_product, stage)
    return lambda _, count: told(count)


def _takes_count_alone(function: Callable[..., Any]) -> bool:
    """Whether a callback asks for one argument: a second with a default (`lambda count, bar=bar: …`) is its own affair."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without one
        return False
    asked = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    anything = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return not anything and sum(each.default is each.empty for each in asked) < 2
