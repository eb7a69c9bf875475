"""KFAC held against matrices that are written out: G from torch.func's Jacobians, K from its definition, norms and overlaps by
dense eigenvalues; and where KFAC is exact by theory. What needs the package curvlinops is skipped without it.
"""

import copy
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

import orograph as og
from orograph.blockwise import KfacAudit, kfac_audit, kfac_operator
from orograph.errors import ConfigurationError

Data = list[tuple[Tensor, Tensor]]


def needs_curvlinops(test: Callable[..., None]) -> Callable[..., None]:
    missing = importlib.util.find_spec("curvlinops") is None
    return pytest.mark.slow(pytest.mark.skipif(missing, reason="curvlinops is not installed")(test))


def drawn(count: int, *, classes: bool, outputs: int = 3, seed: int = 0) -> Data:
    """Two batches of unequal length."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    numbers = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    targets = numbers.argmax(1) if classes else numbers
    cut = max(1, count // 3)
    return [each for each in ((inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])) if len(each[0])]


def network(*, activation: type[nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5, bias=bias), activation(), nn.Linear(5, 3, bias=bias)).double()


def whole(data: Data) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*data, strict=True)
    return torch.cat(inputs), torch.cat(targets)


def output_hessian(outputs: Tensor, *, classes: bool) -> Tensor:
    """Of the loss of one sample: of a cross-entropy, or of a squared error that is a mean over outputs."""
    if not classes:
        return 2 * torch.eye(len(outputs), dtype=outputs.dtype) / len(outputs)
    p = outputs.softmax(0)
    return torch.diag(p) - torch.outer(p, p)


def gauss_newton(model: nn.Module, data: Data, *, classes: bool) -> Tensor:
    """G, sample by sample."""
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    inputs, _ = whole(data)
    total = torch.zeros(())
    for x in inputs:
        jacobian = jacrev(lambda p, x=x: functional_call(model, p, (x,)))(parameters)
        rows = torch.cat([each.flatten(1) for each in jacobian.values()], 1)
        total = total + rows.T @ output_hessian(model(x).detach(), classes=classes) @ rows
    return total / len(inputs)


def kronecker(model: nn.Sequential, data: Data, *, classes: bool) -> Tensor:
    """K by its definition: (1/N Σ B) ⊗ (1/N Σ aaᵀ) of each Linear layer, with a 1 behind a for the bias, at rows of θ's order."""
    inputs, _ = whole(data)
    size = sum(each.numel() for each in model.parameters())
    found, start = torch.zeros(size, size, dtype=torch.float64), 0
    for place, layer in enumerate(model):
        if not isinstance(layer, nn.Linear):
            continue
        a = model[:place](inputs).detach()
        if layer.bias is not None:
            a = torch.cat([a, torch.ones(len(a), 1, dtype=a.dtype)], 1)
        after = [jacrev(lambda z, place=place: model[place + 1 :](z))(layer(each).detach()) for each in model[:place](inputs)]
        b = [j.T @ output_hessian(out, classes=classes) @ j for j, out in zip(after, model(inputs).detach(), strict=True)]
        factors = torch.kron(torch.stack(b).mean(0), a.T @ a / len(a))
        rows, columns = layer.weight.shape
        width = a.shape[1]
        weights = [row * width + column for row in range(rows) for column in range(columns)]
        order = torch.tensor(weights + [row * width + columns for row in range(rows) if width > columns])
        stop = start + len(order)
        found[start:stop, start:stop] = factors[order][:, order]
        start = stop
    return found


def loss_of(*, classes: bool) -> nn.Module:
    return nn.CrossEntropyLoss() if classes else nn.MSELoss()


def norm(matrix: Tensor) -> float:
    return torch.linalg.eigvalsh(matrix).abs().max().item()


def audit(model: nn.Module, loss: object, data: Data, *, parameters: str = "*", **options: Any) -> KfacAudit:
    return kfac_audit(og.Objective(model, loss, data, parameters=parameters), **options)  # type: ignore[arg-type]


