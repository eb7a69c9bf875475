"""Is what is multiplied the curvature of the user's loss? Tests on a few of their own samples, without second derivatives.

Automatic differentiation may be wrong without a word: a function whose backward pass takes something for a constant, a forward
mode that moves what reverse mode holds fast. In float64, for random u and v and a small step h,

    slope        (L(θ+hv) − L(θ−hv))/2h = gᵀv                   the gradient is that of the loss
    difference   (g(θ+hv) − g(θ−hv))/2h = Av                    the product is that of the gradient (Hessian)
    metric       vᵀAv = ẏᵀ(∂²L/∂y²)ẏ, ẏ = (y(θ+hv) − y(θ−hv))/2h     of Gauss–Newton; of Fisher vᵀAv = Σ (ℓ̇_n)²
    symmetry     uᵀAv = vᵀAu

A step may cross a kink (ReLU), where gradients jump: shorter steps are tried. Where differences of successive steps agree with
one another, yet not with the product, the test has failed; where they never agree, it says nothing and the others decide. If
the gradient jumps as far at the shortest step as at the longest, θ itself stands on an edge (a norm at zero): that is said. So it
is where tests fail at θ and there is a kink (`kinks.py`: a ReLU of zeros), if they pass beside it: there the engine is right, and
at θ it puts one side's derivatives, or neither's, in the place of what there is not. What rounding does to a gradient is
measured, by a move of θ in its last digit, and allowed for.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from orograph.calling import differentiable
from orograph.curvature.formulas import Formula
from orograph.curvature.kinks import bends, leap
from orograph.errors import ConfigurationError
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.replacements import moving
from orograph.samples import lined_up

SAMPLES = 16
# Of h‖v‖ against 1 + ‖θ‖, and the tolerance. In float64 truncation ∝ h² and rounding ∝ 1/h are far below 1e-5, and that is far
# below any term left out; in float32 both are near 1e-3 at the best steps.
_STEPS = {torch.float64: (1e-5, 1e-6, 1e-7, 1e-8, 1e-9), torch.float32: (1e-2, 3e-3, 1e-3)}
_TOLERANCES = {torch.float64: 1e-5, torch.float32: 3e-2}

_BESIDE = 1e-3  # of 1 + ‖θ‖: a hundred times the longest step


@dataclass(frozen=True, eq=False)
class Tests:
    """What one way of multiplying passed.

    Attributes:
        passed, failed: names of tests; one that says nothing is in neither.
        error: what torch said where there is no product.
        suspect: where the largest error lies: the name of a parameter, empty if nothing failed.
        edge: the parameter along which the loss has a kink at θ itself, where there is no second derivative; empty if none has.
        finite: whether the products are numbers.
    """

    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    error: str = ""
    suspect: str = ""
    edge: str = ""
    finite: bool = True

    @property
    def sound(self) -> bool:
        return not self.failed and not self.error

    def __str__(self) -> str:
        return self.error or f"fails {' and '.join(self.failed)}"


class Examination:
    """The tests of one formula on a few samples of an objective, spread over its data, in float64 if the module can be.

    Args:
        objective: at the θ meant.
        formula: of the products.
        batch: tried in place of a few samples.

    Attributes:
        judged: whether there is anything to judge: the loss is a finite number.

    Raises:
        ConfigurationError: the loss does not depend on θ as far as differentiation sees.
    """

    def __init__(self, objective: Objective, formula: Formula, batch: Batch | None = None) -> None:
        self.formula = formula
        small, batch = _few(objective) if batch is None else (objective, batch)
        self.objective, self.batch = small, batch
        try:
            exact, doubled = small.to(torch.float64), doubled_of(batch)
            if _value(exact, exact.theta, doubled).dtype == torch.float64:
                self.objective, self.batch = exact, doubled
        except RuntimeError:  # the module makes tensors of another dtype inside
            pass
        self.dtype = torch.float64 if self.objective.dtype == torch.float64 else torch.float32
        with differentiable():
            value = _value(self.objective, self.objective.theta.detach().requires_grad_(), self.batch)
        if not value.requires_grad:
            raise ConfigurationError(
                "the loss does not depend on the parameters as far as gradients see: something between them and the loss is "
                "detached, has no derivative (argmax, comparisons), or leaves these parameters out."
            )
        self.judged = bool(value.isfinite())

    def of(self, route: str) -> Tests:
        """The tests of the formula's `forward` or `reverse` route."""

        try:
            with differentiable(), sdpa_kernel(SDPBackend.MATH):
                found = self._tests(route)
                if found.failed and found.finite and self._on_kink():
                    beside = self._beside()._tests(route)
                    if beside.sound:
                        return replace(beside, edge=found.suspect)
                return found
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever torch may raise where it cannot differentiate
            lines = str(error).strip().splitlines()
            return Tests(error=f"{type(error).__name__}: {lines[0] if lines else 'no message'}")

    def _beside(self) -> "Examination":
        """The same a little off θ, where no kink is but by accident."""
        other = copy.copy(self)
        theta = self.objective.theta
        other.objective = self.objective.moved(theta + _BESIDE * (1 + theta.norm()) * self._drawn(3))
        return other

    def _on_kink(self) -> bool:
        """Whether the loss, or its gradient, has a kink at θ itself along one of the lines that are tried."""
        theta, batch, steps = self.objective.theta, self.batch, self._ends()
        gradient = _gradient(self.objective, theta, batch)
        floor = float(self._floor(gradient))
        for v in (self._along(gradient), self._drawn(1)):

            def loss(way: float, v: Tensor = v) -> Tensor:
                with torch.no_grad():
                    return _value(self.objective, theta + way * v, batch)

            def slope(way: float, v: Tensor = v) -> Tensor:
                return _gradient(self.objective, theta + way * v, batch)

            rounding = torch.finfo(theta.dtype).eps * float(loss(0.0).abs())
            if bends(loss, steps, rounding) or bends(slope, steps, floor) or leap(slope, steps) is not None:
                return True
        return False

    def _tests(self, route: str) -> Tests:
        """As few vectors at a time as can be: each is of float64 and of the size of θ."""

        def product(v: Tensor) -> Tensor:
            found = getattr(self.formula, route)(self.objective, self.objective.theta, v, *self.batch)
            return (found[0] if isinstance(found, tuple) else found).detach()

        gradient = _gradient(self.objective, self.objective.theta, self.batch)
        held: dict[str, bool | None] = {"slope": self._slope(self._along(gradient), gradient)}
        floor = self._floor(gradient)
        if held["slope"] is not False:
            del gradient
        u, v = self._drawn(0), self._drawn(1)
        moved, other = product(v), product(u)
        finite = bool(moved.isfinite().all() and other.isfinite().all())
        held["symmetry"] = self._close(u @ moved, v @ other, moved.norm() + other.norm(), floor)
        del u, other
        error = moved
        if self.formula.differences == "gradients":
            held["difference"], error = self._difference(v, moved, floor)
        elif self.formula.differences:
            held["metric"] = self.metric(v, v @ moved)
        failed = tuple(name for name, holds in held.items() if holds is False)
        suspect, edge = "", ""
        if self.formula.differences == "gradients" and held["difference"] is None:
            edge = self._edge(v)
        if failed:
            suspect = self._suspect(gradient, slope=True) if "slope" in failed else self._suspect(error, slope=False)
        return Tests(tuple(name for name, holds in held.items() if holds), failed, suspect=suspect, edge=edge, finite=finite)

    def _drawn(self, number: int) -> Tensor:
        """A random direction of length 1 among the parameters that can move."""
        generator = torch.Generator().manual_seed(number)
        theta = self.objective.theta
        drawn = torch.randn(len(theta), generator=generator, dtype=torch.float64).to(theta)
        drawn *= moving(self.objective.model, self.objective.layout).to(theta)
        return drawn.div_(drawn.norm())

    def _along(self, gradient: Tensor) -> Tensor:
        """Half along the gradient: of random directions alone the slope would be lost among many parameters."""
        along = self._drawn(1)
        if norm := gradient.norm():
            along += torch.copysign(1 / norm, along @ gradient) * gradient  # of one parameter the two would else cancel
        return along.div_(along.norm())

    def _floor(self, gradient: Tensor) -> Tensor:
        """What rounding does to the gradient."""
        theta = self.objective.theta
        shaken = theta * (1 + 2 * torch.finfo(theta.dtype).eps * self._drawn(2).sign_())
        return 10 * _gradient(self.objective, shaken, self.batch).sub_(gradient).norm()

    def _suspect(self, vector: Tensor, *, slope: bool) -> str:
        """The parameter with the largest part of an error; of a gradient, that along which the loss changes otherwise."""
        sizes = {}
        for name, part in self.objective.layout.slices().items():
            sizes[name] = float(vector[part].norm())
            if slope:  # along a random direction too: of what is detached the gradient is zero
                along = torch.zeros_like(vector)
                along[part] = torch.randn(vector[part].shape, generator=torch.Generator().manual_seed(0)).to(vector)
                along[part] += vector[part] * (along.norm() / sizes[name] if sizes[name] else 0)
                along /= along.norm() if along.norm() > 0 else 1
                above, below = self._losses(along, h := self._steps()[0])
                sizes[name] = abs(float(above - below) / (2 * h) - float(vector @ along))
        return max(sizes, key=lambda name: sizes[name])

    def _steps(self) -> list[float]:
        return [step * (1 + self.objective.theta.norm().item()) for step in _STEPS[self.dtype]]

    def _ends(self) -> tuple[float, float]:
        """A long step, and one that is short and yet far above rounding."""
        return self._steps()[0], self._steps()[2]

    def _close(self, a: Tensor, b: Tensor, scale: Tensor, floor: Tensor | float = 0.0, tolerance: float | None = None) -> bool:
        return bool((a - b).abs() <= (tolerance or _TOLERANCES[self.dtype]) * scale + floor)

    def _slope(self, v: Tensor, gradient: Tensor) -> bool:
        eps = torch.finfo(self.objective.theta.dtype).eps
        before = None
        for h in self._steps():
            above, below = self._losses(v, h)
            slope, floor = (above - below) / (2 * h), 10 * eps * above.abs() / h
            # What the next step changes is truncation: at a minimum it is all there is.
            floor = floor if before is None else floor + (slope - before).abs()
            if self._close(slope, gradient @ v, gradient.norm(), floor):
                return True
            before = slope
        return False

    def _losses(self, v: Tensor, h: float) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            above, below = (_value(self.objective, self.objective.theta + sign * h * v, self.batch) for sign in (1, -1))
        return above, below

    def _difference(self, v: Tensor, moved: Tensor, floor: Tensor) -> tuple[bool | None, Tensor]:
        """Whether they agree, None if no difference can be had, and the error where they do not."""
        theta, tolerance = self.objective.theta, _TOLERANCES[self.dtype]
        before, settled = None, None
        for h in self._steps():
            found = _gradient(self.objective, theta + h * v, self.batch)
            found.sub_(_gradient(self.objective, theta - h * v, self.batch)).div_(2 * h)
            if (moved - found).norm() <= tolerance * found.norm() + floor / h:
                return True, moved
            if settled is None and before is not None and (before - found).norm() <= 10 * tolerance * found.norm():
                settled = found
            before = found
        return (None, moved) if settled is None else (False, moved - settled)

    def _edge(self, v: Tensor) -> str:
        """The parameter whose gradient jumps most at θ itself: by as much as ever when steps become short. Empty if none does."""
        theta, steps = self.objective.theta, (self._steps()[0], self._steps()[-1])
        jump = leap(lambda way: _gradient(self.objective, theta + way * v, self.batch), steps)
        return "" if jump is None else self._suspect(jump, slope=False)

    def metric(self, v: Tensor, found: Tensor, tolerance: float | None = None) -> bool:
        """vᵀAv against differences of outputs or losses; that of the dtype when None."""
        for h in self._steps():
            expected, floor = self._squared(v, h)
            if self._close(found, expected, expected.abs(), floor, tolerance):
                return True
        return False

    def _squared(self, v: Tensor, h: float) -> tuple[Tensor, Tensor]:
        objective, (inputs, targets) = self.objective, self.batch
        theta, eps = objective.theta, torch.finfo(objective.theta.dtype).eps
        places = (theta + h * v, theta - h * v)
        if self.formula.differences == "losses":
            with torch.no_grad():
                above, below = (objective.losses(place, inputs, targets) for place in places)
            slopes = (above - below) / (2 * h)
            return slopes.square().sum(), 20 * eps * (slopes.abs() * above.abs()).sum() / h
        with torch.no_grad():
            whole = objective.outputs(theta, inputs)
            read, others = objective.readout.read(whole)
            outputs, above, below = (_joined(each) for each in (read, *map(self._outputs, places)))
            moved = (above - below) / (2 * h)
        size = moved.norm()
        if not size:
            return size, size

        def slope(place: Tensor) -> Tensor:
            with torch.enable_grad():
                point = place.detach().requires_grad_()
                parts = [part.view_as(each) for part, each in zip(point.split([z.numel() for z in read]), read, strict=True)]
                value = objective.summed_of(objective.readout.unread(whole, parts, others), targets)
                return torch.autograd.grad(value, point)[0]

        t = _STEPS[self.dtype][0] * (1 + outputs.norm()) / size
        noise = 10 * (slope(outputs * (1 + 2 * eps)) - slope(outputs)).norm() * size / t
        return ((slope(outputs + t * moved) - slope(outputs - t * moved)) * moved).sum() / (2 * t), noise

    def _outputs(self, theta: Tensor) -> list[Tensor]:
        return self.objective.readout.read(self.objective.outputs(theta, self.batch[0]))[0]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.reshape(-1) for each in tensors])


