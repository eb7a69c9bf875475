"""How far a Kronecker-factored curvature (KFAC) is from the Gauss–Newton matrix that it stands for.

KFAC replaces the block of a linear layer, G_ll = (1/N) Σ_n aₙaₙᵀ ⊗ Bₙ with its inputs a (and a 1 for the bias) and
Bₙ = Jₙᵀ∇²ℓₙJₙ, J = ∂z/∂(outputs of the layer), by (1/N Σ aaᵀ) ⊗ (1/N Σ B), and leaves out the blocks between layers (Martens &
Grosse, 2015). So a block is exact where inputs and Bₙ do not go together: for one sample, and where Bₙ is the same for all, as
with a squared error behind linear layers alone (Bernacchia, Lengyel & Hennequin, 2018). Between layers nothing is: of a linear
network of two layers all blocks are exact, and G is not. EKFAC keeps KFAC's eigenvectors and takes the diagonal of the block in
them, the nearest such matrix in the Frobenius norm (George et al., 2018).

The factors come from the package curvlinops (Dangel et al.), `pip install orograph[kfac]`; type 2, with the Hessian of the loss
by its outputs and no sampling. What they are held against is this library's own Gauss–Newton operator.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from orograph.arguments import checked
from orograph.blockwise.block_operator import BlockOperator
from orograph.blockwise.parts import partition
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.foreign import as_operator
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError, unknown
from orograph.metrics import IGNORED
from orograph.objective import Objective
from orograph.sources import first_line
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.spectrum import Spectrum

Kind = Literal["kfac", "ekfac"]
_KINDS = {"kfac": "KFACLinearOperator", "ekfac": "EKFACLinearOperator"}
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.mse_loss: nn.MSELoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
}
_PLAIN = {"weight": None, "pos_weight": None, "label_smoothing": 0.0, "ignore_index": IGNORED, "reduction": "mean"}
_SAME = 1e-3  # of a loss, in float32: two ways to the mean over all data


@brief
@dataclass(frozen=True)
class Norm:
    """‖·‖₂ of a symmetric matrix, from below for certain.

    An eigenvalue lies within the residual of a Ritz value, so that ‖·‖₂ is no less than `value − residual`; that none is larger
    is as sure as Lanczos' method from a random start is.

    Attributes:
        value: |λ| of the Ritz pair of largest magnitude.
        residual: of that pair.
    """

    value: float
    residual: float


@brief
@dataclass(frozen=True)
class BlockAudit:
    """One layer's block.

    Attributes:
        name: of the layer.
        parameters: of it.
        curvature: ‖G_ll‖₂.
        difference: ‖G_ll − K_ll‖₂.
    """

    name: str
    parameters: int
    curvature: Norm
    difference: Norm

    @property
    def error(self) -> float:
        """‖G_ll − K_ll‖₂/‖G_ll‖₂."""
        return self.difference.value / self.curvature.value if self.curvature.value else float("nan")


@brief
@dataclass(frozen=True)
class KfacAudit:
    """What a Kronecker-factored matrix K is worth in place of G.

    Attributes:
        kind: `kfac` or `ekfac`.
        curvature: ‖G‖₂.
        approximation: ‖K‖₂.
        difference: ‖G − K‖₂.
        blocks: the same of the block of each layer.
        k: how many eigenvectors are compared.
        overlap: ‖V_GᵀV_K‖²_F/k of the top k of both, 1 where they span the same; k/P by chance.
        cut: whether k splits a cluster of eigenvalues of G or K, so that the span is not determined.
        products: of G.
    """

    kind: str
    curvature: Norm
    approximation: Norm
    difference: Norm
    blocks: tuple[BlockAudit, ...]
    k: int
    overlap: float
    cut: bool
    products: int

    @property
    def error(self) -> float:
        """‖G − K‖₂/‖G‖₂."""
        return self.difference.value / self.curvature.value if self.curvature.value else float("nan")

    @property
    def block_error(self) -> float:
        """‖D − K‖₂/‖D‖₂ with D the blocks of G on its diagonal: what is wrong beside what lies between layers."""
        largest = max(each.curvature.value for each in self.blocks)
        return max(each.difference.value for each in self.blocks) / largest if largest else float("nan")


class _Batches:
    """The data of an objective, again at each pass."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        return iter(self._objective.batches())


