"""Every curvature operator on every case against its dense float64 matrix.

The dense matrices come from whole batches, reverse mode and no tracing; the operators trace forward mode chunk by chunk. Both
are exact, so they agree to rounding: 1e-11 relative to the matrix leaves room for the ill-conditioned third powers.
"""

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvature.cases import CASES, Case, Dense
from orograph.curvature.fisher import EmpiricalFisherOperator
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.matrix import CurvatureOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective

OPERATORS = [(HessianOperator, "hessian"), (GaussNewtonOperator, "gauss_newton"), (EmpiricalFisherOperator, "fisher")]
TOLERANCE = 1e-11
slow = pytest.mark.slow
QUICK = {  # the cases that are quick; all others, and all of an operator that is not here, are slow
    "hessian": {"mlp", "linear regression", "batchnorm resnet", "frozen parameters", "relu", "mean only"},
    "gauss_newton": {"mlp", "softmax regression", "two inputs"},
    "fisher": {"mlp", "batchnorm resnet"},
}
# All three share everything but their formula.
KINDS = [pytest.param(kind, name, id=name, marks=[] if name == "hessian" else slow) for kind, name in OPERATORS]
EVERY = [
    pytest.param(case, kind, name, id=f"{case}-{name}", marks=[] if case.name in QUICK.get(name, set()) else slow)
    for case in CASES
    for kind, name in OPERATORS
]


def close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert found.shape == expected.shape
    assert (found - expected).norm() <= tolerance * expected.norm(), float((found - expected).norm() / expected.norm())


def matrix_of(operator: CurvatureOperator) -> Tensor:
    """Column by column."""
    return torch.stack([operator @ unit for unit in torch.eye(operator.size, dtype=operator.dtype)], dim=1)


@functools.cache
def of_case(case: Case, kind: type[CurvatureOperator], **options: object) -> tuple[CurvatureOperator, Dense]:
    model, loss, batches = case.build()
    return kind(model, loss, batches, **options), Dense(case, model, batches)


@pytest.mark.parametrize(("case", "kind", "name"), EVERY)
def test_the_operator_is_the_dense_matrix(case: Case, kind: type[CurvatureOperator], name: str) -> None:
    if case.mean_only and kind is EmpiricalFisherOperator:
        pytest.skip("needs one value per sample")
    operator, dense = of_case(case, kind)
    matrix = getattr(dense, name)(dense.theta)
    assert operator.method == "traced", operator.fallback_reason
    close(matrix_of(operator), matrix)
    close(operator.gradient, dense.gradient(dense.theta))
    assert operator.loss == pytest.approx(float(dense.loss(dense.theta)), rel=1e-12)


@pytest.mark.parametrize(("kind", "name"), KINDS)
@pytest.mark.parametrize("case", [CASES[0], *(pytest.param(CASES[i], marks=slow) for i in (3, 4, 5))], ids=str)
def test_a_new_theta_gives_its_own_matrix_without_a_new_trace(case: Case, kind: type[CurvatureOperator], name: str) -> None:
    operator, dense = of_case(case, kind)
    vector = torch.randn(operator.size, dtype=torch.float64)
    before = operator @ vector
    traces = operator.traces
    theta = dense.theta + 0.3 * torch.randn_like(dense.theta)
    moved = operator.at(theta)
    close(moved @ vector, getattr(dense, name)(theta) @ vector)
    close(moved.gradient, dense.gradient(theta))
    assert torch.equal(operator @ vector, before)  # going back computes the old residuals again
    assert moved.traces == operator.traces == traces


@slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.mean_only], ids=str)
def test_a_small_budget_gives_the_same_product(case: Case) -> None:
    model, loss, batches = case.build()
    large, _ = of_case(case, HessianOperator)
    vector = torch.randn(large.size, dtype=torch.float64)
    work = large._engine.plan.peak_bytes
    some = HessianOperator(model, loss, batches, memory=work)
    none = HessianOperator(model, loss, batches, memory=1)
    assert none._engine.plan.length == 1
    assert none._engine.plan.kept == 0
    close(some @ vector, large @ vector)
    close(none @ vector, large @ vector)
    block = torch.randn(large.size, 3, dtype=torch.float64)
    close(none @ block, large @ block)


