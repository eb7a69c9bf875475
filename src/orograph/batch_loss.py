"""The loss of a module on one batch as functions of θ: what is differentiated, mapped over samples and traced.

θ is the flat vector of the module's trainable parameters (`parameters.Layout`). The module itself is never written to: every
evaluation is a functional call in eval mode.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.calling import call, evaluation_mode, guarded, usable
from orograph.errors import ConfigurationError
from orograph.intake import Batch, Inputs
from orograph.parameters import Layout, follow, layout_of, working_dtype
from orograph.reduction import Over, Reduction
from orograph.wrapping import unwrapped


class BatchLoss:
    """A module with its θ, and a loss of batches. What the loss means is found on data, by `Objective`.

    Args:
        model: any module; evaluated in eval mode.
        parameters: comma-separated globs of the parameter names that make up θ.
        dtype: of θ and all evaluations; the widest of the module's own when None.

    Attributes:
        chunks: what decides how many samples a curvature product takes at once (`curvature/chunks.py`).
    """

    device: torch.device
    model: nn.Module
    dtype: torch.dtype
    theta: Tensor
    constants: dict[str, Tensor]
    chunks: Literal["tiled", "traced", "summed"] = "tiled"
    reduction: Reduction
    whole: str
    mixed: bool
    _factor: float  # N / Σ w_n, which makes the mean over samples the loss

    def __init__(self, model: nn.Module, parameters: str, dtype: torch.dtype | None) -> None:
        self.model = model = unwrapped(model)
        self.layout: Layout = layout_of(model, parameters)
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.dtype = working_dtype(self.layout, model, dtype)
        self.device = named[self.layout.names[0]].device
        self.theta = self.layout.flatten(named).to(self.dtype)
        self._buffers = buffers = {
            name for name, _ in model.named_buffers()
        }  # copied, for training moves them; frozen parameters stay
        self.constants = {
            name: usable(follow(tensor.detach().clone() if name in buffers else tensor.detach(), self.dtype))
            for name, tensor in named.items()
            if name not in self.layout.names
        }

    @property
    def per_sample(self) -> bool:
        """Whether every sample has a loss of its own."""
        return not self.whole

    @property
    def over(self) -> Over:
        """What the loss is averaged over, in words; `sum`: nothing."""
        return self.reduction.over

    def require_samples(self, what: str) -> None:
        """Refuses to go on unless every sample has a loss of its own.

        Args:
            what: needs one value per sample, with its verb, as in "classes need".

        Raises:
            ConfigurationError: batches stay whole; with the reason.
        """
        if self.whole:
            raise ConfigurationError(f"{self.whole}; {what} one value per sample.")

    def outputs(self, theta: Float[Tensor, " P"], inputs: Inputs) -> Any:
        """The module's outputs on a batch.

        Args:
            theta: θ, `(P,)`.
            inputs: of the batch: a tensor `(n, …)`, or a tuple or mapping of what the module takes.

        Returns:
            A tensor `(n, …)`, or whatever structure the loss takes.
        """
        with evaluation_mode(self.model):
            return call(self.model, self.tensors(theta), guarded(inputs))

    def tensors(self, theta: Float[Tensor, " P"]) -> dict[str, Tensor]:
        """Everything that the module is called with besides its inputs.

        Args:
            theta: θ, `(P,)`.

        Returns:
            Parameters and copies of buffers, by name.
        """
        buffers = {name: guarded(self.constants[name]) for name in self._buffers & self.constants.keys()}
        return {**self.constants, **buffers, **self.layout.arguments(theta)}

    def losses(self, theta: Float[Tensor, " P"], inputs: Inputs, targets: Tensor) -> Float[Tensor, " n"]:
        """One loss per sample of a batch.

        Args:
            theta: θ, `(P,)`.
            inputs: of the batch, as `outputs` takes them.
            targets: of the batch, `(n, …)`.

        Returns:
            `(n,)`, in the unit of the loss; their mean over all samples is L(θ).

        Raises:
            ConfigurationError: samples have no loss of their own.
        """
        self.require_samples("per-sample results need")
        return self.output_losses(self.outputs(theta, inputs), targets)

    def output_losses(self, outputs: Any, targets: Tensor) -> Float[Tensor, "*n"]:
        """One loss per sample from the module's outputs, whose mean over all samples is L; where batches stay whole, one number.

        Trailing dimensions (tokens, pixels) are averaged, or summed where the loss averages over all that count.

        Args:
            outputs: of the module on a batch.
            targets: of the batch, `(n, …)`.

        Returns:
            `(n,)`, or `()` where batches stay whole, in the unit of the loss.
        """
        if self.whole:
            return self.summed_of(outputs, targets) / len(targets)
        return self._scaled(self.reduction.numerators(outputs, targets))

    def summed(self, theta: Float[Tensor, " P"], inputs: Inputs, targets: Tensor) -> Float[Tensor, ""]:
        """The sum of the losses of a batch (its mean times its size where the loss is a mean).

        Args:
            theta: θ, `(P,)`.
            inputs: of the batch, as `outputs` takes them.
            targets: of the batch, `(n, …)`.

        Returns:
            `()`, in the unit of the loss.
        """
        return self.summed_of(self.outputs(theta, inputs), targets)

    def summed_of(self, outputs: Any, targets: Tensor) -> Float[Tensor, ""]:
        """The same sum from the module's outputs.

        Args:
            outputs: of the module on a batch.
            targets: of the batch, `(n, …)`.

        Returns:
            `()`, in the unit of the loss.
        """
        if self.whole:
            return self._scaled(self.reduction.total(outputs, targets))
        return self.output_losses(outputs, targets).sum()

    def _scaled(self, values: Tensor) -> Tensor:
        return values if self._factor == 1 else values * self._factor

    def _kept_bytes(self, batch: Batch) -> int:
        """What a gradient keeps of a batch."""
        kept: dict[tuple[int, int], Tensor] = {}

        def pack(tensor: Tensor) -> Tensor:
            # Nothing with a history goes into the graph: an output kept by its own node would be a cycle that is never freed.
            tensor = tensor.detach()
            dense = tensor.layout == torch.strided
            for part in (tensor,) if dense else (tensor.coalesce().indices(), tensor.coalesce().values()):
                kept[(part.data_ptr(), part.numel())] = part
            return tensor  # a forward that differentiates by its inputs reads it

        theta = self.theta.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.summed(theta, *batch)
        return sum(tensor.nbytes for tensor in kept.values())

    @contextlib.contextmanager
    def _in_dtype(self) -> Iterator[None]:
        """Says what is the matter where a module that converts tensors by itself meets another dtype than its own."""
        try:
            yield
        except RuntimeError as error:
            own = {p.dtype for p in self.model.parameters() if p.is_floating_point()}
            if own <= {self.dtype}:
                raise
            names = ", ".join(sorted(str(each).removeprefix("torch.") for each in own))
            raise ConfigurationError(
                f"the module, whose parameters are {names}, cannot be evaluated in {str(self.dtype).removeprefix('torch.')} "
                f"({str(error).splitlines()[0]}): it converts tensors by itself in forward; make it follow its parameters' dtype."
            ) from error
