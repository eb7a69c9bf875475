"""Labels of samples, as a person gives them: numbers or words, in an order of their own."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from orograph.errors import DataError


def order(label: int | str | float | bool) -> tuple[bool, float, str]:
    """Numbers by their size, be they written as words, before other words."""
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    finite = math.isfinite(number)
    return not finite, number if finite else 0.0, str(label)


def plain(labels: Any) -> list[Any]:
    """Labels as numbers or words."""
    if isinstance(labels, Tensor | np.ndarray):
        labels = labels.tolist()
    found = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    wrong = [each for each in found if not isinstance(each, int | str | float | bool)]
    if any(isinstance(each, float) and math.isnan(each) for each in found):
        raise DataError("`groups` gave NaN for a sample; give every sample a label, such as the word none.")
    if wrong:
        raise DataError(f"`groups` gave a label of type {type(wrong[0]).__name__}; labels are numbers or words.")
    return found
