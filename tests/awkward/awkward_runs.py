"""Every public function on an awkward case, beside a truth that the library has no part in: right, or refused in one sentence.

The truth is the user's own module in eval mode with the user's own loss, θ written into its parameters, in float64 where the
module can be; the Hessian is that of central differences of its gradients.
"""

import copy
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import awkward_further  # noqa: F401 - adds its cases to the table
import torch
from awkward_cases import Batches, Case
from torch import Tensor, nn

import orograph as og
from orograph.errors import OrographError

NOT_DOUBLE = ("bytes made float32 inside", "a tensor as a plain attribute")


class Truth:
    """What is right, at any θ in float64."""

    def __init__(self, case: Case) -> None:
        model, loss, batches = case.build()
        self.case = case
        while not isinstance(model, torch.jit.ScriptModule) and (
            hasattr(model, "_orig_mod") or isinstance(model, nn.DataParallel)
        ):
            model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
        self.dtype = torch.float32 if case.name in NOT_DOUBLE else torch.float64
        self.model = model.to(self.dtype)
        for module in self.model.modules():
            module.training = False
        self.loss = _cast_loss(loss, self.dtype)
        if any(not t.is_leaf for module in model.modules() for t in vars(module).values() if isinstance(t, Tensor)):
            with torch.no_grad():  # weights that forward makes of others are not copied with their history
                self.model(_cast(batches[0][0], self.dtype))
        self.batches = [(_cast(inputs, self.dtype), _cast(targets, self.dtype)) for inputs, targets in batches]
        self.named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.theta = torch.cat([p.detach().reshape(-1) for p in self.named.values()]).double()
        self.moving = torch.ones_like(self.theta)
        start = 0
        for name, p in self.named.items():
            for other, row in case.frozen:
                if other == name:
                    width = p[0].numel()
                    self.moving[start + row * width : start + (row + 1) * width] = 0
            start += p.numel()

    def value(self, theta: Tensor) -> Tensor:
        """L, differentiable by the parameters."""
        with torch.no_grad():
            for p, part in zip(self.named.values(), theta.split([p.numel() for p in self.named.values()]), strict=True):
                p.copy_(part.view_as(p))
        model = copy.deepcopy(self.model) if list(self.model.buffers()) else self.model
        self._used = [p for p in model.parameters() if p.requires_grad]

        def call(inputs: Any) -> Any:
            inputs = _cast(inputs, self.dtype)
            if isinstance(inputs, Mapping) or (hasattr(inputs, "data") and hasattr(inputs, "keys")):
                return model(**inputs)
            return model(*inputs) if isinstance(inputs, tuple) else model(inputs)

        if self.case.total:
            return self.case.total(call, self.batches)
        count = sum(len(targets) for _, targets in self.batches)
        total: Any = sum(len(targets) * self.loss(call(inputs), targets) for inputs, targets in self.batches)
        return total / count

    def loss_at(self, theta: Tensor) -> float:
        with torch.no_grad():
            return float(self.value(theta))

    def gradient(self, theta: Tensor) -> Tensor:
        value = self.value(theta)
        for p in self._used:
            p.grad = None
        value.backward()  # reentrant checkpoints know nothing else
        found = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in self._used]
        return torch.cat([g.reshape(-1) for g in found]).double() * self.moving

    @functools.cached_property
    def hessian(self) -> Tensor:
        if self.dtype == torch.float32:
            value = self.value(self.theta)
            slope = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, self._used, create_graph=True)])
            rows = [
                torch.cat([g.reshape(-1) for g in torch.autograd.grad(each, self._used, retain_graph=True)]) for each in slope
            ]
            return torch.stack(rows).double()
        h = 1e-5
        steps = torch.eye(len(self.theta), dtype=torch.float64) * h
        columns = [(self.gradient(self.theta + e) - self.gradient(self.theta - e)) / (2 * h) for e in steps]
        return torch.stack(columns, 1) * self.moving


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    if isinstance(tree, Tensor):
        return (tree.to(dtype) if tree.is_floating_point() else tree).clone()
    if isinstance(tree, tuple):
        return tuple(_cast(each, dtype) for each in tree)
    if hasattr(tree, "keys"):
        return {key: _cast(tree[key], dtype) for key in tree}
    return tree


def _cast_loss(loss: Any, dtype: torch.dtype) -> Any:
    if isinstance(loss, nn.Module):
        return copy.deepcopy(loss).to(dtype)
    if isinstance(loss, functools.partial):
        return functools.partial(loss.func, **{key: _cast(value, dtype) for key, value in loss.keywords.items()})
    return loss


