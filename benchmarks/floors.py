"""What cannot be avoided: the matrix products of one Hessian-vector product and of one training step of a multilayer perceptron.

With sizes n₀, …, n_L, activations a, backpropagated errors δ, weights W and a tangent V, one Hessian-vector product whose primal
intermediates are all given needs, by Pearlmutter's R-operator (1994),

    ż_l = ȧ_{l−1} W_lᵀ + a_{l−1} V_lᵀ        one matrix product for l = 1 (ȧ₀ = 0), two for each other layer
    ė_l = δ̇_{l+1} W_{l+1} + δ_{l+1} V_{l+1}   two for each layer but the first
    (Hv)_l = δ̇_lᵀ a_{l−1} + δ_lᵀ ȧ_{l−1}     one for l = 1, two for each other layer

and nothing else that costs: 2N (2 n₀n₁ + 6 Σ_{l≥2} n_{l−1}n_l) FLOPs. `ProductFloor` runs exactly these, into buffers made
before; `ROperator` adds the elementwise rest by hand, and shows that the list is complete.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from workload import Workload

Sizes = Sequence[int]


def _pairs(sizes: Sizes) -> list[int]:
    return [inner * outer for inner, outer in itertools.pairwise(sizes)]


def product_flops(sizes: Sizes, count: int) -> int:
    """FLOPs of the matrix products of one Hessian-vector product over `count` samples."""
    first, *rest = _pairs(sizes)
    return 2 * count * (2 * first + 6 * sum(rest))


def gradient_flops(sizes: Sizes, count: int) -> int:
    """FLOPs of the matrix products of one forward and backward pass over `count` samples: a training epoch, or a primal pass."""
    first, *rest = _pairs(sizes)
    return 2 * count * (2 * first + 3 * sum(rest))


def gemm_rate(device: str = "cpu", seconds: float = 1.0) -> float:
    """FLOP/s of a large square float32 matrix product, the best of what fits into a second."""
    size = 2048 if device == "cpu" else 8192
    left, right = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    out = torch.empty_like(left)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        began = time.perf_counter()
        torch.mm(left, right, out=out)
        synchronise(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def synchronise(device: str | torch.device) -> None:
    """Waits for what was queued on a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def divisors(count: int, wanted: Sequence[int]) -> list[int]:
    """Those batch lengths that split `count` samples evenly, `count` itself among them."""
    return sorted({length for length in (*wanted, count) if length <= count and count % length == 0})


def fastest(candidates: Sequence[int], run: Callable[[int], object], device: str | torch.device) -> int:
    """The candidate whose second of two runs is shortest."""
    times = {}
    for candidate in candidates:
        for _ in range(2):
            began = time.perf_counter()
            run(candidate)
            synchronise(device)
            times[candidate] = time.perf_counter() - began
    return min(times, key=times.__getitem__)


class ProductFloor:
    """The bare matrix products of one Hessian-vector product.

    Args:
        workload: gives sizes, images and device.
        length: samples multiplied together; None tries some and keeps the fastest.
    """

    def __init__(self, workload: "Layered", length: int | None = None) -> None:
        self.inputs, self.sizes = workload.inputs.flatten(1), workload.sizes
        device = self.inputs.device
        self.weights = [torch.rand(outer, inner, device=device) for inner, outer in itertools.pairwise(self.sizes)]
        self.tangents = [torch.rand_like(weight) for weight in self.weights]
        self.results = [torch.zeros_like(weight) for weight in self.weights]
        if length is None:
            candidates = divisors(workload.count, (500, 1000, 2000, 5000, 10_000))
            length = fastest(candidates, self._attempt, device)
        self._allocate(length)

    def _attempt(self, length: int) -> None:
        self._allocate(length)
        self.hvp()

    def _allocate(self, length: int) -> None:
        device, count = self.inputs.device, len(self.inputs)
        self.length = length
        # Distinct memory for every chunk, as given intermediates have: caches must not make the floor lower than it is.
        self.activations = [torch.rand(count, width, device=device) for width in self.sizes[1:-1]]
        self.errors = [torch.rand(count, width, device=device) for width in self.sizes[1:]]
        self.forward = [torch.empty(length, width, device=device) for width in self.sizes[1:]]
        self.backward = [torch.empty(length, width, device=device) for width in self.sizes[1:]]

    def hvp(self) -> None:
        for start in range(0, len(self.inputs), self.length):
            part = slice(start, start + self.length)
            self._chunk([self.inputs[part], *(a[part] for a in self.activations)], [e[part] for e in self.errors], start > 0)

    def _chunk(self, activations: list[Tensor], errors: list[Tensor], accumulate: bool) -> None:
        beta = 1.0 if accumulate else 0.0
        last = len(self.weights) - 1
        for layer, (weight, tangent) in enumerate(zip(self.weights, self.tangents, strict=True)):
            torch.mm(activations[layer], tangent.T, out=self.forward[layer])
            if layer:
                self.forward[layer].addmm_(self.forward[layer - 1], weight.T)
        for layer in range(last, -1, -1):
            moving = self.backward[layer] if layer < last else self.forward[layer]
            self.results[layer].addmm_(moving.T, activations[layer], beta=beta)
            if layer:
                self.results[layer].addmm_(errors[layer].T, self.forward[layer - 1])
                torch.mm(moving, self.weights[layer], out=self.backward[layer - 1])
                self.backward[layer - 1].addmm_(errors[layer], self.tangents[layer])


