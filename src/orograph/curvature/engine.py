"""Curvature products over a whole data set, chunk by chunk: traced where the model allows it, by plain autograd where not.

An engine belongs to one objective and formula and holds everything that outlives a change of θ: chunks, traces, the plan. A
`Point` is one θ with what was computed there. Residuals belong to one point at a time, so that a walk through many θ needs the
memory of one; going back to an earlier point computes its residuals again.
"""

import contextlib
import logging
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten

from orograph.calling import apart, differentiable, usable
from orograph.curvature.acceptance import Examination, Tests
from orograph.curvature.chunks import Chunking, even_length, fitting_width, how_many_fit, pays_together, settled
from orograph.curvature.formulas import Formula
from orograph.curvature.known import trace_of
from orograph.curvature.plain import FORWARD, REVERSE, check_product, multiplied, sentence
from orograph.curvature.precision import Precision, products_in
from orograph.curvature.refusals import refusal
from orograph.curvature.throughout import Finding, affordable, direction, exactly, findings
from orograph.curvature.tracing.traced import Trace, Values
from orograph.errors import OrographWarning
from orograph.intake import Batch
from orograph.objective import Objective

TRACED = "traced"


@dataclass(eq=False)
class Point:
    """One θ `(P,)`, or `(M, P)` for a cohort, and what is known there."""

    theta: Tensor
    values: dict[int, Values] = field(default_factory=dict)
    gradient: Tensor | None = None
    loss: Tensor | None = None