@contextmanager
def untouched(model: nn.Module, batches: Batches) -> Iterator[None]:
    """Everything of the user's is bit for bit what it was, also after an error."""

    def state() -> list[Any]:
        tensors = [*model.parameters(), *model.buffers()] if not isinstance(model, nn.modules.lazy.LazyModuleMixin) else []
        kept = [each.detach().clone() for each in tensors if not isinstance(each, nn.UninitializedParameter)]
        kept += [leaf.clone() for leaf in torch.utils._pytree.tree_leaves(batches) if isinstance(leaf, Tensor)]
        kept.append(torch.random.get_rng_state())
        return kept

    def facts() -> list[Any]:
        modes = [module.training for module in model.modules()]
        grads = [p.grad is None for p in model.parameters()]
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
        plain = [
            {key: value for key, value in vars(m).items() if isinstance(value, int | float | str | None)} for m in model.modules()
        ]
        flags = [leaf.requires_grad for leaf in torch.utils._pytree.tree_leaves(batches) if isinstance(leaf, Tensor)]
        return [modes, grads, hooks, plain, flags]

    before, known = state(), facts()
    try:
        yield
    finally:
        after = state()
        assert all(_same(a, b) for a, b in zip(before, after, strict=True)), "touched"
        assert known == facts(), "modes, gradients, hooks or attributes changed"


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = (each.to_dense() if each.is_sparse else each for each in (a, b))
    return a.dtype == b.dtype and torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def near(found: Any, right: Any, tolerance: float) -> None:
    a, b = torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(right, dtype=torch.float64)
    scale = max(b.abs().max().item(), 1e-3)
    assert (a - b).abs().max().item() <= tolerance * scale, (found, right)


@dataclasses.dataclass
class Given:
    """A case as built, its truth, and how many digits its own dtype has."""

    model: nn.Module
    loss: Any
    batches: Batches
    truth: Truth
    tolerance: float

    @functools.cached_property
    def operator(self) -> Any:
        return og.HessianOperator(self.model, self.loss, self.batches)

    @functools.cached_property
    def objective(self) -> Any:
        return og.Objective(self.model, self.loss, self.batches)

    @property
    def theta(self) -> Tensor:
        return self.objective.theta


def _hessian(given: Given) -> None:
    near(given.operator.loss, given.truth.loss_at(given.truth.theta), given.tolerance)
    near(given.operator.gradient, given.truth.gradient(given.truth.theta), 10 * given.tolerance)
    dense = torch.stack([given.operator @ row for row in torch.eye(given.operator.size, dtype=given.operator.dtype)], 1)
    near(dense, given.truth.hessian, 10 * given.tolerance)
    near(given.operator @ torch.eye(given.operator.size, dtype=given.operator.dtype), given.truth.hessian, 10 * given.tolerance)


def _lanczos(given: Given) -> None:
    found = og.lanczos(given.operator, 2, which="LA").eigenvalues
    near(found, torch.linalg.eigvalsh(given.truth.hessian).flip(0)[:2], 10 * given.tolerance)


def _trace(given: Given) -> None:
    found = og.trace(given.operator, probes=given.operator.size)
    right = given.truth.hessian.trace().item()
    assert abs(found.value - right) <= 4 * found.error + 1e-2 * given.truth.hessian.abs().diagonal().sum(), (found, right)


def _density(given: Given) -> None:
    found, right = og.density(given.operator, steps=20).trace, given.truth.hessian
    # The spread of vᵀHv is √2·‖H‖ at most. The sample's own is of few and skew values, and too small where all of them are.
    error = (2 * right.square().sum() / len(found.samples)).sqrt()
    assert abs(found.value - right.trace()) <= 4 * error + 1e-2 * right.abs().diagonal().sum(), (found, right.trace())


def _gauss_newton(given: Given) -> None:
    """The part of H that is left where the outputs are linear in θ: G is symmetric, and its gradient that of the loss."""
    operator = og.GaussNewtonOperator(given.model, given.loss, given.batches)
    dense = torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)], 1)
    near(dense, dense.T, given.tolerance * 10)
    near(operator.gradient, given.truth.gradient(given.truth.theta), 10 * given.tolerance)


def _fisher(given: Given) -> None:
    operator = og.EmpiricalFisherOperator(given.model, given.loss, given.batches)
    dense = torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)], 1).double()
    near(dense, dense.T, given.tolerance * 10)
    assert torch.linalg.eigvalsh((dense + dense.T) / 2)[0] >= -1e-3 * dense.norm()