class ROperator:
    """Hessian-vector products of the mean cross-entropy of a sigmoid perceptron, by hand, with all primal intermediates kept."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.inputs = workload.inputs.flatten(1)
        parameters = [parameter.detach() for parameter in workload.model().parameters()]
        self.weights, biases = parameters[::2], parameters[1::2]
        self.shapes = [parameter.shape for parameter in parameters]
        values, self.activations = self.inputs, [self.inputs]
        for weight, bias in zip(self.weights[:-1], biases[:-1], strict=True):
            values = torch.sigmoid(values @ weight.T + bias)
            self.activations.append(values)
        self.probabilities = F.softmax(values @ self.weights[-1].T + biases[-1], 1)
        error = (self.probabilities - F.one_hot(workload.targets, workload.sizes[-1])) / workload.count
        self.errors = [error]
        self.slopes: list[Tensor] = []
        self.bends: list[Tensor] = []
        for weight, values in zip(self.weights[:0:-1], self.activations[:0:-1], strict=True):
            slope = values * (1 - values)
            through = error @ weight
            self.slopes.insert(0, slope)
            self.bends.insert(0, through * slope * (1 - 2 * values))
            error = through * slope
            self.errors.insert(0, error)
        self.vector = random_vector(workload)
        candidates = divisors(workload.count, (500, 1000, 2000, 5000, 10_000))
        self.length = fastest(candidates, self._attempt, self.inputs.device)

    def _attempt(self, length: int) -> None:
        self.length = length
        self.hvp()

    def hvp(self) -> None:
        self.multiply(self.vector)

    def product(self) -> np.ndarray:
        return self.multiply(self.vector).cpu().numpy()

    def multiply(self, vector: Tensor) -> Tensor:
        """H v, `(P,)`."""
        parts = [
            part.view(shape) for part, shape in zip(vector.split([s.numel() for s in self.shapes]), self.shapes, strict=True)
        ]
        results = [torch.zeros_like(part) for part in parts]
        for start in range(0, len(self.inputs), self.length):
            self._chunk(slice(start, start + self.length), parts[::2], parts[1::2], results)
        return torch.cat([result.flatten() for result in results])

    def _chunk(self, part: slice, tangents: list[Tensor], shifts: list[Tensor], results: list[Tensor]) -> None:
        activations, errors = [a[part] for a in self.activations], [e[part] for e in self.errors]
        moved: list[Tensor] = []  # ż of every layer, and ȧ of the hidden ones
        carried: list[Tensor] = []
        for layer, (weight, tangent, shift) in enumerate(zip(self.weights, tangents, shifts, strict=True)):
            value = torch.addmm(shift, activations[layer], tangent.T)
            if layer:
                value.addmm_(carried[-1], weight.T)
            moved.append(value)
            if layer < len(self.slopes):
                carried.append(self.slopes[layer][part] * value)
        probabilities, outputs = self.probabilities[part], moved[-1]
        error = probabilities * (outputs - (probabilities * outputs).sum(1, keepdim=True)) / len(self.inputs)
        for layer in range(len(self.weights) - 1, -1, -1):
            results[2 * layer].addmm_(error.T, activations[layer])
            results[2 * layer + 1].add_(error.sum(0))
            if layer:
                results[2 * layer].addmm_(errors[layer].T, carried[layer - 1])
                through = (error @ self.weights[layer]).addmm_(errors[layer], tangents[layer])
                error = through.mul_(self.slopes[layer - 1][part]).addcmul_(self.bends[layer - 1][part], moved[layer - 1])


class EpochFloor:
    """The bare matrix products of one epoch of training in mini-batches: forward, and both factors of the backward pass.

    Args:
        workload: gives sizes and the number of samples. batch: samples of a mini-batch. models: how many models train on the
        same mini-batches; their first layers' products share the input and are one wide product.
    """

    def __init__(self, workload: Workload, batch: int = 64, models: int = 1) -> None:
        self.steps, self.models, device = -(-workload.count // batch), models, workload.inputs.device
        first, second, *_ = sizes = workload.sizes
        self.inputs = torch.rand(batch, first, device=device)
        self.wide = torch.rand(models * second, first, device=device)
        self.weights = [torch.rand(models, outer, inner, device=device) for inner, outer in itertools.pairwise(sizes[1:])]
        self.wide_gradient = torch.empty_like(self.wide)
        self.gradients = [torch.empty_like(weight) for weight in self.weights]
        self.wide_output = torch.empty(batch, models * second, device=device)
        self.values = [torch.rand(models, batch, width, device=device) for width in sizes[1:]]
        self.errors = [torch.rand(models, batch, width, device=device) for width in sizes[1:]]

    def epoch(self) -> None:
        multiply = torch.bmm if self.models > 1 else _single
        for _ in range(self.steps):
            torch.mm(self.inputs, self.wide.T, out=self.wide_output)
            for layer, weight in enumerate(self.weights):
                multiply(self.values[layer], weight.mT, out=self.values[layer + 1])
            for layer in range(len(self.weights) - 1, -1, -1):
                multiply(self.errors[layer + 1].mT, self.values[layer], out=self.gradients[layer])
                multiply(self.errors[layer + 1], self.weights[layer], out=self.errors[layer])
            torch.mm(self.wide_output.T, self.inputs, out=self.wide_gradient)


def _single(left: Tensor, right: Tensor, *, out: Tensor) -> None:
    torch.mm(left[0], right[0], out=out[0])


class Layered(Protocol):
    """What gives samples to a multilayer perceptron."""

    @property
    def inputs(self) -> Tensor: ...

    @property
    def sizes(self) -> Sizes: ...

    @property
    def count(self) -> int: ...


class Sized(Protocol):
    """What has parameters."""

    @property
    def theta(self) -> Tensor: ...


def random_vector(workload: Sized, seed: int = 0) -> Tensor:
    """A unit vector `(P,)`, the same for every competitor."""
    vector = torch.randn(len(workload.theta), generator=torch.Generator().manual_seed(seed))
    return (vector / vector.norm()).to(workload.theta.device)


def random_block(workload: Sized, columns: int = 16) -> Tensor:
    """Vectors in columns, the same for every competitor."""
    theta = workload.theta
    return torch.randn(len(theta), columns, generator=torch.Generator().manual_seed(1)).to(theta.device)


def counted_flops(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[int, int]:
    """FLOPs of the matrix products of one Hessian and one Gauss–Newton product of any network, by PyTorch's own count.

    The first are those of differentiating ∇L·v where the graph of ∇L is there: each product of the graph has two in it, as in
    Pearlmutter's operator. The second are twice those of a backward pass: Jv and Jᵀu go through the layers once each.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    vectors = [torch.ones_like(parameter) for parameter in parameters]
    with sdpa_kernel(SDPBackend.MATH):
        loss = F.cross_entropy(model(inputs), targets)
        with FlopCounterMode(display=False) as backward:
            gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        with FlopCounterMode(display=False) as second:
            torch.autograd.grad(gradients, parameters, grad_outputs=vectors)
    return second.get_total_flops(), 2 * backward.get_total_flops()