@pytest.mark.slow
def test_some_chunks_keep_residuals_and_others_recompute_them() -> None:
    model = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    data = [(torch.randn(997, 30, dtype=torch.float64), torch.randint(0, 3, (997,)))]  # a prime: the last chunk is shorter
    small = HessianOperator(model, F.cross_entropy, data, memory=300_000)
    plan = small._engine.plan
    assert 0 < plan.kept < plan.chunks
    assert plan.kept_bytes + plan.peak_bytes <= 300_000
    assert small.traces == 2
    large = HessianOperator(model, F.cross_entropy, data)
    vector = torch.randn(small.size, dtype=torch.float64)
    close(small @ vector, large @ vector)
    close(small.gradient, large.gradient)
    assert "recomputed" in small.plan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kind"),
    [
        pytest.param(case, kind, id=f"{case}-{name}", marks=[] if case.name == "mlp" else slow)
        for case in CASES
        for kind, name in OPERATORS
        if name == "hessian" or case.name in QUICK.get(name, set())
    ],
)
def test_a_block_is_its_columns(case: Case, kind: type[CurvatureOperator]) -> None:
    operator, _ = of_case(case, kind)
    for width in (1, 2, 9):  # nine: two groups of unequal width
        block = torch.randn(operator.size, width, dtype=torch.float64)
        close(operator @ block, torch.stack([operator @ column for column in block.T], dim=1))


def test_blocks_of_a_fully_connected_network_multiply_shared_inputs_as_wide_matrices() -> None:
    operator, _ = of_case(CASES[0], HessianOperator)
    operator @ torch.randn(operator.size, 4, dtype=torch.float64)
    trace = operator._engine._chunks[0][0]
    single, wide = trace.tangent.run.__self__.graph, trace.block(4)[1].run.__self__.graph  # type: ignore[attr-defined]

    def products(graph: torch.fx.Graph) -> int:
        return sum("mm" in str(node.target) for node in graph.nodes)

    assert products(wide) == products(single)
    assert not any("bmm" in str(node.target) or "clone" in str(node.target) for node in wide.nodes)


def test_the_tangent_graph_has_no_gemm_that_does_not_depend_on_the_tangent() -> None:
    """Counted by hand for three layers: tangents 1 + 2 + 2, deltas 2 + 2, gradients 1 + 2 + 2."""
    operator, _ = of_case(CASES[0], HessianOperator)
    graph = operator._engine._chunks[0][0].tangent.run.__self__.graph  # type: ignore[attr-defined]
    assert sum("mm" in str(node.target) for node in graph.nodes) == 14


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_named_parameters_give_the_principal_block(kind: type[CurvatureOperator], name: str) -> None:
    operator, dense = of_case(CASES[0], kind, parameters="1.*,6.bias")
    full = getattr(dense, name)(dense.theta)
    starts = dict(
        zip(dense.parameters, torch.tensor([0, *(p.numel() for p in dense.parameters.values())]).cumsum(0), strict=False)
    )
    chosen = torch.cat([
        torch.arange(dense.parameters[n].numel()) + starts[n] for n in dense.parameters if n.startswith("1.") or n == "6.bias"
    ])  # fmt: skip
    close(matrix_of(operator), full[chosen][:, chosen])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_class_matrices_weighted_by_size_sum_to_the_whole(kind: type[CurvatureOperator], name: str) -> None:
    model, loss, batches = CASES[2].build()
    targets = torch.cat([targets for _, targets in batches])
    vector = torch.randn(15, dtype=torch.float64)
    total = torch.zeros_like(vector)
    for label in range(3):
        samples = (targets == label).nonzero()[:, 0]
        part = kind(model, loss, batches, samples=samples)
        dense = Dense(CASES[2], model, batches, samples)
        close(part @ vector, getattr(dense, name)(dense.theta) @ vector)
        total += len(samples) / len(targets) * (part @ vector)
    close(total, of_case(CASES[2], kind)[0] @ vector)


def test_a_shifted_operator_stays_one_of_its_kind_wherever_it_moves() -> None:
    plain, _ = of_case(CASES[0], HessianOperator)
    shifted, theta, vector = plain.shifted(0.2).shifted(0.4), plain.theta + 0.1, torch.randn(plain.size, dtype=torch.float64)
    close(shifted.at(theta) @ vector, plain.at(theta) @ vector + 0.6 * vector)
    close(shifted.double().verification @ vector, plain @ vector + 0.6 * vector)
    close(shifted.gradient, plain.gradient)
    assert plain._shift == 0