class Engine:
    """Products, gradient and loss of one formula over all samples of an objective.

    Attributes:
        method: `traced`, `forward-over-reverse` or `double-backward`.
        certificate: names of the tests that its products passed on a few samples (`acceptance.py`).
        agreeing: how many batches agree with differences of their gradients, and of how many (`throughout.py`).
        fallback_reason: why it is not `traced`; empty if it is.
        plan: chunks and residuals.
        kink: a parameter by which the loss has a kink where the tests were made; empty if none was found.
        doubles: whether the module can be evaluated in float64.
        traces: how many graphs its products run.
        group: the process group whose processes share the work; None for one process.
    """

    group: Any = None
    _separate = False  # whether the tangents of a block are multiplied one by one
    _tile_bytes = 0  # of the largest tensors in tiles; 0: there are none

    def __init__(self, objective: Objective, formula: Formula, *, models: int | None = None) -> None:
        self.objective, self.formula, self.models = objective, formula, models
        self.method, self.fallback_reason = TRACED, ""
        self.certificate: tuple[str, ...] = ()
        self.agreeing: tuple[int, int] | None = None
        self._traces: dict[Any, Trace] = {}
        self._chunks: list[tuple[Trace, Values]] = []  # none where the data are read again
        self._residuals: list[Values] = []
        self._resident: weakref.ref[Point] | None = None
        self._double: Engine | None = None
        with apart():
            self._begin()

    def _begin(self) -> None:
        examination = Examination(self.objective, self.formula)
        tests = {REVERSE: examination.of("reverse") if examination.judged else Tests()}
        if not tests[REVERSE].sound:
            tests[FORWARD] = examination.of("forward")
            if not tests[FORWARD].sound:
                raise refusal(examination, tests[REVERSE], tests[FORWARD])
        self.doubles = examination.dtype == torch.float64
        reference = REVERSE if tests[REVERSE].sound else FORWARD
        self.certificate = tests[reference].passed
        self.kink = tests[reference].edge
        self._warn_of_kink()
        try:
            with _unlogged():
                self.plan = self._plan()
            self._verify(reference)
        except Exception as error:  # whatever a tracer may raise on a model it cannot follow
            self._chunks = []
            self._traces = {}
            self.fallback_reason = sentence(error)
            if FORWARD not in tests and examination.judged:
                tests[FORWARD] = examination.of("forward")
            self._fall_back(tests)

    def _warn_of_kink(self) -> None:
        if self.kink:
            warnings.warn(
                f"the loss has a kink at these very parameters, by '{self.kink}' (a ReLU of zeros or a norm at zero, say), where "
                "it has no second derivative: products are those of what automatic differentiation puts in its place.",
                OrographWarning,
                stacklevel=3,
            )

    def examine(self, point: Point) -> None:
        """Once, and where float64 is not too dear: holds the product of every batch against differences of its gradients.

        Raises:
            ConfigurationError: on some of the data there is no right product; names them.
        """
        known = self.certificate and self.doubles and self.formula.differences and self.models is None
        if self.agreeing is not None or not known or not affordable(point.theta.device):
            return
        with apart(), products_in("high", point.theta.device, point.theta.dtype):
            self.evaluate(point)
            assert point.gradient is not None
            exact, v = exactly(self.objective, point.theta), direction(self.objective, point.gradient)
            agreed = []
            for found in findings(exact, self.formula, v, self._parts(point, v.to(point.theta))):
                agreed.append(found.agrees or (found.agrees is False and self._settled(exact, found)))
                if found.edge and not self.kink:
                    self.kink = found.edge
                    self._warn_of_kink()
        self.agreeing = sum(map(bool, agreed)), len(agreed)

    def _parts(self, point: Point, vector: Tensor) -> Iterator[tuple[Batch, Tensor]]:
        """Every chunk and its part of a product."""
        for batch in self.objective.batches(self.plan.length):
            if self.method != TRACED:
                given = self.objective, point.theta, vector, batch
                try:
                    yield batch, multiplied(self.formula, self.method, *given)
                except RuntimeError as error:  # an operation that only this batch reaches
                    if self.method == REVERSE:
                        raise
                    self.method, self.fallback_reason = REVERSE, f"{self.fallback_reason}; {sentence(error)}"
                    yield batch, multiplied(self.formula, REVERSE, *given)
                continue
            trace, total = self._trace(batch), torch.zeros_like(vector)
            with torch.no_grad():
                known = point.values[id(trace)] | trace.batch(batch)
                known |= trace.residuals(known, {}) | trace.direction(known, vector)
                trace.multiply(total, known)
            yield batch, total

    def _settled(self, exact: Objective, found: Finding) -> bool:
        """A batch that does not agree gets the tests that a few samples got: refused, multiplied otherwise, or but rounded."""
        examination = Examination(exact, self.formula, found.batch)
        tests = {route: examination.of(name) for route, name in ((REVERSE, "reverse"), (FORWARD, "forward"))}
        sound = [route for route in (self.method, REVERSE, FORWARD) if route in tests and tests[route].sound]
        if not sound:
            raise refusal(examination, tests[REVERSE], tests[FORWARD], f" on the samples {found.first} to {found.last}")
        if self.method != TRACED:
            self.method = sound[0]
            return True
        objective = self.objective.moved(exact.theta)
        try:
            check_product(self._trace(found.batch), objective, self.formula, found.batch, None, sound[0])
        except RuntimeError as error:
            self.method, self.fallback_reason = sound[0], sentence(error)
        return True

    @property
    def traces(self) -> int:
        return len(self._traces)

    @differentiable()
    def double(self) -> "Engine":
        """The same in float64, made when first asked for, within half the memory."""
        if self._double is None:
            objective = self.objective.to(torch.float64)
            objective.memory = max(1, objective.memory // 2)
            self._double = self._twin(objective)
        return self._double

    def _twin(self, objective: Objective) -> "Engine":
        return Engine(objective, self.formula, models=self.models)

    @property
    def together(self) -> str:
        """In a plan, how many processes share the work."""
        return ""

    def gradient(self, point: Point) -> Tensor:
        """∇L there."""
        self.evaluate(point)
        assert point.gradient is not None
        return point.gradient

    def loss(self, point: Point) -> Tensor:
        """L there, in float64."""
        self.evaluate(point)
        assert point.loss is not None
        return point.loss

    @differentiable()
    def evaluate(self, point: Point) -> None:
        """Gradient, loss and residuals at a point, by one pass over the data."""
        with torch.no_grad():
            if self.method != TRACED:
                self._evaluate_directly(point)
            elif self._resident is None or self._resident() is not point:
                self._settle(point)

    @differentiable()
    def multiply(self, point: Point, vectors: Tensor, precision: Precision = "high") -> Tensor:
        """The matrix of the mean loss times `(P,)`; times each row of `(b, P)`; or, for a cohort, row by row."""
        count = self.objective.count
        block = vectors.ndim == 2 and self.models is None
        vectors = _even(vectors)
        if self.method != TRACED:
            rows = [self._multiply_directly(point, usable(_even(row))) for row in (vectors if block else vectors[None])]
            return torch.stack(rows).div_(count) if block else rows[0].div_(count)
        self.evaluate(point)
        with torch.no_grad(), products_in(precision, vectors.device, vectors.dtype):
            if not block or len(vectors) == 1:
                return self._multiply(point, [vectors[0] if block else vectors])[0].div_(count).view_as(vectors)
            if not self._separate:
                try:
                    with _unlogged():
                        return self._by_groups(point, vectors).div_(count)
                except torch.OutOfMemoryError:
                    raise
                except Exception:  # an operation that torch has no rule for in blocks
                    self._separate = True
            return self._by_groups(point, vectors).div_(count)

    def _by_groups(self, point: Point, vectors: Tensor) -> Tensor:
        """All that has to be read or made anew for a product is so once for all groups."""
        groups = [group if len(group) > 1 else _even(group[0]) for group in vectors.split(self._width(len(vectors)))]
        passes = [[group] for group in groups] if self.plan.kept == self.plan.chunks else [groups]
        return torch.cat([product.view(-1, vectors.shape[1]) for each in passes for product in self._multiply(point, each)])

    def _multiply(self, point: Point, groups: list[Tensor]) -> list[Tensor]:
        totals = [torch.zeros_like(vectors) for vectors in groups]
        wide = [vectors.ndim == 2 and self.models is None for vectors in groups]
        directions: dict[int, list[Values]] = {}
        for index, (trace, batch) in enumerate(self._walk()):
            values, ways = point.values[id(trace)], (trace.direction, trace.block_direction)
            if id(trace) not in directions:
                directions[id(trace)] = [ways[w](values, vectors) for vectors, w in zip(groups, wide, strict=True)]
            known = values | batch | (self._residuals[index] if index < self.plan.kept else trace.residuals(values, batch))
            for total, w, moving in zip(totals, wide, directions[id(trace)], strict=True):
                (trace.block_multiply if w else trace.multiply)(total, known | moving)
        return totals

    def _width(self, vectors: int) -> int:
        objective, tangents = self.objective, [trace.tangent for trace in self._traces.values()]
        if self._tile_bytes or self._separate:  # tiles fill the cache
            return 1
        most = (objective.memory - self.plan.kept_bytes) // max(1, self.plan.peak_bytes)
        live = [tangent.peak_bytes for tangent in tangents if objective.chunks != "summed"]
        width = even_length(vectors, fitting_width(most, live, objective.device))
        pays = objective.chunks != "tiled" or all(pays_together(each, width, objective.device) for each in tangents)
        return width if pays else 1

    def _settle(self, point: Point) -> None:
        """Makes the residuals those of a point; the first time, with its gradient and loss."""
        self._residuals, self._resident = [], None
        new = point.gradient is None
        gradient = torch.zeros_like(point.theta)
        loss = torch.zeros(point.theta.shape[:-1], dtype=torch.float64, device=point.theta.device)
        for index, (trace, batch) in enumerate(self._walk()):
            if id(trace) not in point.values:
                point.values[id(trace)] = trace.at(point.theta)
            values = point.values[id(trace)]
            keep = index < self.plan.kept
            if new:
                value, residuals = trace.evaluate(values, batch, gradient)
                loss += value.double()
            elif keep:
                residuals = trace.residuals(values, batch)
            if keep:
                self._residuals.append(residuals)
        if new:
            point.gradient, point.loss = gradient.div_(self.objective.count), loss / self.objective.count
        self._resident = weakref.ref(point)

    def _plan(self) -> Chunking:
        """Traces the chunks, once it is settled how long they are and whether they are computed in tiles."""
        objective = self.objective
        length, trace, tiles = settled(objective, self.models or 1, self._first)
        self._traces, self._tile_bytes = {self._key(next(objective.batches(length))): trace}, trace.tile_bytes
        sizes = []
        for batch in objective.batches(length):
            trace = self._trace(batch)
            sizes.append(trace.residual_bytes)
            if not objective.streamed:
                self._chunks.append((trace, trace.batch(batch)))
        peak = max(trace.peak_bytes for trace in self._traces.values())
        # Small tensors that stay, each allocated between two large ones that do not, would keep the heap from being used again.
        kept = 0 if objective.streamed else how_many_fit(sizes, peak, objective.memory)
        length = length if objective.per_sample else len(next(objective.batches())[1])
        return Chunking(length, len(sizes), kept, sum(sizes[:kept]), peak, tiles)

    def _first(self, length: int, tile_bytes: int) -> Trace:
        batch = next(self.objective.batches(length))
        return trace_of(self.objective, self.formula, batch, models=self.models, tile_bytes=tile_bytes)

    def _walk(self) -> Iterator[tuple[Trace, Values]]:
        """Every chunk and its trace; of data that are not held, as they are read again."""
        if not self.objective.streamed:
            yield from self._chunks
            return
        for batch in self.objective.batches(self.plan.length):
            trace = self._trace(batch)
            yield trace, trace.batch(batch)

    def _trace(self, batch: Batch) -> Trace:
        key = self._key(batch)
        if key not in self._traces:
            self._traces[key] = trace_of(self.objective, self.formula, batch, models=self.models, tile_bytes=self._tile_bytes)
        return self._traces[key]

    @staticmethod
    def _key(batch: Batch) -> Any:
        """What a graph is recorded for: shapes of tensors, and the very flags, names and numbers by which a module branches."""
        leaves, structure = tree_flatten(batch)
        kinds = [(x.shape, x.stride(), x.dtype) if isinstance(x, Tensor) else (type(x), repr(x)) for x in leaves]
        return repr(structure), tuple(kinds)

    def _verify(self, reference: str) -> None:
        """One product of every trace that was not checked yet against a route on plain autograd that passed its tests."""
        left = {id(trace) for trace in self._traces.values() if trace.checked != reference}
        for batch in self.objective.batches(self.plan.length):
            trace = self._traces[self._key(batch)]
            if id(trace) in left:
                left.remove(id(trace))
                check_product(trace, self.objective, self.formula, batch, self.models, reference)
            if not left:
                return

    def _fall_back(self, tests: dict[str, Tests]) -> None:
        """Products on plain autograd: in forward mode where that passes its tests, for it is the quicker."""
        length = self.objective.chunk
        self.plan = Chunking(length, -(-self.objective.count // length), 0, 0, self.objective.memory)
        self.method = REVERSE
        if FORWARD not in tests:
            return
        if not tests[FORWARD].sound:
            self.fallback_reason += f"; forward mode: {tests[FORWARD]}"
            return
        vector = torch.ones_like(self.objective.theta)
        try:
            multiplied(self.formula, FORWARD, self.objective, self.objective.theta, vector, next(self.objective.batches(1)))
        except Exception as error:  # as of an operation that torch has in float64 alone
            self.fallback_reason += f"; {sentence(error)}"
            return
        self.method, self.certificate = FORWARD, tests[FORWARD].passed

    def _rows(self, point: Point, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if self.models is None:
            yield point.theta, vectors
        else:
            yield from zip(point.theta, vectors, strict=True)

    def _evaluate_directly(self, point: Point) -> None:
        if point.gradient is None:
            rows = point.theta[None] if self.models is None else point.theta
            gradient = torch.stack([self._gradient(row) for row in rows])
            loss = torch.tensor([self.objective.loss(row) for row in rows], dtype=torch.float64, device=gradient.device)
            point.gradient = gradient[0] if self.models is None else gradient
            point.loss = loss[0] if self.models is None else loss

    def _gradient(self, theta: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return self.objective.gradient(theta)

    def _multiply_directly(self, point: Point, vectors: Tensor) -> Tensor:
        totals = []
        for theta, vector in self._rows(point, vectors):
            total = torch.zeros_like(vector)
            for batch in self.objective.batches():
                total += multiplied(self.formula, self.method, self.objective, theta, vector, batch)
            totals.append(total)
        return totals[0] if self.models is None else torch.stack(totals)


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """What torch cannot trace is computed otherwise; its log would show the user a traceback of what is no fault."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _even(vector: Tensor) -> Tensor:
    """The vector, or a copy where it begins at an odd place, at which torch sees no complex numbers."""
    return vector.clone() if vector.storage_offset() % 2 else vector
