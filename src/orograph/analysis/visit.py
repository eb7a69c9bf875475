"""A committed point as the analyses see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.objective import Objective
from orograph.problem import Groups
from orograph.spectral.spectrum import Spectrum
from orograph.store.cells import Cell
from orograph.store.findings import Result
from orograph.store.run import Run
from orograph.store.spectra import loss_spectrum
from orograph.sweep.bench import Bench
from orograph.sweep.point import Instruments
from orograph.sweep.record import committed_state
from orograph.sweep.states import Buffers


@dataclass(frozen=True)
class Part:
    """A group of results that are computed together at a point.

    Attributes:
        name: of the part.
        settings: all that its results depend on beside the point.
        compute: finds them.
        products: roughly what it costs at a point, in Hessian-vector products.
        needs_vectors: whether it needs the recorded eigenvectors.
    """

    name: str
    settings: Mapping[str, Any]
    compute: Callable[["Visit"], Result]
    products: float
    needs_vectors: bool = False

    @property
    def work(self) -> float:
        """What it takes, in products; every part reads its point and writes its results."""
        return 2 + self.products


@dataclass(eq=False)
class Visit:
    """One point with what measures it.

    Attributes:
        bench: data, model, objectives and Hessian of the run.
        run: where the point is recorded.
        cell: which point.
        say: told what is being computed and the products it took.
    """

    bench: Bench
    run: Run
    cell: Cell
    say: Callable[[str, int], None] = lambda name, count: None

    @cached_property
    def _state(self) -> tuple[Float[Tensor, " P"], Buffers]:
        state = committed_state(self.bench, self.run, self.cell)
        assert state is not None
        return self.bench.states.split(state)

    @cached_property
    def instruments(self) -> Instruments:
        """What measures here: with the point's own buffers, where it has such."""
        return self.bench.measuring(self._state[1])

    @cached_property
    def theta(self) -> Float[Tensor, " P"]:
        """θ."""
        return self._state[0]

    @cached_property
    def operator(self) -> HessianOperator:
        """H at θ, of the plain loss."""
        return self.instruments.hessian.at(self.theta)

    @property
    def smooth(self) -> bool:
        """Whether the loss is C²: if not, all second-order results leave out its kinks."""
        return self.bench.instruments.smooth

    @property
    def gradient(self) -> Float[Tensor, " P"]:
        """∇L."""
        return self.operator.gradient

    @cached_property
    def objective(self) -> Objective:
        """L_eff on the training set, at this point's strength."""
        return self.instruments.train.penalised(self.cell.strength, self.bench.anchor)

    @property
    def offset(self) -> Float[Tensor, " P"]:
        """θ − θ_ref."""
        return self.objective.offset(self.theta)

    @property
    def classes(self) -> int:
        """How many groups there are."""
        return self.bench.instruments.classes

    @property
    def groups(self) -> Groups | None:
        """Of the samples."""
        return self.bench.instruments.groups

    @property
    def classifies(self) -> bool:
        """Whether the groups are classes that the outputs are scores of."""
        return self.bench.instruments.classifies

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """The recorded pairs, None without eigenvectors."""
        return loss_spectrum(self.run, self.cell, self.objective.theta)

    def pairs(self) -> Spectrum:
        """The recorded pairs, where it is known that there are some."""
        assert self.spectrum is not None
        return self.spectrum

    def counting(self, name: str) -> OnProduct:
        """A callback for what counts its products."""
        return lambda stage, count: self.say(name, count)
