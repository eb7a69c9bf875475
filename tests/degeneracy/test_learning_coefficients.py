"""Learning coefficients against closed forms: quadratics, normal crossings by quadrature, and autoregressions for the mixing."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

import orograph as og
from orograph.degeneracy import effective_size, langevin, scan_learning_coefficient, split_rhat
from orograph.degeneracy.coefficient import mean_of
from orograph.errors import ConfigurationError, DataError

ONE = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1))]


class Quadratic(nn.Module):
    """½ Σ λ_i w_i², whatever the input."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros_like(values))
        self.register_buffer("values", values)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, 0] * 0.5 * (self.values * self.w.square()).sum()


class Crossing(nn.Module):
    """w₁^{2a} w₂^{2b}."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.a, self.b = a, b

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, 0] * self.w[0] ** (2 * self.a) * self.w[1] ** (2 * self.b)


class Noisy(nn.Module):
    """Draws in eval mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) + torch.randn(len(inputs), 1)


def objective(model: nn.Module) -> og.Objective:
    return og.Objective(model, lambda z, y: z, ONE)


VALUES = torch.tensor([10.0, 3.0, 1.0, 0.1, 0.0], dtype=torch.float64)


@pytest.mark.slow
def test_a_quadratics_number_is_the_closed_form_of_its_chain() -> None:
    found = og.local_learning_coefficient(
        objective(Quadratic(VALUES)), nbeta=50.0, localisation=5.0, draws=8000, batch_size=None, seed=1
    )
    exact = (50 * VALUES / (2 * (50 * VALUES + 5))).sum().item()
    assert found.quadratic.value == pytest.approx(exact, abs=1e-9)  # signs tell a diagonal's trace exactly
    rate = 50 * VALUES + 5
    assert found.step_bias == pytest.approx((50 * VALUES / (2 * rate * (1 - found.step * rate / 4))).sum().item() - exact)
    assert found.mixed
    assert abs(found.singularity.value - found.step_bias) < 4 * found.singularity.error


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sgld", "rmsprop"])
def test_with_metropolis_test_the_step_does_nothing(sampler: str) -> None:
    found = og.local_learning_coefficient(
        objective(Quadratic(VALUES)),
        nbeta=50.0,
        localisation=5.0,
        step=0.8 / 505,  # without the test 25 % too wide in the sharpest direction
        draws=8000,
        batch_size=None,
        metropolis=True,
        sampler=sampler,  # type: ignore[arg-type]
    )
    assert 0.3 < found.chains.acceptance < 1
    assert abs(found.singularity.value) < 4 * found.singularity.error
    assert found.step_bias == 0


@pytest.mark.slow
def test_stated_intervals_hold_the_truth_of_quadratics_over_100_seeds() -> None:
    given = {"nbeta": 50.0, "localisation": 5.0, "step": 0.8 / 505, "batch_size": None, "metropolis": True}
    problem, exact = objective(Quadratic(VALUES)), (50 * VALUES / (2 * (50 * VALUES + 5))).sum().item()
    # every chain has a stream of its own: 400 at once are 100 times four
    walked = langevin(problem, problem.theta, **given, chains=400, draws=800, burn_in=300)
    found = [mean_of(50.0 * four) for four in walked.differences.reshape(100, 4, 800)]
    held = sum(abs(each.value - exact) <= each.margin for each in found)
    assert held >= 87  # of 95 % intervals; fewer once in 1,000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b"), [(1, 1), pytest.param(1, 2, marks=pytest.mark.slow), pytest.param(2, 2, marks=pytest.mark.slow)]
)
def test_a_normal_crossings_number_is_that_of_quadrature(a: int, b: int) -> None:
    nbeta, localisation = 300.0, 1.0
    found = og.local_learning_coefficient(
        objective(Crossing(a, b)),
        nbeta=nbeta,
        localisation=localisation,
        step=0.005,
        chains=16,
        draws=6000,
        batch_size=None,
        metropolis=True,
    )

    def weight(v: float, u: float) -> float:
        return math.exp(-nbeta * u ** (2 * a) * v ** (2 * b) - localisation / 2 * (u * u + v * v))

    def moment(v: float, u: float) -> float:
        return nbeta * u ** (2 * a) * v ** (2 * b) * weight(v, u)

    truth = integrate.dblquad(moment, 0, 6, 0, 6)[0] / integrate.dblquad(weight, 0, 6, 0, 6)[0]
    assert found.quadratic.value == 0  # flat at the crossing: all of it is singular
    assert abs(found.estimate.value - truth) < 4 * found.estimate.error
    assert abs(truth - 1 / (2 * max(a, b))) < 0.2  # the limit, from which a crossing of equal powers is 1/log(nβ) away


