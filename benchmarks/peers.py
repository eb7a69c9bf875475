"""The competitors, each used as its own documentation says, at its best.

`hvp()` multiplies a fixed vector; `product()` returns that product, for comparison; `pairs(k, tolerance)` returns the k
eigenpairs of largest magnitude and the number of products they took; `block`, `gauss_newton`, `trace` and `density` are there
where the competitor has them. Where a batch length is free, each tries some when it is made and keeps its fastest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from floors import divisors, fastest, random_block, random_vector
from judge import Measured, double_backward
from workload import Workload

_LENGTHS = (25, 125, 1000, 5000, 10_000)


@dataclass(frozen=True)
class Pairs:
    """Eigenvalues `(k,)` and eigenvectors `(k, P)` in any order, the products they took, and what else there is to say."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    products: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Number:
    """An estimate, its standard error (NaN where the competitor states none), and the products that it took."""

    value: float
    error: float
    products: int


class Missing(Exception):
    """The competitor does not have this."""


class _Peer:
    """A competitor that multiplies with `multiply(v)`; it may be told the batch length that it found fastest before."""

    def __init__(self, workload: Measured, length: int | None = None) -> None:
        self.workload, self.model, self.length = workload, workload.model(), length
        self.parameters = list(self.model.parameters())
        self.vector = random_vector(workload)

    def multiply(self, vector: Tensor) -> Tensor:
        raise NotImplementedError

    def hvp(self) -> None:
        self.multiply(self.vector)

    def product(self) -> np.ndarray:
        return self.multiply(self.vector).detach().cpu().numpy()

    def pairs(self, k: int, tolerance: float) -> Pairs:
        """By SciPy's ARPACK over the products."""
        size, device = len(self.vector), self.vector.device

        def matvec(vector: np.ndarray) -> np.ndarray:
            return self.multiply(torch.from_numpy(vector.reshape(-1)).to(device)).detach().cpu().numpy()

        return arpack(LinearOperator((size, size), matvec=matvec, dtype=np.float32), k, tolerance)

    def block(self) -> np.ndarray:
        """H times 16 columns, one by one."""
        return torch.stack([self.multiply(column) for column in random_block(self.workload).T], 1).detach().cpu().numpy()

    def gauss_newton(self) -> np.ndarray:
        """The Gauss–Newton matrix times the fixed vector."""
        raise Missing("has no Gauss–Newton product")

    def trace(self, products: int) -> Number:
        """tr H from about so many products."""
        raise Missing("has no trace")

    def density(self, probes: int, steps: int, ends: tuple[float, float]) -> Number:
        """Stochastic Lanczos quadrature, for the trace that it implies; all eigenvalues lie between the ends."""
        raise Missing("has no density")

    def use_fastest(self, use: Callable[[int], None]) -> None:
        """Tries batch lengths and leaves the fastest in use."""
        if self.length is not None:
            use(self.length)
            return
        candidates = divisors(self.workload.count, _LENGTHS)

        def attempt(length: int) -> None:
            use(length)
            self.hvp()

        self.length = fastest(candidates, attempt, self.vector.device) if len(candidates) > 1 else candidates[0]
        use(self.length)


def arpack(operator: Any, k: int, tolerance: float) -> Pairs:
    """`eigsh` from a seeded start, with its products counted."""
    counted = [0]

    def matvec(vector: np.ndarray) -> np.ndarray:
        counted[0] += 1
        return operator @ vector

    size = operator.shape[0]
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    counting = LinearOperator((size, size), matvec=matvec, dtype=np.float32)
    values, vectors = eigsh(counting, k=k, which="LM", tol=tolerance, v0=start)
    return Pairs(values, np.ascontiguousarray(vectors.T), counted[0], {})


class Published(_Peer):
    """The published procedure: double backward over the mini-batches of a DataLoader, and ARPACK."""

    def __init__(self, workload: Workload, batch: int = 64) -> None:
        super().__init__(workload)
        self.batches: Any = DataLoader(TensorDataset(workload.inputs.cpu(), workload.targets.cpu()), batch_size=batch)

    def multiply(self, vector: Tensor) -> Tensor:
        return double_backward(self.model, self.parameters, self.batches, self.workload.count, vector)


class DoubleBackward(_Peer):
    """Double backward in batches of 1,000 cut from tensors, and ARPACK."""

    def __init__(self, workload: Workload, length: int = 1000) -> None:
        super().__init__(workload)
        self.batches = workload.batches(length)

    def multiply(self, vector: Tensor) -> Tensor:
        return double_backward(self.model, self.parameters, self.batches, self.workload.count, vector)


