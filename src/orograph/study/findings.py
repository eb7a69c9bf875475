"""What one measurement of a study found, in the plain form in which a run keeps it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Findings:
    """Results of one minimum, one pair of minima or one slice.

    Attributes:
        scalars: numbers, texts, short lists and mappings of them by name; NaN where a number could not be had.
        arrays: what is large, by name.
    """

    scalars: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