class Factors(nn.Module):
    """A product of matrices, of rank r and with singular values 1 there."""

    def __init__(self, widths: tuple[int, ...], rank: int) -> None:
        super().__init__()
        matrices = [torch.zeros(b, a, dtype=torch.float64) for a, b in itertools.pairwise(widths)]
        for matrix in matrices:
            matrix.diagonal()[:rank] = 1.0
        self.factors = nn.ParameterList(matrices)

    def forward(self, inputs: Tensor) -> Tensor:
        for matrix in self.factors:
            inputs = inputs @ matrix.T
        return inputs


def at_temperature(widths: tuple[int, ...], rank: int, nbeta: float, localisation: float) -> tuple[float, float]:
    """E[nβL] of Gaussian factors around those of `Factors`, with its error: the last one integrated out in closed form.

    Its rows are Gaussian given the product A of the others: with ρ = nβ/γ, S = (1 + ρAᵀA)⁻¹ and d what A misses of a row of the
    target, log Z = −½ log det S⁻¹ − ½nβ dSdᵀ, and E[nβL] = ½nβ‖dS‖² + ½ tr(1 − S).
    """
    random, draws = np.random.default_rng(0), 60_000
    centres = [each.detach().numpy() for each in Factors(widths, rank).factors]
    product = np.broadcast_to(np.eye(widths[0]), (draws, widths[0], widths[0]))
    for centre in centres[:-1]:
        product = (centre + random.normal(size=(draws, *centre.shape)) / math.sqrt(localisation)) @ product
    inverse = np.eye(widths[0]) + nbeta / localisation * np.swapaxes(product, 1, 2) @ product
    held = np.linalg.inv(inverse)
    missed = np.linalg.multi_dot([np.eye(widths[-1]), *centres[::-1]]) - centres[-1] @ product
    quadratic = nbeta * np.einsum("snm,smk,snk->s", missed, held, missed)
    logarithm = -widths[-1] / 2 * np.linalg.slogdet(inverse)[1] - quadratic / 2
    values = nbeta / 2 * np.square(missed @ held).sum((1, 2)) + widths[-1] / 2 * (widths[0] - np.trace(held, axis1=1, axis2=2))
    weights = np.exp(logarithm - logarithm.max())
    weights /= weights.sum()
    mean = float(weights @ values)
    return mean, float(np.sqrt(np.square(weights) @ np.square(values - mean)))


def of_reduced_rank(inputs: int, hidden: int, outputs: int, rank: int) -> float:
    """The learning coefficient of Aoyagi & Watanabe (2005), theorem 1."""
    if inputs + hidden < outputs + rank:
        return (hidden * inputs - hidden * rank + outputs * rank) / 2
    if outputs + hidden < inputs + rank:
        return (hidden * outputs - hidden * rank + inputs * rank) / 2
    if inputs + outputs < hidden + rank:
        return inputs * outputs / 2
    both = hidden + rank
    whole = -(both**2) - inputs**2 - outputs**2 + 2 * both * (inputs + outputs) + 2 * inputs * outputs
    return (whole + (inputs + both + outputs) % 2) / 8