class Curvlinops(_Peer):
    """curvlinops' operators; its Hessian exported to SciPy as its documentation shows, and ARPACK."""

    def __init__(self, workload: Measured, length: int | None = None) -> None:
        super().__init__(workload, length)
        self.use_fastest(self._use)

    def _use(self, length: int) -> None:
        self.length = length
        self.operator = self._operator("HessianLinearOperator")

    def _operator(self, kind: str) -> Any:
        import curvlinops

        return getattr(curvlinops, kind)(
            self.model,
            nn.CrossEntropyLoss(),
            self.parameters,
            self.workload.batches(self.length or self.workload.count),
            check_deterministic=False,  # a check, not part of the product
            num_data=self.workload.count,
        )

    def multiply(self, vector: Tensor) -> Tensor:
        return self.operator @ vector

    def pairs(self, k: int, tolerance: float) -> Pairs:
        return arpack(self._operator("HessianLinearOperator").to_scipy(dtype=np.float32), k, tolerance)

    def block(self) -> np.ndarray:
        return (self.operator @ random_block(self.workload)).detach().cpu().numpy()

    def gauss_newton(self) -> np.ndarray:
        return (self._gauss_newton @ self.vector).detach().cpu().numpy()

    @cached_property
    def _gauss_newton(self) -> Any:
        return self._operator("GGNLinearOperator")

    def trace(self, products: int) -> Number:
        """By XTrace, which states no error."""
        from curvlinops import xtrace

        torch.manual_seed(0)
        return Number(float(xtrace(self.operator, products - products % 2)), math.nan, products - products % 2)

    def density(self, probes: int, steps: int, ends: tuple[float, float]) -> Number:
        from curvlinops import lanczos_approximate_spectrum

        torch.manual_seed(0)
        options = {"num_repeats": probes, "boundaries": ends}
        grid, values = lanczos_approximate_spectrum(self.operator, steps, **options)
        mean = float((grid * values).sum() / values.sum())
        return Number(mean * len(self.vector), math.nan, probes * steps)

    def compile(self) -> None:
        """Replaces a batch's product by its recorded graph, compiled; `torch.compile` of the function itself changes nothing."""
        from torch.fx.experimental.proxy_tensor import make_fx

        inputs, targets = self.workload.batches(self.length or self.workload.count)[0]
        columns = [torch.randn(*parameter.shape, 1, device=parameter.device) for parameter in self.parameters]
        compiled = torch.compile(make_fx(self.operator._mp)(inputs, targets, *columns))
        self.operator._mp = lambda *given: compiled(*given)