@needs_curvlinops
@pytest.mark.parametrize("classes", [True, False], ids=["classes", "numbers"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_every_number_is_that_of_the_matrices_written_out(classes: bool, bias: bool) -> None:
    model, data, k = network(bias=bias), drawn(20, classes=classes), 3
    found = audit(model, loss_of(classes=classes), data, k=k, tolerance=1e-8)
    exact, factored = gauss_newton(model, data, classes=classes), kronecker(model, data, classes=classes)
    assert found.curvature.value == pytest.approx(norm(exact), rel=1e-7)
    assert found.approximation.value == pytest.approx(norm(factored), rel=1e-7)
    assert found.difference.value == pytest.approx(norm(exact - factored), rel=1e-7)
    assert found.error == pytest.approx(norm(exact - factored) / norm(exact), rel=1e-6)
    start = 0
    for block in found.blocks:
        own = slice(start, start := start + block.parameters)
        assert block.curvature.value == pytest.approx(norm(exact[own, own]), rel=1e-7)
        assert block.difference.value == pytest.approx(norm((exact - factored)[own, own]), rel=1e-7)
    assert [block.name for block in found.blocks] == ["0", "2"]
    top, other = (torch.linalg.eigh(each)[1][:, -k:] for each in (exact, factored))
    assert found.overlap == pytest.approx((top.T @ other).square().sum().item() / k, rel=1e-5)


@needs_curvlinops
def test_the_operator_is_the_definition_at_theta_of_the_objective() -> None:
    data = drawn(20, classes=True)
    objective = og.Objective(network(), nn.CrossEntropyLoss(), data).moved(0.5 * torch.ones(43, dtype=torch.float64).cos())
    moved = copy.deepcopy(network())
    nn.utils.vector_to_parameters(objective.theta, moved.parameters())
    operator = kfac_operator(objective)
    assert torch.allclose(operator @ torch.eye(43).double(), kronecker(moved, data, classes=True), rtol=1e-10, atol=1e-13)


@needs_curvlinops
def test_blocks_of_a_linear_network_with_a_squared_error_are_exact_and_what_couples_them_is_not() -> None:
    """B = (W₂…)ᵀ·2/C·(W₂…) is the same for every sample (Bernacchia et al., 2018); K has nothing between layers."""
    found = audit(network(activation=nn.Identity), nn.MSELoss(), drawn(25, classes=False), k=2)
    assert found.block_error < 1e-10
    assert all(block.error < 1e-10 for block in found.blocks)
    assert found.error > 0.1
    alone = audit(nn.Linear(4, 3).double(), nn.MSELoss(), drawn(25, classes=False), k=2)
    assert alone.error < 1e-10  # one layer is all there is
    assert alone.cut  # its eigenvalues are those of E aaᵀ, three copies of each: two vectors of three are anybody's
    three = audit(nn.Linear(4, 3).double(), nn.MSELoss(), drawn(25, classes=False), k=3, tolerance=1e-6)
    assert not three.cut
    assert three.overlap == pytest.approx(1, abs=1e-9)
    bent = audit(network(), nn.MSELoss(), drawn(25, classes=False), k=2)
    assert bent.block_error > 1e-3  # behind a tanh B differs from sample to sample


@needs_curvlinops
def test_of_one_sample_the_blocks_are_exact_whatever_the_network() -> None:
    found = audit(network(), nn.CrossEntropyLoss(), drawn(1, classes=True), k=2)
    assert found.block_error < 1e-10
    assert audit(network(), nn.CrossEntropyLoss(), drawn(2, classes=True), k=2).block_error > 1e-3


@needs_curvlinops
def test_ekfac_is_nearer_to_each_block_in_the_frobenius_norm() -> None:
    data, objective = drawn(20, classes=True), og.Objective(network(), nn.CrossEntropyLoss(), drawn(20, classes=True))
    exact, identity = gauss_newton(network(), data, classes=True), torch.eye(43).double()
    apart = {}
    for kind in ("kfac", "ekfac"):
        matrix = kfac_operator(objective, kind) @ identity  # type: ignore[arg-type]
        apart[kind] = [(exact - matrix)[own, own].norm().item() for own in (slice(0, 25), slice(25, 43))]
        assert torch.allclose(matrix, matrix.T, atol=1e-14)
    assert all(better < worse for better, worse in zip(apart["ekfac"], apart["kfac"], strict=True))
    found = audit(network(), nn.CrossEntropyLoss(), data, k=2, kind="ekfac")
    assert isinstance(found, KfacAudit)
    assert found.kind == "ekfac"


@needs_curvlinops
def test_a_convolution_over_whole_images_is_a_linear_layer() -> None:
    torch.manual_seed(1)
    conv = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()).double()
    inputs, targets = whole(drawn(15, classes=False))
    found = audit(conv, F.mse_loss, [(inputs.view(-1, 1, 2, 2), targets)], k=2)
    assert found.error < 1e-10


@needs_curvlinops
def test_float32_is_right_to_its_digits_and_the_model_stays_as_it_was() -> None:
    model, data = network().float().train(), [(x.float(), y) for x, y in drawn(20, classes=True)]
    before, flags = copy.deepcopy(model.state_dict()), [each.requires_grad for each in model.parameters()]
    found = audit(model, F.cross_entropy, data, k=2)
    exact = audit(network(), nn.CrossEntropyLoss(), drawn(20, classes=True), k=2)
    assert found.error == pytest.approx(exact.error, rel=2e-3)  # of eigenvalues to 1e-3 of the residual, squared, and float32
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert [each.requires_grad for each in model.parameters()] == flags
    assert all(each.grad is None for each in model.parameters())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@needs_curvlinops
def test_a_part_of_the_parameters_has_the_blocks_of_that_part() -> None:
    found = audit(network(), nn.CrossEntropyLoss(), drawn(20, classes=True), k=2, parameters="2.*")
    matrix = kronecker(network(), drawn(20, classes=True), classes=True)[25:, 25:]
    assert [(block.name, block.parameters) for block in found.blocks] == [("2", 18)]
    assert found.approximation.value == pytest.approx(norm(matrix), rel=1e-4)


@needs_curvlinops
@pytest.mark.parametrize(
    ("model", "loss", "says"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), nn.MSELoss(), "curvlinops has no kfac of this network"),
        (nn.Linear(4, 3), nn.L1Loss(), "L1Loss has no KFAC here"),
        (nn.Linear(4, 3), F.smooth_l1_loss, "smooth_l1_loss has no KFAC here"),
        (nn.Linear(4, 3), nn.MSELoss(reduction="sum"), "with reduction sum"),
    ],
)
def test_what_has_no_kronecker_factors_is_one_sentence(model: nn.Module, loss: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        audit(model.double(), loss, drawn(6, classes=False), k=2)
    assert len(str(raised.value).splitlines()) == 1


class Tied(nn.Module):
    """The same weight twice: in two layers, in a layer that is applied again, or in a bare operation."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.one, self.last, self.way = nn.Linear(4, 4), nn.Linear(4, 3), way
        if way == "layers":
            self.two = nn.Linear(4, 4)
            self.two.weight = self.one.weight

    def forward(self, inputs: Tensor) -> Tensor:
        first = torch.tanh(self.one(inputs))
        again = first @ self.one.weight.T if self.way == "bare" else (self.two if self.way == "layers" else self.one)(first)
        return self.last(torch.tanh(again))


@needs_curvlinops
@pytest.mark.parametrize("way", ["layers", "again", "bare"])
def test_tied_weights_are_refused_and_may_be_left_out(way: str) -> None:
    torch.manual_seed(0)
    model, data = Tied(way).double(), drawn(20, classes=True)
    with pytest.raises(ConfigurationError, match=r"^parameter 'one.weight' is used 2 times in a forward pass"):
        audit(model, nn.CrossEntropyLoss(), data, k=2)
    found = audit(model, nn.CrossEntropyLoss(), data, k=2, parameters="last.*")
    assert [(block.name, block.parameters) for block in found.blocks] == [("last", 15)]


@needs_curvlinops
def test_weights_ignored_targets_and_smoothed_labels_are_refused() -> None:
    data = drawn(12, classes=True)
    for options, says in (
        ({"weight": torch.ones(3).double()}, "with weight"),
        ({"label_smoothing": 0.1}, "with label_smoothing 0.1"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            audit(network(), nn.CrossEntropyLoss(**options), data, k=2)
    inputs, targets = data[0]
    shares = nn.functional.one_hot(targets).to(inputs)
    with pytest.raises(ConfigurationError, match="as classes, not as probabilities"):
        audit(network(), nn.CrossEntropyLoss(), [(inputs, shares)], k=2)
    data[0][1][0] = -100
    with pytest.raises(ConfigurationError, match="some are ignored here"):
        audit(network(), nn.CrossEntropyLoss(), data, k=2)
    with pytest.raises(ConfigurationError, match="below the number of parameters, 43"):
        audit(network(), nn.CrossEntropyLoss(), drawn(12, classes=True), k=43)


def test_without_curvlinops_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'orograph\[kfac\]'"):
        audit(network(), nn.CrossEntropyLoss(), drawn(5, classes=True), k=2)


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="kind"):
        audit(network(), nn.CrossEntropyLoss(), drawn(5, classes=True), k=2, kind="shampoo")  # type: ignore[arg-type]