def _sharpness(given: Given) -> None:
    near(og.sharpness(given.objective, given.theta, pairs=2).loss, given.truth.loss_at(given.truth.theta), given.tolerance)


def _flatness(given: Given) -> None:
    found = og.loss_increase(given.objective, given.theta, samples=2)
    assert abs(found.loss_increase.value) < 10 * (1 + given.truth.loss_at(given.truth.theta))


def _profile(given: Given) -> None:
    direction = og.random_orthonormal(given.theta, 1)[0]
    radius = 0.1 * given.theta.double().norm().item()
    right = [given.truth.loss_at(given.truth.theta + step * radius * direction.double()) for step in (-1, 0, 1)]
    near(og.profile(given.objective, given.theta, direction, points=3).losses, right, given.tolerance)


def _surface(given: Given) -> None:
    directions = og.random_orthonormal(given.theta, 2)
    radius = 0.1 * given.theta.double().norm().item()
    first, second = directions.double() * radius
    right = [[given.truth.loss_at(given.truth.theta + a * first + b * second) for b in (-1, 1)] for a in (-1, 1)]
    near(og.surface(given.objective, given.theta, directions, points=2).losses, right, given.tolerance)


def _path(given: Given) -> None:
    other = given.theta + 0.1 * og.random_orthonormal(given.theta, 1)[0]
    if any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats for module in given.model.modules()
    ):
        og.curve_profile(
            given.objective, og.line(given.theta, other), points=2
        )  # statistics are estimated anew: tested elsewhere
        return
    right = [given.truth.loss_at(theta.double()) for theta in (given.theta, other)]
    near(og.curve_profile(given.objective, og.line(given.theta, other), points=2).train.losses, right, given.tolerance)


def _classes(given: Given) -> None:
    pairs = og.lanczos(given.operator, 2, which="LA")
    labels = torch.arange(given.objective.count) % 2
    found = og.class_shares(given.objective, given.theta, pairs, labels=labels, classes=2)
    near(found.shares.sum(0), pairs.eigenvalues, 20 * given.tolerance)


def _align(given: Given) -> None:
    found = og.align(given.objective, given.theta, given.theta)
    near(found.theta, given.theta, given.tolerance)


FUNCTIONS: dict[str, Callable[[Given], None]] = {
    "Hessian": _hessian,
    "Gauss–Newton": _gauss_newton,
    "Fisher": _fisher,
    "lanczos": _lanczos,
    "trace": _trace,
    "density": _density,
    "sharpness": _sharpness,
    "loss_increase": _flatness,
    "profile": _profile,
    "surface": _surface,
    "path": _path,
    "class_shares": _classes,
    "align": _align,
}
# What may say that it cannot be had although the loss is sound: one value a sample, or a chain of layers, is not always there.
MAY_REFUSE = ("Gauss–Newton", "Fisher", "class_shares", "align")


def given_of(case: Case) -> Given:
    """A case as a person has it, with its truth; what is made of it once serves every function."""
    tolerance = 2e-2 if "float16" in case.name else 2e-4
    return Given(*case.build(), None if case.refused else Truth(case), tolerance)  # type: ignore[arg-type]


def outcome(case: Case, given: Given, function: str) -> str:
    """`right`, or the sentence of the refusal.

    Raises:
        AssertionError: a wrong number, something of the user's touched, or an error that is not the library's own.
    """
    torch.manual_seed(1)
    try:
        with warnings.catch_warnings(), untouched(given.model, given.batches):
            warnings.simplefilter("ignore")
            FUNCTIONS[function](given) if not case.refused else _only_run(given, function)
    except OrographError as error:
        text = str(error)
        assert "\n" not in text, text
        assert len(text) < 500, text
        return text
    return "right"


def _only_run(given: Given, function: str) -> None:
    """Of a case that is to be refused: nothing but the call."""
    dummy = functools.partial(_anything)
    given.truth = dummy  # type: ignore[assignment]
    if function in ("Hessian", "lanczos", "trace", "density", "class_shares"):
        given.operator @ torch.ones(given.operator.size)
    elif function == "Gauss–Newton":
        og.GaussNewtonOperator(given.model, given.loss, given.batches)
    elif function == "Fisher":
        og.EmpiricalFisherOperator(given.model, given.loss, given.batches)
    else:
        og.loss_increase(given.objective, given.theta, samples=2)


def _anything(*_: Any) -> None:
    raise AssertionError("a refused case has no truth")
