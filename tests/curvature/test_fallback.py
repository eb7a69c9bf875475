"""Models that cannot be traced, or trace wrongly, against dense float64 Hessians made by double backward on whole batches."""

import fnmatch

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvature.cases import CASES, Batches, Case, Dense, features, labels
from orograph.curvature import engine, known
from orograph.curvature.cohort import CohortHessian
from orograph.curvature.fisher import EmpiricalFisherOperator
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.objective import Objective


class Branching(nn.Module):
    """Asks for the value of a tensor, which a tracer does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return torch.sin(z) if self.layer.weight.sum() > -100 else z


class OnlyBackward(torch.autograd.Function):
    """x³ with a backward and no forward mode."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * grad


class WrongForward(OnlyBackward):
    """x³ with a forward mode that is wrong."""

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] ** 2 * tangent


class Cubic(nn.Module):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(self.layer(x))


def data() -> Batches:
    return [(features(n, 4), labels(n, 3)) for n in (6, 5)]


FALLBACKS = [
    (Case("branching", lambda: (Branching(), F.cross_entropy, data())), "forward-over-reverse"),
    (Case("no forward mode", lambda: (Cubic(OnlyBackward), F.cross_entropy, data())), "double-backward"),
    (Case("wrong forward mode", lambda: (Cubic(WrongForward), F.cross_entropy, data())), "double-backward"),
]


@pytest.mark.parametrize(("case", "method"), FALLBACKS, ids=str)
@pytest.mark.parametrize(
    ("kind", "name"), [(HessianOperator, "hessian"), (GaussNewtonOperator, "gauss_newton"), (EmpiricalFisherOperator, "fisher")]
)
def test_the_fallback_is_exact_and_says_so(case: Case, method: str, kind: type[HessianOperator], name: str) -> None:
    model, loss, batches = case.build()
    operator = kind(model, loss, batches)
    dense = Dense(case, model, batches)
    assert operator.method == method
    assert operator.fallback_reason
    assert method in operator.plan
    block = torch.randn(operator.size, 2, dtype=torch.float64)
    matrix = getattr(dense, name)(dense.theta)
    torch.testing.assert_close(operator @ block, matrix @ block, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(operator @ block[:, 0], matrix @ block[:, 0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(operator.gradient, dense.gradient(dense.theta), rtol=1e-10, atol=1e-13)
    assert operator.loss == pytest.approx(float(dense.loss(dense.theta)), rel=1e-12)
    theta = dense.theta + 0.1
    torch.testing.assert_close(operator.at(theta) @ block, getattr(dense, name)(theta) @ block, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("case", "method"), FALLBACKS, ids=str)
def test_a_cohort_falls_back_model_by_model(case: Case, method: str) -> None:
    model, loss, batches = case.build()
    objective = Objective(model, loss, batches)
    thetas = objective.theta + 0.3 * torch.randn(2, objective.layout.size, dtype=torch.float64)
    cohort = CohortHessian(objective, thetas)
    dense = Dense(case, model, batches)
    vectors = torch.randn_like(thetas)
    assert cohort.method == method
    expected = torch.stack([dense.hessian(theta) @ vector for theta, vector in zip(thetas, vectors, strict=True)])
    torch.testing.assert_close(cohort @ vectors, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(cohort.gradients, torch.stack([dense.gradient(theta) for theta in thetas]), rtol=1e-10, atol=1e-12)


def test_a_model_that_traces_gives_no_reason() -> None:
    model, loss, batches = CASES[1].build()
    operator = HessianOperator(model, loss, batches)
    assert (operator.method, operator.fallback_reason) == ("traced", "")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["0.*", "*weight"])
def test_a_network_with_batchnorm_of_which_a_part_is_differentiated_traces(chosen: str) -> None:
    """Forward mode takes the tangents that are left out for zeros without storage, which torch cannot fake."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.Flatten(), nn.Linear(48, 4)).double().eval()
    batches = [(torch.randn(5, 1, 6, 6).double(), torch.randint(0, 4, (5,)))]
    whole = HessianOperator(net, F.cross_entropy, batches)
    part = HessianOperator(net, F.cross_entropy, batches, parameters=chosen)
    named = net.named_parameters()
    taken = torch.cat([torch.full((value.numel(),), fnmatch.fnmatch(name, chosen)) for name, value in named])
    vector = torch.zeros(whole.size).double()
    vector[taken] = torch.randn(part.size).double()
    torch.testing.assert_close(part @ vector[taken], (whole @ vector)[taken], rtol=1e-10, atol=1e-13)
    assert part.method == "traced", part.fallback_reason


class Flagged(nn.Module):
    """Branches by what stands beside the tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, kind: str | bool | float) -> Tensor:
        return self.b(self.a(x).tanh() if kind in ("tanh", True, 1.5) else 2 * self.a(x).sin())


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("tanh", "sin"), (True, False), (1.5, 2.5), ("sin", "tanh", "sin")])
def test_batches_alike_in_shape_and_unlike_in_a_flag_have_graphs_of_their_own(kinds: tuple[str | bool | float, ...]) -> None:
    torch.manual_seed(0)
    model = Flagged().double()
    batches = [((torch.randn(4, 4).double(), kind), torch.randint(3, (4,))) for kind in kinds]
    operator = HessianOperator(model, F.cross_entropy, batches)
    names = [name for name, _ in model.named_parameters()]

    def loss(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=True))
        parts = [F.cross_entropy(torch.func.functional_call(model, given, inputs), targets) for inputs, targets in batches]
        return torch.stack(parts).mean()

    blocks = torch.autograd.functional.hessian(loss, tuple(model.parameters()))
    sizes = [p.numel() for p in model.parameters()]
    truth = torch.cat(
        [
            torch.cat([part.reshape(i, j) for part, j in zip(row, sizes, strict=True)], 1)
            for row, i in zip(blocks, sizes, strict=True)
        ]
    )
    found = operator @ torch.eye(operator.size, dtype=torch.float64)
    assert operator.method == "traced"
    assert (found - truth).norm() <= 1e-10 * truth.norm()


