"""The Hessian of a network that no process holds: parameters, vectors and activations shared among processes.

Every process has its stretch of θ, and of every vector it is given or gives, and its share of the samples of each batch. Whole
tensors are there one at a time, while they are used (`gathered.py`). Products are exact, by differentiating the gradient again
(Pearlmutter 1994); they are summed over processes as gradients are. What a process needs is about

    (P/R)·(1 + vectors)  +  activations of N_batch/R samples  +  a few of the largest tensors.

All processes must go the same way through the module: what it computes may depend on values, which functions it calls may not.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from orograph.arguments import checked
from orograph.boundary import explained
from orograph.calling import apart, call, differentiable, evaluation_mode, guarded, look_once
from orograph.contents import digests
from orograph.curvature.gathered import Gathered, Meeting, forgetting, named_wholes, part_of
from orograph.curvature.operator import LinearOperator
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError, DataError
from orograph.intake import Batch, pairs, placed
from orograph.losses import require_loss
from orograph.parameters import Layout, follow, layout_of, working_dtype
from orograph.reduction import Loss, in_dtype, reads_whole_batches, reduction_of
from orograph.samples import FEW, MANY, alike, lined_up, spread, take
from orograph.structure import replaced, tensors_of
from orograph.wrapping import inner

_STEPS = (1e-5, 1e-6)  # of ‖hv‖ against 1 + ‖θ‖, in float64
_TOLERANCE = 1e-4


class ShardedHessian(LinearOperator):
    """H of the mean loss, of which every process of a group has its part of all vectors.

    `op.width` entries of each are here, those of the stretch that begins at `op.start`; θ is in `named_parameters()` order.

    Args:
        model: any module, evaluated in eval mode; it may be on the meta device, without values.
        loss: `(output, target) → ` one value per sample, a mean or a sum; what a standard loss averages over is kept.
        data: re-iterable of `(inputs, targets)`, the same in every process; each computes its share of every batch, of which all
            activations are held at a time.
        group: the processes; None for one.
        state: parameters and buffers by name, of which one is read at a time: those of a file opened with `mmap=True`, or the
            `DTensor`s of a model under FSDP2. The module's own when None.
        parameters: comma-separated globs of the names of the parameters that make up θ.
        dtype: of vectors, float32 or float64; the module's widest when None, float32 for half precision.
        compute: what the module computes with, where it is not the dtype of vectors: `torch.bfloat16`. θ is then rounded to it,
            residuals are those of products in the dtype of vectors, and what rounding makes of the others is measured.

    Attributes:
        theta: this process's part of θ, `(W,)`.
        start: the place of its first entry in θ.

    Raises:
        ConfigurationError: samples have no loss of their own, or an argument is out of range.
        DataError: processes have other data than one another, or a batch has fewer samples than there are processes.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(4), torch.arange(4) % 2)]
        >>> op = og.curvature.ShardedHessian(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), data)
        >>> (op @ torch.ones(10)).shape  # with R processes, about 10/R entries in each
        torch.Size([10])
    """

    group: Any
    size: int
    dtype: torch.dtype
    device: torch.device
    start: int
    theta: Tensor
    count: int

    sharded = True

    @checked
    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Iterable[Any],
        *,
        group: Any = None,
        state: Mapping[str, Any] | None = None,
        parameters: str = "*",
        dtype: torch.dtype | None = None,
        compute: torch.dtype | None = None,
    ) -> None:
        self._model, self._data, self.group = inner(model), data, group
        layout = layout_of(self._model, parameters)
        self.size, self.dtype = layout.size, working_dtype(layout, self._model, dtype)
        if compute not in (None, torch.bfloat16, torch.float32, torch.float64):
            raise ConfigurationError(f"`compute` {compute} must be torch.bfloat16, or left out.")
        self._compute = compute or self.dtype
        require_loss(loss)
        self._shards = Shards(self.size, group, sharded=True)
        self.start = self._shards.start
        self._read(layout, state)
        look_once(self._model)
        with apart(), explained(self._model, "model, loss and data do not go together"):
            self._find_meaning(loss)

    def _read(self, layout: Layout, state: Mapping[str, Any] | None) -> None:
        """This process's part of the parameters, those that are no part of θ too, and the buffers.

        Raises:
            ConfigurationError: one of them has no values, or another shape.
        """
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}

        def read(name: str) -> Tensor:
            tensor: Any = own[name] if state is None or name not in state else state[name]
            if tensor.shape != own[name].shape:
                raise ConfigurationError(
                    f"`state` has '{name}' of shape {tuple(tensor.shape)}, and the module of shape {tuple(own[name].shape)}."
                )
            if tensor.is_meta:
                raise ConfigurationError(f"'{name}' is on the meta device and has no values; pass them in `state`.")
            return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()  # of a `DTensor`

        self.device = read(layout.names[0]).device
        frozen = {name: p for name, p in self._model.named_parameters() if name not in layout.names}
        others = Layout(tuple(frozen), tuple(p.shape for p in frozen.values()))
        aside = Shards(others.size, self.group, sharded=True)
        self._stand(layout, part_of(layout, read, self._shards, self.dtype, self.device))
        self._frozen = Gathered(others, part_of(others, read, aside, self.dtype, self.device), aside, self._compute)
        self._buffers = {
            name: follow(read(name).clone().to(self.device), self._compute) for name, _ in self._model.named_buffers()
        }

    def _stand(self, layout: Layout, theta: Tensor) -> None:
        rounded = theta.to(self._compute).to(self.dtype) if self._compute.itemsize < self.dtype.itemsize else theta
        self._gathered, self.theta = Gathered(layout, rounded, self._shards, self._compute), rounded

    def _find_meaning(self, loss: Loss) -> None:
        """What the loss averages over, tried on a few samples, which all processes compute alike."""
        first = next(iter(pairs(self._data)), None)
        if first is None:
            raise DataError("the data have no samples.")
        batch = self._placed(first)
        self._loss = in_dtype(loss, self.dtype, self.device)
        if not lined_up(batch):
            raise ConfigurationError("inputs and targets of a batch have different lengths; sharing samples needs one of each.")
        with torch.no_grad():
            self._require_apart(spread(batch, FEW))
            inputs, targets = spread(batch, MANY)
            outputs = replaced(self._outputs(self.theta, inputs), lambda leaf: leaf.roll(1, 0))  # no minimum
        reduction = reduction_of(self._loss, outputs, targets)
        if reduction.values is None or reads_whole_batches(reduction, outputs, targets):
            raise ConfigurationError(
                "the loss gives one number a batch, and processes that share its samples need one value per sample; let it give "
                "these, or use one with the argument `reduction`, as torch's have."
            )
        lengths, held = [], []
        for _, targets in pairs(self._data):
            lengths.append(len(targets))
            held.append(targets.to(self.device))
        self._require_same(lengths)
        self.count = sum(lengths)
        self._reduction, self._factor = reduction.over_data(held, self.count)

    def _require_apart(self, few: Batch) -> None:
        """Refuses a module whose output for a sample depends on those beside it, or on chance."""
        together, again = (tensors_of(self._outputs(self.theta, few[0])) for _ in range(2))
        if not alike(together, again):
            raise ConfigurationError("the model gives two outputs for the same input in eval mode; make it deterministic there.")
        half = (len(few[1]) + 1) // 2
        for cut in {half, half - 1} - {0, len(few[1])}:
            parts = [tensors_of(self._outputs(self.theta, take(few, part)[0])) for part in (slice(0, cut), slice(cut, None))]
            if not alike(together, *parts):
                raise ConfigurationError("the model mixes the samples of a batch, which processes cannot share then.")

    def _require_same(self, lengths: list[int]) -> None:
        """Refuses data, or modules, that differ from process to process or from time to time."""
        once, again = digests(self._data)[0], digests(self._data)[0]
        layout, ranks = self._gathered.layout, len(self._shards.widths)
        heard: list[Any] = [None] * ranks
        told = (once, again, layout.names, tuple(map(tuple, layout.shapes)))
        if self.group is None:
            heard = [told]
        else:
            torch.distributed.all_gather_object(heard, told, group=self.group)
        if any(each[0] != each[1] for each in heard):
            raise DataError("the data differ from one iteration to the next; pass a loader with shuffle=False.")
        if any(each != heard[0] for each in heard):
            raise DataError("the processes have other data, or other modules, than one another; give all of them the same.")
        if min(lengths) < ranks:
            raise DataError(f"{ranks} processes cannot share a batch of {min(lengths)} samples; join batches, or drop it.")

    def _placed(self, batch: Batch) -> Batch:
        """On the device; inputs in what the module computes with, targets as the loss takes them."""
        (inputs, _), (_, targets) = (placed(batch, self.device, dtype) for dtype in (self._compute, self.dtype))
        return inputs, targets

    def _outputs(self, theta: Tensor, inputs: Any) -> Any:
        given = {name: guarded(buffer) for name, buffer in self._buffers.items()}
        meeting, beside = Meeting(self._gathered, theta), Meeting(self._frozen, self._frozen.part)
        with evaluation_mode(self._model), beside, meeting, sdpa_kernel(SDPBackend.MATH):
            found = call(self._model, {**given, **beside.standins, **meeting.standins}, inputs)
        return replaced(found, lambda leaf: follow(leaf, self.dtype))

    def _shares(self) -> Iterator[Batch]:
        """This process's share of every batch."""
        ranks, rank = len(self._shards.widths), self._shards.rank
        for batch in pairs(self._data):
            edges = [len(batch[1]) * i // ranks for i in (rank, rank + 1)]
            yield self._placed(take(batch, slice(*edges)))

    def _value(self, theta: Tensor, batch: Batch) -> Tensor:
        """The batch's part of L."""
        total = self._reduction.total(self._outputs(theta, batch[0]), batch[1])
        return total * (self._factor / self.count)

    def product(self, vector: Float[Tensor, " W"]) -> Float[Tensor, " W"]:
        """H v: this process's part of it, of its part of v.

        Args:
            vector: `(W,)`.

        Returns:
            `(W,)`.

        Raises:
            ConfigurationError: the module or the loss fails on the data.
        """
        return self._multiplied(vector[:, None])[:, 0]

    def block_product(self, block: Float[Tensor, "W b"]) -> Float[Tensor, "W b"]:
        """H V, of one forward pass and gradient for all columns.

        Args:
            block: V, this process's rows of it, `(W, b)`.

        Returns:
            `(W, b)`.

        Raises:
            ConfigurationError: the module or the loss fails on the data.
        """
        return self._multiplied(block)

    def _multiplied(self, block: Tensor) -> Tensor:
        columns = [column.to(self.dtype).contiguous() for column in block.unbind(1)]
        totals = torch.zeros(len(columns), self.width, dtype=self.dtype, device=self.device)
        with differentiable(), explained(self._model, "the Hessian cannot be computed"), self._forgetting():
            for batch in self._shares():
                theta = self.theta.detach().requires_grad_()
                slope = _slope(self._value(theta, batch), theta, create_graph=True)
                for place, column in enumerate(columns):
                    if slope.requires_grad:
                        totals[place] += _slope(slope, theta, column, retain_graph=place + 1 < len(columns))
                del slope
        return totals.T

    @property
    def gradient(self) -> Float[Tensor, " W"]:
        """This process's part of ∇L(θ)."""
        total = torch.zeros_like(self.theta)
        with differentiable(), explained(self._model, "the gradient cannot be computed"), self._forgetting():
            for batch in self._shares():
                theta = self.theta.detach().requires_grad_()
                total += _slope(self._value(theta, batch), theta)
        return total

    @property
    def loss(self) -> float:
        """L(θ), over all data."""
        with torch.no_grad(), explained(self._model, "the loss cannot be computed"):
            parts = [self._value(self.theta, batch).double() for batch in self._shares()]
        self._release()
        return float(self._shards.total(torch.stack(parts).sum()))

    def at(self, theta: Float[Tensor, " W"]) -> "ShardedHessian":
        """The same operator at another θ.

        Args:
            theta: this process's part of it, `(W,)`.

        Returns:
            Another operator, which shares the data.

        Raises:
            ConfigurationError: it has another length.
        """
        if theta.shape != self.theta.shape:
            raise ConfigurationError(
                f"θ has shape {tuple(theta.shape)}; this process's part of it has {tuple(self.theta.shape)}."
            )
        other = copy.copy(self)
        other.products = 0
        other._stand(self._gathered.layout, theta.detach().to(self.theta))
        return other

    def tensors(self, vector: Float[Tensor, " W"]) -> Iterator[tuple[str, Tensor]]:
        """A vector as whole tensors, one after the other, which all processes ask for together: to be written, or looked at.

        Args:
            vector: this process's part of it, `(W,)`, as an eigenvector of a spectrum.

        Returns:
            Names of parameters and tensors of their shapes.
        """
        kept = Gathered(self._gathered.layout, vector, self._shards, vector.dtype)
        return named_wholes(kept, vector)

    def double(self) -> "ShardedHessian":
        """The same at the same θ, with everything in float64.

        Returns:
            Another operator.
        """
        return self._computing(torch.float64, torch.float64)

    @property
    def verification(self) -> "ShardedHessian":
        """The same at the same θ, computing in the dtype of vectors."""
        return self if self._compute == self.dtype else self._computing(self.dtype, self.dtype)

    def _computing(self, dtype: torch.dtype, compute: torch.dtype) -> "ShardedHessian":
        if (self.dtype, self._compute) == (dtype, compute):
            return self
        other, frozen = copy.copy(self), self._frozen
        other.dtype, other._compute, other.products = dtype, compute, 0
        other._buffers = {name: follow(buffer, compute) for name, buffer in self._buffers.items()}
        other._reduction = self._reduction.to(dtype, self.device)
        other._frozen = Gathered(frozen.layout, frozen.part.to(self._compute).to(dtype), frozen.shards, compute)
        other._stand(self._gathered.layout, self.theta.to(dtype))
        return other

    def examine(self) -> None:
        """Holds a product against differences of gradients, in float64; it is not counted.

        Raises:
            ConfigurationError: something in the module or the loss is detached, or has a derivative of its own.
        """
        try:
            exact = self.double()
            gradient = exact.gradient
        except ConfigurationError:  # what cannot be computed in float64 tells nothing of the products
            return
        shards = self._shards
        drawn = shards.random(1, torch.Generator().manual_seed(0), torch.float64).to(self.device)
        lengths = shards.norms(torch.stack([drawn[0], gradient, exact.theta]))
        v = drawn[0] / lengths[0] + gradient / lengths[1].clamp(min=torch.finfo(torch.float64).tiny)
        product, found = exact.product(v), []
        for step in _STEPS:
            h = step * (1 + float(lengths[2]))
            found.append((exact.at(exact.theta + h * v).gradient - exact.at(exact.theta - h * v).gradient) / (2 * h))
        size, wrong, apart_ = shards.norms(torch.stack([found[1], product - found[1], found[0] - found[1]])).tolist()
        rounding = 1e-12 * float(lengths[1]) / _STEPS[1]
        if wrong > _TOLERANCE * size + rounding and apart_ <= _TOLERANCE * size + rounding:
            raise ConfigurationError(
                f"the Hessian of this model and loss cannot be had: a product differs from differences of gradients by "
                f"{wrong / size:.2g} of itself; is something detached, or written with a backward of its own?"
            )

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Within it graphs keep no whole parameter; after it none is held."""
        try:
            with forgetting(self._gathered, self._frozen):
                yield
        finally:
            self._release()

    def _release(self) -> None:
        self._gathered.release()
        self._frozen.release()


def _slope(
    value: Tensor, theta: Tensor, along: Tensor | None = None, *, create_graph: bool = False, retain_graph: bool | None = None
) -> Tensor:
    """The gradient of a number, or of a vector along another; zeros where it does not depend on θ."""
    options: dict[str, Any] = {"create_graph": create_graph, "retain_graph": retain_graph, "materialize_grads": True}
    return torch.autograd.grad(value, theta, along, **options)[0]
