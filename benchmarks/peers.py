"""The competitors at Hessian-vector products and eigenpairs, each used as its own documentation says, at its best.

`hvp()` multiplies a fixed vector; `product()` returns that product, for comparison; `pairs(k, tolerance)` returns the k
eigenpairs of largest magnitude and the number of products they took. Where a batch length is free, each tries some when it is
made and keeps its fastest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from floors import divisors, fastest, random_vector
from workload import Batches, Workload

_LENGTHS = (1000, 5000, 10_000)


@dataclass(frozen=True)
class Pairs:
    """Eigenvalues `(k,)` and eigenvectors `(k, P)` in any order, the products they took, and what else there is to say."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    products: int
    details: dict[str, Any]


class _Peer:
    """A competitor that multiplies with `multiply(v)`."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.model = workload, workload.model()
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

    def use_fastest(self, use: Callable[[int], None]) -> None:
        """Tries batch lengths and leaves the fastest in use."""
        candidates = divisors(self.workload.count, _LENGTHS)

        def attempt(length: int) -> None:
            use(length)
            self.hvp()

        use(fastest(candidates, attempt, self.vector.device))


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


def double_backward(model: nn.Module, parameters: list[nn.Parameter], batches: Any, count: int, vector: Tensor) -> Tensor:
    """∇(∇L·v), batch by batch, weighted by their sizes (Pearlmutter 1994)."""
    total = torch.zeros_like(vector)
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs.to(vector.device)), targets.to(vector.device))
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        inner = torch.cat([gradient.reshape(-1) for gradient in gradients]) @ vector
        products = torch.autograd.grad(inner, parameters)
        total += torch.cat([product.reshape(-1) for product in products]) * (len(targets) / count)
    return total


class Curvlinops(_Peer):
    """curvlinops' Hessian operator, exported to SciPy as its documentation shows, and ARPACK."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.use_fastest(self._use)

    def _use(self, length: int) -> None:
        from curvlinops import HessianLinearOperator

        self.operator = HessianLinearOperator(
            self.model,
            nn.CrossEntropyLoss(),
            self.parameters,
            self.workload.batches(length),
            check_deterministic=False,  # a check, not part of the product
            num_data=self.workload.count,
        )

    def multiply(self, vector: Tensor) -> Tensor:
        return self.operator @ vector

    def pairs(self, k: int, tolerance: float) -> Pairs:
        return arpack(self.operator.to_scipy(dtype=np.float32), k, tolerance)


class HessianEigenthings(_Peer):
    """hessian-eigenthings' Hessian operator and its Lanczos.

    That Lanczos does not restart, and leaves it to the user to guess how many steps are enough. Here `tune` finds the fewest
    that are, outside the timing. Without reorthogonalisation (its default beyond 50 steps) it returns ghost copies, so it is
    switched on.
    """

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.steps = 0
        self.use_fastest(self._use)

    def _use(self, length: int) -> None:
        from hessian_eigenthings.loss_fns.standard import supervised_loss
        from hessian_eigenthings.operators.hessian import HessianOperator

        self.operator = HessianOperator(self.model, self.workload.batches(length), supervised_loss(nn.CrossEntropyLoss()))

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

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        import pyhessian

        self._products = 0
        source = (workload.inputs, workload.targets)
        self.computer = pyhessian.hessian(self.model, nn.CrossEntropyLoss(), data=source, cuda=self.vector.is_cuda)
        self._multiply = pyhessian.hessian.__init__.__globals__["hessian_vector_product"]
        pyhessian.hessian.eigenvalues.__globals__["hessian_vector_product"] = self._counted

    def _counted(self, *arguments: Any) -> Any:
        self._products += 1
        return self._multiply(*arguments)

    def multiply(self, vector: Tensor) -> Tensor:
        shaped = [v.view_as(p) for v, p in zip(vector.split([p.numel() for p in self.parameters]), self.parameters, strict=True)]
        parts = self._multiply(self.computer.gradsH, self.computer.params, shaped)
        return torch.cat([part.reshape(-1) for part in parts])

    def pairs(self, k: int, tolerance: float) -> Pairs:
        """The top k, with as many as 100 products each."""
        torch.manual_seed(0)
        self._products = 0
        values, vectors = self.computer.eigenvalues(maxIter=100, tol=tolerance**2, top_n=k)
        flat = torch.stack([torch.cat([part.reshape(-1) for part in vector]) for vector in vectors])
        return Pairs(np.array(values), flat.detach().cpu().numpy(), self._products, {})


class Judge:
    """What all results are compared with: double backward in plain PyTorch, in batches of 1,000, accumulated in float64.

    Args:
        dtype: of the products, `float32` or `float64`.
    """

    def __init__(self, workload: Workload, dtype: str = "float32") -> None:
        kind = getattr(torch, dtype)
        self.count, self.dtype = workload.count, kind
        self.model = workload.model().to(kind)
        self.parameters = list(self.model.parameters())
        self.batches: Batches = [(inputs.to(kind), targets) for inputs, targets in workload.batches(1000)]
        self.vector = random_vector(workload).double()

    def multiply(self, vector: Tensor) -> Tensor:
        """H v in float64, from products of the chosen dtype."""
        total = torch.zeros_like(vector)
        for batch in self.batches:
            share = len(batch[1]) / self.count
            total += double_backward(self.model, self.parameters, [batch], len(batch[1]), vector.to(self.dtype)).double() * share
        return total

    def product(self) -> np.ndarray:
        return self.multiply(self.vector).cpu().numpy()

    def residuals(self, eigenvalues: np.ndarray, eigenvectors: np.ndarray) -> np.ndarray:
        """‖Hv − λv‖ / |λ| of each pair, its vector normalised first."""
        result = []
        for value, vector in zip(eigenvalues, eigenvectors, strict=True):
            unit = torch.from_numpy(vector).double().to(self.vector.device)
            unit /= unit.norm()
            result.append(((self.multiply(unit) - float(value) * unit).norm() / abs(float(value))).item())
        return np.array(result)