@pytest.mark.slow
def test_every_graph_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(trace: object, *rest: object, **given: object) -> None:
        seen.append(id(trace))

    known.clear()
    for module in (engine, known):
        monkeypatch.setattr(module, "check_product", counted)
    lengths = (5, 3, 4, 3, 5)  # the last one's graph is the first one's, others lie between
    batches = [(torch.randn(length, 4), torch.randint(3, (length,))) for length in lengths]

    def mean(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    operator = HessianOperator(nn.Linear(4, 3), mean, batches)
    assert operator.method == "traced"
    assert len(seen) == len(set(seen)) == 3


class Waves(nn.Module):
    """Weights of complex numbers, kept as pairs of real ones, at an odd place of θ and in a θ of odd length."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.w, self.b = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3, 2)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.w) * self.a, n=4).tanh())


@pytest.mark.slow
def test_complex_numbers_may_begin_at_an_odd_place() -> None:
    torch.manual_seed(0)
    model = Waves().double()
    inputs, targets = torch.randn(6, 4).double(), torch.randint(2, (6,))
    operator = HessianOperator(model, F.cross_entropy, [(inputs, targets)])
    assert operator.size % 2 == 1
    identity = torch.eye(operator.size, dtype=torch.float64)
    block, rows = operator @ identity, torch.stack([operator @ row for row in identity], 1)  # every other row begins oddly
    objective, step = Objective(model, F.cross_entropy, [(inputs, targets)]), 1e-5
    differences = torch.stack(
        [
            (objective.gradient(operator.theta + step * e) - objective.gradient(operator.theta - step * e)) / (2 * step)
            for e in identity
        ]
    )
    assert (block - rows).norm() <= 1e-12 * rows.norm()
    assert (rows - differences).norm() <= 1e-8 * rows.norm()  # step² and rounding over step are near 1e-10