def _few(objective: Objective) -> tuple[Objective, Batch]:
    """A few samples, spread over the data; of a loss that reads a batch as a whole, the first batch."""
    count = min(SAMPLES, objective.chunk, objective.count)
    if objective.per_sample:
        spread = torch.arange(count, device=objective.device) * objective.count // count
        small = objective.subset(spread)
        return small, next(small.batches(count))
    whole = next(objective.batches())
    return objective, _cut(objective, whole) or whole


def _cut(objective: Objective, batch: Batch) -> Batch | None:
    """A few samples of a batch that the loss reads as a whole: any batch does to try derivatives. None where it cannot be cut."""
    length = len(batch[1])
    if length <= SAMPLES or not lined_up(batch):
        return None
    spread = torch.arange(SAMPLES, device=objective.device) * length // SAMPLES
    try:
        few: Batch = tree_map(lambda leaf: leaf[spread] if isinstance(leaf, Tensor) and leaf.ndim else leaf, batch)
        with torch.no_grad():
            return few if _value(objective, objective.theta, few).isfinite() else None
    except (RuntimeError, ValueError, IndexError):  # as of a graph, whose samples have neighbours
        return None


def doubled_of(batch: Batch) -> Batch:
    return tree_map(lambda leaf: leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, batch)


def _value(objective: Objective, theta: Tensor, batch: Batch) -> Tensor:
    return objective.summed(theta, *batch)


def _gradient(objective: Objective, theta: Tensor, batch: Batch) -> Tensor:
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        return torch.autograd.grad(_value(objective, point, batch), point, materialize_grads=True)[0].detach()
