"""Orograph among the competitors: Hessian-vector products and eigenpairs, with the time of every part told apart."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from floors import random_block, random_vector, synchronise
from judge import Measured
from orograph.curvature import CurvatureOperator, GaussNewtonOperator, HessianOperator, LinearOperator, known
from orograph.spectral import density, lanczos, trace
from peers import Number, Pairs


class Orograph:
    """`HessianOperator` and `lanczos`, used as the library's documentation shows."""

    def __init__(self, workload: Measured, memory: str = "4GiB") -> None:
        self.workload, self.memory = workload, memory
        self.vector = random_vector(workload)
        self.model = workload.model()
        self.data = [(workload.inputs, workload.targets)]
        self._operator: CurvatureOperator | None = None
        self._gauss_newton: CurvatureOperator | None = None
        self._moves = 0

    @property
    def operator(self) -> CurvatureOperator:
        if self._operator is None:
            self._operator = HessianOperator(self.model, F.cross_entropy, self.data, memory=self.memory)
        return self._operator

    def hvp(self) -> None:
        self.operator @ self.vector

    def product(self) -> np.ndarray:
        return (self.operator @ self.vector).cpu().numpy()

    def block(self) -> np.ndarray:
        """H times 16 columns."""
        return (self.operator @ random_block(self.workload)).cpu().numpy()

    def gauss_newton(self) -> np.ndarray:
        """The Gauss–Newton matrix times the fixed vector."""
        if self._gauss_newton is None:
            self._gauss_newton = GaussNewtonOperator(self.model, F.cross_entropy, self.data, memory=self.memory)
        return (self._gauss_newton @ self.vector).cpu().numpy()

    def trace(self, tolerance: float) -> Number:
        """tr H by XTrace, with as many products as bring its standard error to the tolerance."""
        found = trace(self.operator, tolerance=tolerance)
        return Number(found.value, found.error, found.products)

    def density(self, probes: int, steps: int, ends: tuple[float, float]) -> Number:
        """Stochastic Lanczos quadrature, for the trace that it implies; the ends it finds by itself."""
        found = density(self.operator, probes=probes, steps=steps)
        return Number(found.trace.value, found.trace.error, found.products)

    def plan(self) -> str:
        """How the operator multiplies, in its own words."""
        return self.operator.plan

    def traces(self) -> int:
        """How many graphs were recorded so far."""
        return self.operator.traces

    def first_product(self) -> None:
        """From module, loss and data to the first product: tracing, the check of the trace, and the primal pass."""
        self._operator = None
        known.clear()
        self.hvp()

    def new_theta(self) -> tuple[float, float]:
        """Seconds of a move to another θ, a new one each time, and of the first product there."""
        self._moves += 1
        theta = self.workload.theta * (1 + 1e-3 * self._moves)
        began = self._now()
        self._operator = self.operator.at(theta)
        _ = self._operator.gradient  # what is computed at a θ is computed when first asked for
        moved = self._now()
        self.hvp()
        return moved - began, self._now() - moved

    def _now(self) -> float:
        synchronise(self.vector.device)
        return time.perf_counter()

    def primal_pass(self) -> None:
        """One plain forward and backward pass over all data in chunks, by autograd: what a new θ is held against."""
        parameters = list(self.model.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        for inputs, targets in self.workload.batches(min(10_000, self.workload.count)):
            loss = F.cross_entropy(self.model(inputs), targets, reduction="sum")
            for part, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                part += gradient

    def pairs(self, k: int, tolerance: float) -> Pairs:
        """Everything from module, loss and data to the verified pairs, tracing included."""
        self._operator = None
        known.clear()  # each round traces, as a first operator does
        began = self._now()
        timed = _Timed(self.operator)
        built = self._now()
        _ = self.operator.gradient  # the primal pass, which would else be part of the first product
        settled = self._now()
        spectrum = lanczos(timed, k, which="LM", tolerance=tolerance)
        total = self._now() - began
        details: dict[str, Any] = {
            "building": built - began,
            "primal": settled - built,
            "multiplying": timed.clock.seconds,
            "total": total,
            "converged": int(spectrum.converged.sum()),
            "claimed": spectrum.products,
            "certifying": spectrum.certificate_products,
        }
        vectors = spectrum.eigenvectors.cpu().numpy()
        return Pairs(spectrum.eigenvalues.cpu().numpy(), vectors, timed.clock.products, details)


class _Clock:
    """Seconds and columns of all products."""

    def __init__(self) -> None:
        self.seconds, self.products = 0.0, 0


class _Timed(LinearOperator):
    """An operator whose products, the float64 ones that measure its noise included, are timed and counted."""

    def __init__(self, inner: LinearOperator, clock: _Clock | None = None) -> None:
        self.inner, self.clock = inner, clock or _Clock()
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device

    def product(self, vector: Tensor) -> Tensor:
        return self._multiply(vector, 1)

    def block_product(self, block: Tensor) -> Tensor:
        return self._multiply(block, block.shape[1])

    def double(self) -> LinearOperator | None:
        doubled = self.inner.double()
        return None if doubled is None else _Timed(doubled, self.clock)

    @property
    def verification(self) -> LinearOperator:
        inner = self.inner.verification
        return self if inner is self.inner else _Timed(inner, self.clock)

    def _multiply(self, other: Tensor, columns: int) -> Tensor:
        synchronise(self.device)
        began = time.perf_counter()
        result = self.inner @ other
        synchronise(self.device)
        self.clock.seconds += time.perf_counter() - began
        self.clock.products += columns
        return result