@checked
def kfac_audit(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    k: int = 5,
    kind: Kind = "kfac",
    tolerance: float = 1e-3,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> KfacAudit:
    """‖G − K‖₂/‖G‖₂ of a Kronecker-factored K, whole and layer by layer, and the overlap of the top eigenvectors of both.

    Costs a spectrum of G, G − K and K, and two of each layer's block, of G and G − K, each of tens of products; K itself a
    backward pass over the data for each output.

    Args:
        objective: of a network whose parameters in θ all belong to Linear and Conv2d layers that are used once in a forward pass
            (none tied), on inputs in one tensor; its loss
            the mean cross-entropy, squared error, or binary cross-entropy of logits, plain ones. Its penalty plays no part.
        theta: `(P,)`, where; the objective's own when None.
        k: eigenvectors to compare.
        kind: `kfac`, or `ekfac`, with the diagonal of each block in KFAC's eigenvectors.
        tolerance: of eigenvalues, relative; see `lanczos`.
        seed: of random vectors.
        on_product: called with what is computed and the products of that stage so far.

    Returns:
        Norms with residuals, and the overlap.

    Raises:
        ConfigurationError: curvlinops is not installed, or has no such matrix of this network, loss or data.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.randn(9, 4), torch.randn(9, 2))]  # one linear layer, squared error: exact
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.MSELoss(), data)
        >>> og.blockwise.kfac_audit(objective, k=2).error < 1e-4
        True
    """
    objective = objective if theta is None else objective.moved(theta)
    if not 1 <= k < objective.layout.size:
        raise ConfigurationError(f"`k` {k} must be at least 1 and below the number of parameters, {objective.layout.size}.")
    approximate = kfac_operator(objective, kind)
    exact = GaussNewtonOperator.of(objective)
    given: dict[str, Any] = {"tolerance": tolerance, "seed": seed}

    def norm(operator: LinearOperator, stage: str) -> Norm:
        if operator.size == 1:
            only = operator @ torch.ones(1, dtype=operator.dtype, device=operator.device)
            return Norm(abs(only.item()), 0.0)
        found = lanczos(operator, 1, which="LM", on_product=renamed(on_product, stage), **given)
        return _largest(found)

    pairs = min(k + 1, exact.size - 1)  # the next shows whether k splits a cluster
    top, other = (
        lanczos(each, pairs, which="LA", on_product=renamed(on_product, f"spectrum of {name}"), **given)
        for name, each in (("G", exact), (kind, approximate))
    )
    shared = top.eigenvectors[:k].double() @ other.eigenvectors[:k].double().T
    blocks = []
    for name, places in partition(objective.layout, "module").items():
        own, factored = BlockOperator(exact, places), BlockOperator(approximate, places)
        each = norm(own, f"block {name}"), norm(own - factored, f"difference {name}")
        blocks.append(BlockAudit(name, own.size, *each))
    return KfacAudit(
        kind,
        _largest(top),
        _largest(other),
        norm(exact - approximate, "difference"),
        tuple(blocks),
        k,
        shared.square().sum().item() / k,
        _splits(top, k) or _splits(other, k),
        exact.products,
    )


@checked
def kfac_operator(objective: Objective, kind: Kind = "kfac") -> LinearOperator:
    """K of an objective, as an operator: weight and bias of a layer in one block.

    Args:
        objective: gives model, θ, loss and data; its penalty plays no part.
        kind: `kfac` or `ekfac`.

    Returns:
        `(P, P)`, of a copy of the model: the factors are those at θ of the objective.

    Raises:
        ConfigurationError: curvlinops is not installed, or has no such matrix of this network, loss or data.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.randn(9, 4), torch.randn(9, 2))]
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.MSELoss(), data)
        >>> og.blockwise.kfac_operator(objective).shape
        (10, 10)
    """
    if kind not in _KINDS:
        raise unknown("kind", kind, list(_KINDS))
    try:
        import curvlinops
    except ImportError as error:
        raise ConfigurationError(
            f"{kind} needs the package curvlinops ({first_line(error)}): pip install 'orograph[kfac]'."
        ) from None
    meant = _loss_module(objective.reduction.loss)
    batches = _Batches(objective)
    network = copy.deepcopy(objective.model).to(objective.dtype).eval()
    named = dict(network.named_parameters())
    held = {**named, **dict(network.named_buffers())}
    with torch.no_grad():
        for name, value in objective.tensors(objective.theta).items():
            held[name].copy_(value)
    chosen = [named[name].requires_grad_() for name in objective.layout.names]
    _require_the_same(objective, network, meant, batches)
    _require_single_uses(network, {name: named[name] for name in objective.layout.names}, batches)
    try:
        found = getattr(curvlinops, _KINDS[kind])(
            network,
            meant,
            chosen,
            batches,
            fisher_type="type-2",
            separate_weight_and_bias=False,
            num_data=objective.count,
            check_deterministic=False,
        )
        found.compute_kronecker_factors()
        if kind == "ekfac":
            found.compute_eigenvalue_correction()
    except Exception as error:  # whatever it raises on a network that it does not know
        raise ConfigurationError(
            f"curvlinops has no {kind} of this network and these data ({type(error).__name__}: {first_line(error)}); it knows "
            "Linear and Conv2d layers, and losses of outputs (samples, …)."
        ) from error
    return as_operator(found)


def _splits(found: Spectrum, k: int) -> bool:
    """Whether pair k + 1 cannot be told from pair k."""
    if len(found.eigenvalues) == k:
        return bool(found.cut)
    gap, apart = found.eigenvalues[k - 1] - found.eigenvalues[k], found.residuals[k - 1] + found.residuals[k]
    rounding = torch.finfo(found.eigenvectors.dtype).eps * len(found.eigenvectors[0]) ** 0.5 * found.eigenvalues[0].abs()
    return bool(gap <= apart + rounding)


def _largest(found: Spectrum) -> Norm:
    """Of the first pair, of largest magnitude: G and K have no negative eigenvalues."""
    return Norm(abs(found.eigenvalues[0].item()), found.residuals[0].item())


def _loss_module(loss: Any) -> nn.Module:
    """The loss as curvlinops takes it, a mean without weights or left-out targets."""
    made = _FUNCTIONS.get(loss)
    meant = loss if made is None else made()
    if not isinstance(meant, nn.Module) or type(meant) not in _FUNCTIONS.values():
        raise ConfigurationError(
            f"`loss` {getattr(loss, '__name__', type(loss).__name__)} has no KFAC here; give the plain mean of cross_entropy, "
            "mse_loss or binary_cross_entropy_with_logits, as torch has them."
        )
    for name, usual in _PLAIN.items():
        value = getattr(meant, name, usual)
        if isinstance(value, Tensor) or value != usual:
            raise ConfigurationError(f"`loss` with {name} {value} has no KFAC here; give it without, with the mean of samples.")
    return meant


class _Uses(TorchFunctionMode):
    """Counts the operations that differentiably take a parameter, whoever calls them."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        self.counts = {id(each): 0 for each in parameters}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.requires_grad:
            for each in tree_leaves((args, kwargs)):
                if id(each) in self.counts:
                    self.counts[id(each)] += 1
        return found


def _require_single_uses(network: nn.Module, chosen: Mapping[str, Tensor], batches: _Batches) -> None:
    """Refuses tied parameters and layers that are applied again: the block of a sum of two layers is none of two factors."""
    inputs, _ = next(iter(batches))
    with _Uses(chosen.values()) as uses, torch.enable_grad():
        network(inputs)
    for name, each in chosen.items():
        if (count := uses.counts[id(each)]) > 1:
            raise ConfigurationError(
                f"parameter '{name}' is used {count} times in a forward pass (tied, or its layer is applied again), and KFAC is "
                "of layers that are used once; leave it out of `parameters`."
            )


def _require_the_same(objective: Objective, network: nn.Module, loss: nn.Module, batches: _Batches) -> None:
    """Refuses what is another loss when it is computed as curvlinops does: inputs in one tensor, every target counted alike."""
    total = 0.0
    with torch.no_grad():
        for inputs, targets in batches:
            if not isinstance(inputs, Tensor):
                raise ConfigurationError(f"KFAC takes inputs in one tensor, not in a {type(inputs).__name__}; give such data.")
            if targets.is_floating_point() and isinstance(loss, nn.CrossEntropyLoss):  # curvlinops' is C times as large then
                raise ConfigurationError("KFAC takes targets of cross_entropy as classes, not as probabilities; give such data.")
            if not targets.is_floating_point() and bool(targets.eq(IGNORED).any()):
                raise ConfigurationError("KFAC counts every target alike, and some are ignored here; leave these samples out.")
            total += loss(network(inputs), targets).item() * len(targets)
    here, there = objective.loss(objective.theta), total / objective.count
    if not abs(here - there) <= _SAME * max(abs(here), _SAME):
        raise ConfigurationError(
            f"the loss is {here:.6g}, and {there:.6g} as the mean that KFAC is of; give a model without state."
        )
