"""What the operator of one θ and the cohort of many share: an engine, where it stands, and how products come about."""

import copy
from typing import ClassVar, TypeVar

from torch import Tensor

from orograph.calling import usable
from orograph.curvature.engine import Engine, Point
from orograph.curvature.formulas import Formula
from orograph.curvature.precision import Precision
from orograph.errors import ConfigurationError

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Kind = TypeVar("Kind", bound="Standing")


class Standing:
    """An engine at one θ `(P,)`, or `(M, P)` for a cohort. Others of the same engine stand elsewhere."""

    formula: ClassVar[Formula]
    precision: Precision
    products: int = 0

    def _stand(self, engine: Engine, theta: Tensor, precision: Precision) -> None:
        self._engine, self.precision, self.products = engine, precision, 0
        self._point = Point(usable(theta.detach().contiguous()))

    def _sibling(self: Kind, engine: Engine, theta: Tensor, precision: Precision) -> Kind:
        other = copy.copy(self)
        other._stand(engine, theta, precision)
        return other

    def _moved(self: Kind, theta: Tensor) -> Kind:
        here = self._point.theta
        if theta.shape != here.shape:
            raise ConfigurationError(f"θ has shape {tuple(theta.shape)}; where this stands it has {tuple(here.shape)}.")
        return self._sibling(self._engine, theta.to(here), self.precision)

    def _multiply(self, vectors: Tensor) -> Tensor:
        """The product with `(P,)`, with each row of `(b, P)`, or, of a cohort, row by row."""
        return self._engine.multiply(self._point, vectors.to(self._point.theta).contiguous(), self.precision)

    @property
    def method(self) -> str:
        """How products are computed: `traced`, `forward-over-reverse` or `double-backward`."""
        return self._engine.method

    @property
    def fallback_reason(self) -> str:
        """Why the method is not `traced`; empty if it is."""
        return self._engine.fallback_reason

    @property
    def certificate(self) -> tuple[str, ...]:
        """Names of the tests that products passed on a few of the samples: `slope`, `symmetry`, `difference` or `metric`."""
        return self._engine.certificate

    @property
    def tested_on(self) -> str:
        """What they were made on: `a few samples`; after a spectrum, a density or many products `all batches`, or how many.

        On the others nothing can be said: the gradient jumps (as at kinks of a ReLU) or float64 is too dear on the device.
        """
        agreeing, batches = self._engine.agreeing or (0, 0)
        if not agreeing:
            return "a few samples"
        return "all batches" if agreeing == batches else f"a few samples, and {agreeing} of {batches} batches"

    @property
    def kink(self) -> str:
        """A parameter by which the loss has a kink at the θ of its objective, as a ReLU of zeros has; empty if none was found.

        There is no second derivative there; products are those of what automatic differentiation puts in its place.
        """
        return self._engine.kink

    @property
    def traces(self) -> int:
        """How many graphs the products run, recorded for them or kept from an operator before; a new θ needs no other."""
        return self._engine.traces