class HessianEigenthings(_Peer):
    """hessian-eigenthings' Hessian operator and its Lanczos.

    That Lanczos does not restart, and leaves it to the user to guess how many steps are enough. Here `tune` finds the fewest
    that are, outside the timing. Without reorthogonalisation (its default beyond 50 steps) it returns ghost copies, so it is
    switched on.
    """

    def __init__(self, workload: Measured, length: int | None = None) -> None:
        super().__init__(workload, length)
        self.steps = 0
        self.use_fastest(self._use)

    def _use(self, length: int) -> None:
        from hessian_eigenthings.loss_fns.standard import supervised_loss
        from hessian_eigenthings.operators.hessian import HessianOperator

        self.length = length
        self.operator = HessianOperator(self.model, self.workload.batches(length), supervised_loss(nn.CrossEntropyLoss()))

    def gauss_newton(self) -> np.ndarray:
        return self._gauss_newton.matvec(self.vector).detach().cpu().numpy()

    @cached_property
    def _gauss_newton(self) -> Any:
        from hessian_eigenthings.loss_fns.standard import supervised_forward, supervised_loss_of_output
        from hessian_eigenthings.operators.ggn import GGNOperator

        criterion = supervised_loss_of_output(nn.CrossEntropyLoss())
        return GGNOperator(self.model, self.workload.batches(self.length or 1), supervised_forward, criterion)

    def trace(self, products: int) -> Number:
        """By Hutch++, the method that it takes by itself."""
        from hessian_eigenthings.algorithms.trace import trace

        found = trace(self.operator, num_matvecs=products, seed=0)
        return Number(found.estimate, found.stderr, 3 * (products // 3))

    def density(self, probes: int, steps: int, ends: tuple[float, float]) -> Number:
        from hessian_eigenthings.algorithms.spectral_density import spectral_density

        found = spectral_density(self.operator, num_runs=probes, lanczos_steps=steps, seed=0)
        return implied(found.raw_eigenvalues * len(self.vector), found.raw_weights)

    def multiply(self, vector: Tensor) -> Tensor:
        return self.operator.matvec(vector)

    def tune(self, k: int, tolerance: float, longest: int = 400) -> int:
        """The fewest Lanczos steps, to 5, after which the residual estimates of all k pairs are small enough."""
        from hessian_eigenthings.algorithms.lanczos import lanczos_tridiagonal

        start = torch.randn(len(self.vector), generator=torch.Generator().manual_seed(0)).to(self.vector.device)
        longest = min(longest, len(self.vector))
        trial = min(longest, 4 * k)
        while True:
            run = lanczos_tridiagonal(self.operator, start, trial, reorthogonalize=True)
            diagonal, beside = run.alphas.double().cpu().numpy(), run.betas.double().cpu().numpy()
            for steps in range(k + 5, len(diagonal), 5):
                matrix = np.diag(diagonal[:steps]) + np.diag(beside[: steps - 1], 1) + np.diag(beside[: steps - 1], -1)
                values, weights = np.linalg.eigh(matrix)
                chosen = np.argsort(-np.abs(values))[:k]
                if (beside[steps - 1] * np.abs(weights[-1, chosen]) <= tolerance * np.abs(values[chosen])).all():
                    self.steps = steps
                    return steps
            if trial == longest:
                self.steps = longest
                return longest
            trial = min(longest, trial + 2 * k)

    def pairs(self, k: int, tolerance: float) -> Pairs:
        from hessian_eigenthings.algorithms.lanczos import lanczos

        result = lanczos(self.operator, k=k, max_iter=self.steps, tol=tolerance, which="LM", reorthogonalize=True, seed=0)
        values, vectors = result.eigenvalues.cpu().numpy(), result.eigenvectors.cpu().numpy()
        return Pairs(values, vectors, result.iterations, {"steps": self.steps})


class PyHessian(_Peer):
    """PyHessian's eigenvalues: power iteration with deflation, over one batch whose gradient's graph it keeps.

    It stops when an eigenvalue changes little, which says nothing about the residual, so it is asked for a smaller change than
    the tolerance.
    """

    def __init__(self, workload: Measured, length: int | None = None) -> None:
        super().__init__(workload, workload.count)
        import pyhessian

        self._products = 0
        self._multiply = pyhessian.utils.hessian_vector_product
        pyhessian.hessian.eigenvalues.__globals__["hessian_vector_product"] = self._counted
        self._begin()

    def _begin(self) -> None:
        """The gradient, with its graph."""
        import pyhessian

        source = (self.workload.inputs, self.workload.targets)
        self.model.zero_grad()
        self.computer = pyhessian.hessian(self.model, nn.CrossEntropyLoss(), data=source, cuda=self.vector.is_cuda)

    def _counted(self, *arguments: Any) -> Any:
        self._products += 1
        return self._multiply(*arguments)

    def multiply(self, vector: Tensor) -> Tensor:
        shaped = [v.view_as(p) for v, p in zip(vector.split([p.numel() for p in self.parameters]), self.parameters, strict=True)]
        parts = self._multiply(self.computer.gradsH, self.computer.params, shaped)
        return torch.cat([part.reshape(-1) for part in parts])

    def trace(self, products: int) -> Number:
        """By Hutchinson's estimator, all products asked for."""
        torch.manual_seed(0)
        samples = torch.tensor(self.computer.trace(maxIter=products, tol=-math.inf), dtype=torch.float64)
        return Number(float(samples.mean()), float(samples.std()) / len(samples) ** 0.5, len(samples))

    def density(self, probes: int, steps: int, ends: tuple[float, float]) -> Number:
        torch.manual_seed(0)
        self.computer.density(iter=1, n_v=1)  # where torch has no `eig` any more, this fails at once
        nodes, weights = self.computer.density(iter=steps, n_v=probes)
        return implied(torch.tensor(nodes) * len(self.vector), torch.tensor(weights))

    def pairs(self, k: int, tolerance: float) -> Pairs:
        """The top k, with as many as 100 products each."""
        self._begin()
        torch.manual_seed(0)
        self._products = 0
        values, vectors = self.computer.eigenvalues(maxIter=100, tol=tolerance**2, top_n=k)
        flat = torch.stack([torch.cat([part.reshape(-1) for part in vector]) for vector in vectors])
        return Pairs(np.array(values), flat.detach().cpu().numpy(), self._products, {})


def plainly(build: Callable[..., Any], workload: Measured, **options: Any) -> Any:
    """A competitor in a process whose attention is matrix products, the only ones that torch can differentiate twice."""
    for kernel in ("flash", "mem_efficient", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)  # on a CPU too
    return build(workload, **options)


def implied(nodes: Tensor, weights: Tensor) -> Number:
    """The trace that the quadratures of some probes imply, nodes `(probes, steps)` times P, and its standard error."""
    samples = (nodes.double() * weights.double()).sum(1)
    return Number(float(samples.mean()), float(samples.std()) / len(samples) ** 0.5, nodes.numel())
