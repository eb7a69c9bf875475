"""Whether the parameters of a module have moved since an operator was made of it: the operator stands where they were."""

import warnings
import weakref

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import OrographWarning
from orograph.parameters import Layout


class Watch:
    """Looks at where parameters lie and how often they were written into, which costs nothing; warns once.

    Args:
        model: the module an operator is made of.
        layout: names of the parameters that make up θ.
        theta: `(P,)`, where the operator stands.
    """

    def __init__(self, model: nn.Module, layout: Layout, theta: Float[Tensor, " P"]) -> None:
        named = dict(model.named_parameters())
        self._parameters = {name: weakref.ref(named[name]) for name in layout.names}
        self._layout, self._theta, self._warned = layout, theta, False
        self._state = self._seen(self._there())

    def _there(self) -> dict[str, Tensor]:
        return {name: parameter for name, reference in self._parameters.items() if (parameter := reference()) is not None}

    @staticmethod
    def _seen(there: dict[str, Tensor]) -> list[tuple[int, int]]:
        return [(0 if each.is_inference() else each._version, each.data_ptr()) for each in there.values()]

    def look(self) -> None:
        """Warns if they have moved and nothing was said yet."""
        there = {} if self._warned else self._there()
        if len(there) < len(self._parameters) or (state := self._seen(there)) == self._state:
            return
        if torch.equal(self._layout.flatten(there).to(self._theta), self._theta):  # written into, yet the same
            self._state = state
            return
        self._warned = True
        warnings.warn(
            "the module's parameters have moved since this operator was made; it stands at the earlier θ: make it anew, or say "
            "by `at(theta)` where it is to stand.",
            OrographWarning,
            stacklevel=4,
        )