TWO = [(3, 2, 3), (4, 2, 3), (2, 1, 4), (2, 3, 2), (5, 2, 3), (3, 3, 3), (2, 2, 5)]
THREE = [(2, 2, 2, 2), (3, 2, 2, 3), (2, 3, 3, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("widths", [TWO[0], *(pytest.param(each, marks=pytest.mark.slow) for each in (*TWO[1:], *THREE))])
@pytest.mark.parametrize("rank", [0, 1])
def test_reduced_rank_regressions_and_deep_linear_networks_have_the_numbers_of_an_independent_integral(
    widths: tuple[int, ...], rank: int
) -> None:
    width = widths[0]
    data = [(width**0.5 * torch.eye(width, dtype=torch.float64), width**0.5 * torch.eye(width, widths[-1], dtype=torch.float64))]
    data[0][1][:, rank:] = 0  # whitened inputs, the target's first `rank` entries
    problem = og.Objective(Factors(widths, rank), lambda z, y: (z - y).square().sum(1) / 2, data)
    given = {"nbeta": 500.0, "localisation": 20.0, "step": 0.3 / (500 * rank * len(widths) + 100), "metropolis": True}
    walked = langevin(problem, problem.theta, **given, chains=512, draws=250, burn_in=500, batch_size=None)
    found, (truth, error) = mean_of(500 * walked.differences), at_temperature(widths, rank, 500.0, 20.0)
    assert abs(found.value - truth) < 3 * math.hypot(found.error, error)


@pytest.mark.parametrize(("widths", "rank"), [((3, 2, 3), 0), ((5, 2, 3), 0), ((2, 1, 4), 0), ((2, 3, 2), 1), ((4, 2, 3), 1)])
def test_the_numbers_go_to_the_published_coefficients_as_it_gets_colder(widths: tuple[int, int, int], rank: int) -> None:
    published = of_reduced_rank(*widths, rank)
    warm, cold = (at_temperature(widths, rank, nbeta, 10.0) for nbeta in (1e2, 1e4))
    assert abs(cold[0] - published) < 0.5 * abs(warm[0] - published)
    assert abs(cold[0] - published) < 0.08 * published + 3 * cold[1]


@pytest.mark.slow
def test_mini_batches_with_control_variates_do_not_heat_a_chain() -> None:
    # Linear regression with noise in its targets: at the minimum the slopes of batches differ, and less so their differences.
    torch.manual_seed(0)
    x, y = torch.randn(400, 3, dtype=torch.float64), torch.randn(400, 1, dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    problem = og.Objective(model, nn.MSELoss(), [(x, y)])
    theta = torch.linalg.lstsq(x, y).solution[:, 0]
    found = og.local_learning_coefficient(problem, theta, nbeta=200.0, localisation=10.0, batch_size=20, draws=4000)
    hessian = torch.linalg.eigvalsh(2 * x.T @ x / 400)
    assert found.quadratic.value == pytest.approx((200 * hessian / (2 * (200 * hessian + 10))).sum().item(), rel=0.05)
    assert abs(found.singularity.value - found.step_bias) < 4 * found.singularity.error + 0.02 * found.estimate.value
    # 0.02: what is left, of variance (H_b − H)(w − θ), ε/4 · 200 · 3·λ²/20 relative to λ of Gaussian inputs


def test_chains_are_functions_of_their_seeds_and_leave_the_module_alone() -> None:
    problem = objective(Quadratic(VALUES))
    given = {"nbeta": 5.0, "localisation": 1.0, "step": 0.01, "draws": 20, "burn_in": 5, "batch_size": None}
    before = problem.theta.clone()
    first, second = (langevin(problem, problem.theta, **given) for _ in range(2))
    assert np.array_equal(first.differences, second.differences)
    assert not np.array_equal(first.differences, langevin(problem, problem.theta, **given, seed=1).differences)
    assert torch.equal(problem.theta, before)
    assert torch.equal(problem.model.w.detach(), before)


def test_effective_sizes_of_autoregressions_are_the_closed_form() -> None:
    random = np.random.default_rng(0)
    for rho in (0.0, 0.5, 0.9):
        draws, noise = np.zeros((8, 20000)), random.normal(size=(8, 20000))
        draws[:, 0] = noise[:, 0] / math.sqrt(1 - rho**2)
        for step in range(1, 20000):
            draws[:, step] = rho * draws[:, step - 1] + noise[:, step]
        assert effective_size(draws) / draws.size == pytest.approx((1 - rho) / (1 + rho), rel=0.12)  # 1/√ of the size, thrice
        assert split_rhat(draws) < 1.01
    assert split_rhat(draws + np.arange(8)[:, None] * 3) > 1.5
    assert math.isnan(split_rhat(np.ones((2, 10))))


@pytest.mark.slow
def test_a_scan_shows_every_cell_even_where_chains_diverge() -> None:
    rows = scan_learning_coefficient(
        objective(Quadratic(VALUES)), nbetas=[10.0, 100.0], steps=[0.01, 5.0], localisation=5.0, draws=200, batch_size=None
    )
    assert [row["nbeta"] for row in rows] == [10.0, 10.0, 100.0, 100.0]
    assert [math.isnan(row["coefficient"]) for row in rows] == [False, True, False, True]


@pytest.mark.slow
def test_the_virial_of_a_quadratics_chain_is_the_closed_form_up_to_where_it_diverges() -> None:
    given = {"nbeta": 50.0, "localisation": 5.0, "draws": 1200, "burn_in": 300, "batch_size": None, "chains": 16}
    problem, rate = objective(Quadratic(VALUES)), 50 * VALUES + 5
    for stiffness in (0.4, 2.0, 3.6):  # εA of the sharpest direction; at 3.6 ten times as wide as its law
        step = stiffness / 505
        found = langevin(problem, problem.theta, **given, step=step).virials
        exact = (1 / (1 - step * rate / 4)).sum().item()
        assert abs(found.mean().item() - exact) < 5 * found.std().item() / 4
    with pytest.raises(DataError, match="give a smaller `step`"):
        langevin(problem, problem.theta, **given, step=4.05 / 505)  # by 2.5 % a step, 1e16 after all, and finite


@pytest.mark.slow
def test_chains_that_blow_up_but_stay_finite_are_no_numbers() -> None:
    saddle = objective(Quadratic(torch.tensor([1.0, -1.0], dtype=torch.float64)))
    given = {"nbeta": 100.0, "localisation": 5.0, "batch_size": None}
    with pytest.raises(
        DataError, match=r"a chain diverged: .* is -\d.*, and 2 at its law; the loss falls away from θ; give a min"
    ):
        og.local_learning_coefficient(saddle, **given, step=1e-3, draws=400, burn_in=200)
    rows = scan_learning_coefficient(
        objective(Quadratic(torch.ones(2, dtype=torch.float64))),
        nbetas=[10.0],
        steps=[0.1, 100.0],
        localisation=5.0,
        batch_size=None,
        draws=40,
        burn_in=20,
    )
    assert [math.isnan(row["coefficient"]) for row in rows] == [False, True]  # 150 times as far a step: 1e130 after all


def test_a_saddle_has_no_quadratic_number() -> None:
    values = torch.tensor([3.0, -1.0], dtype=torch.float64)
    found = og.local_learning_coefficient(
        objective(Quadratic(values)), nbeta=10.0, localisation=1.0, step=1e-4, draws=20, burn_in=0, batch_size=None
    )
    assert math.isnan(found.quadratic.value)
    assert math.isnan(found.singularity.value)


def test_what_cannot_be_sampled_is_refused() -> None:
    problem = objective(Quadratic(VALUES))
    with pytest.raises(ConfigurationError, match="give `nbeta`"):
        og.local_learning_coefficient(problem)
    given = {"nbeta": 5.0, "localisation": 1.0, "batch_size": None}
    with pytest.raises(ConfigurationError, match="`step` 0"):
        langevin(problem, problem.theta, **given, step=0.0)
    with pytest.raises(DataError, match="smaller `step`"):
        langevin(problem, problem.theta, **given, step=1.0, draws=500)
    torch.manual_seed(0)
    many = og.Objective(nn.Linear(2, 2), nn.CrossEntropyLoss(), [(torch.randn(9, 2), torch.arange(9) % 2)])
    with pytest.raises(ConfigurationError, match="all 9 samples"):
        langevin(many, many.theta, nbeta=5.0, localisation=1.0, step=0.01, batch_size=3, metropolis=True)
    noisy = og.Objective(Noisy(), nn.CrossEntropyLoss(), [(torch.randn(9, 2), torch.arange(9) % 2)])
    with pytest.raises(ConfigurationError, match="two outputs for the same input in eval mode"):
        langevin(noisy, noisy.theta, nbeta=5.0, localisation=1.0, step=0.01, batch_size=3)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sgld", "rmsprop"])
def test_of_some_parameters_alone_it_is_the_number_of_their_block(sampler: str) -> None:
    places = torch.tensor([0, 2, 3])
    found = og.local_learning_coefficient(
        objective(Quadratic(VALUES)),
        nbeta=50.0,
        localisation=5.0,
        step=0.8 / 505,
        draws=8000,
        batch_size=None,
        metropolis=True,
        sampler=sampler,  # type: ignore[arg-type]
        parameters=places,
    )
    exact = (50 * VALUES[places] / (2 * (50 * VALUES[places] + 5))).sum().item()
    assert found.quadratic.value == pytest.approx(exact, abs=1e-9)
    assert abs(found.singularity.value) < 4 * found.singularity.error
    moved = found.chains.final.ne(0).any(0)
    assert moved.nonzero()[:, 0].tolist() == places.tolist()  # the others stay where they were, bit for bit


class Folded(nn.Module):
    """x(w − m)/√(v + ε) and so on: what BatchNorm computes in eval mode, written out."""

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(each.detach().clone()) for each in (norm.weight, norm.bias))
        self.register_buffer("mean", norm.running_mean.clone())
        self.register_buffer("scale", (norm.running_var + norm.eps).rsqrt())

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) * self.scale * self.weight + self.bias


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 8])
def test_statistics_stand_and_dropout_is_off_as_in_the_hessian(batch_size: int | None) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(24, 3, dtype=torch.float64), torch.randint(0, 3, (24,))
    first, norm, last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
    normed = nn.Sequential(first, norm, nn.Tanh(), nn.Dropout(0.5), last).double()
    normed(x)  # moves the statistics
    plain = nn.Sequential(first, Folded(norm), nn.Tanh(), nn.Identity(), last)
    before = {name: each.clone() for name, each in normed.state_dict().items()}
    given = {"nbeta": 5.0, "localisation": 5.0, "step": 0.02, "draws": 30, "burn_in": 5, "batch_size": batch_size}
    found, truth = (
        langevin(problem, problem.theta, **given)
        for problem in (og.Objective(model, nn.CrossEntropyLoss(), [(x, y)]) for model in (normed, plain))
    )
    np.testing.assert_allclose(found.differences, truth.differences, rtol=1e-9, atol=1e-12)  # the rounding of another order
    assert all(torch.equal(each, before[name]) for name, each in normed.state_dict().items())


@pytest.mark.slow
def test_parameters_are_named_by_globs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double()
    problem = og.Objective(model, nn.CrossEntropyLoss(), [(torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 2)])
    given = {"nbeta": 5.0, "localisation": 5.0, "step": 0.01, "draws": 20, "burn_in": 0, "batch_size": None}
    by_name = og.local_learning_coefficient(problem, **given, parameters="1.weight, 1.bias")
    by_place = og.local_learning_coefficient(problem, **given, parameters=torch.arange(8, 14))
    assert np.array_equal(by_name.chains.differences, by_place.chains.differences)
    assert by_name.quadratic == by_place.quadratic
    with pytest.raises(ConfigurationError, match="unknown parameter pattern '2"):
        og.local_learning_coefficient(problem, **given, parameters="2.*")
    with pytest.raises(ConfigurationError, match="between 0 and 13"):
        langevin(problem, problem.theta, nbeta=5.0, localisation=1.0, step=0.01, places=torch.tensor([14]))