@pytest.mark.slow
def test_the_deprecated_strength_shifts_by_twice_itself_and_the_anchor_does_nothing() -> None:
    model, loss, batches = CASES[0].build()
    plain, _ = of_case(CASES[0], HessianOperator)
    with pytest.warns(DeprecationWarning, match=r"HessianOperator\(…\)\.shifted\(2 \* strength\)"):
        anchored = HessianOperator(model, loss, batches, strength=0.3, anchor=plain.theta + 1)
    block = torch.randn(plain.size, 3, dtype=torch.float64)
    close(anchored @ block, plain @ block + 0.6 * block)
    close(anchored @ block[:, 0], plain @ block[:, 0] + 0.6 * block[:, 0])
    close(anchored.gradient, plain.gradient)


@pytest.mark.slow
def test_the_deprecated_penalised_shifts_by_twice_the_strength() -> None:
    model, loss, batches = CASES[0].build()
    objective = Objective(model, loss, batches, strength=0.3)
    plain, vector = HessianOperator.of(objective), torch.randn(objective.layout.size, dtype=torch.float64)
    with pytest.warns(DeprecationWarning, match=r"shifted\(2 \* objective\.strength\)"):
        penalised = HessianOperator.of(objective, penalised=True)
    close(penalised @ vector, plain @ vector + 0.6 * vector)


def test_linear_regression_has_twice_the_second_moment_of_its_inputs() -> None:
    model, loss, batches = CASES[1].build()
    inputs = torch.cat([torch.cat([x, torch.ones(len(x), 1)], dim=1) for x, _ in batches])
    for kind in (HessianOperator, GaussNewtonOperator):
        close(matrix_of(kind(model, loss, batches)), 2 * inputs.T @ inputs / len(inputs), 1e-14)


def test_softmax_regression_has_its_textbook_hessian() -> None:
    """Σ_n (diag p − ppᵀ) ⊗ x̃x̃ᵀ / N (Böhning, 1992); label smoothing does not enter."""
    model, loss, batches = CASES[2].build()
    x, _ = batches[0]
    p = model(x).softmax(1).detach()
    spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weights = torch.einsum("nab,ni,nj->aibj", spread, x, x).reshape(12, 12) / len(x)
    operator = HessianOperator(model, loss, batches)
    close(matrix_of(operator)[:12, :12], weights, 1e-13)


@pytest.mark.slow
def test_float32_products_agree_with_their_float64_twin_to_single_precision() -> None:
    model, loss, batches = CASES[0].build()
    batches = [(x.float().double(), y) for x, y in batches]
    operator = HessianOperator(model.float(), loss, batches, dtype=torch.float32)
    twin = operator.double()
    assert (operator.dtype, twin.dtype) == (torch.float32, torch.float64)
    vector = torch.randn(operator.size)
    truth = twin @ vector.double()
    relative = (truth - (operator @ vector).double()).norm() / truth.norm()
    assert 0 < relative < 1e-5
    dense = Dense(CASES[0], model.double(), batches)
    close(twin @ vector.double(), dense.hessian(dense.theta) @ vector.double())
    assert twin.double() is twin


@pytest.mark.slow
def test_fast_products_can_be_verified_in_full_precision() -> None:
    model, loss, batches = CASES[0].build()
    operator = HessianOperator(model.float(), loss, batches, dtype=torch.float32, precision="fast")
    before = torch.get_float32_matmul_precision()
    vector = torch.randn(operator.size)
    high = HessianOperator(model, loss, batches, dtype=torch.float32) @ vector
    # BF16 keeps 8 bits; without such hardware the products are the same.
    assert (operator @ vector - high).norm() <= 0.05 * high.norm()
    assert torch.equal(operator.verification @ vector, high)
    assert torch.get_float32_matmul_precision() == before


def test_wrong_shapes_are_refused() -> None:
    operator, _ = of_case(CASES[0], HessianOperator)
    with pytest.raises(ConfigurationError, match="shape"):
        operator.at(torch.zeros(3))
    with pytest.raises(ConfigurationError, match="samples"):
        of_case(CASES[0], HessianOperator, samples=torch.tensor([99]))
    with pytest.raises(ConfigurationError, match="only a mean"):
        of_case(CASES[-1], EmpiricalFisherOperator)
