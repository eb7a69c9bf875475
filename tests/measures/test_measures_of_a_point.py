"""Measures of a point against dense matrices, finite differences and losses where a step leads, none of which they know."""

import math

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from landscapes import classifier, dense_hessians, landscape, quadratic
from orograph.errors import ConfigurationError
from orograph.measures import seconds, take
from orograph.measures.settings import MEASURES, MeasuresSettings
from orograph.objective import Objective


def at_rest() -> Objective:
    """A classifier at a minimum of its penalised loss, where λ_max is simple."""
    objective = classifier().penalised(0.01)
    hessian = og.HessianOperator.of(objective)
    found = og.polish(objective, objective.theta, hessian=hessian, tolerance=1e-8, max_products=5000)
    return objective.moved(found.theta)


@pytest.fixture(scope="module")
def minimum() -> Objective:
    return at_rest()


def whole(objective: Objective, theta: Tensor | None = None) -> Tensor:
    """H of L, dense."""
    return dense_hessians(objective.penalised(0.0), objective.theta if theta is None else theta).mean(0)


@pytest.mark.slow
def test_layers_are_the_blocks_of_the_dense_hessian(minimum: Objective) -> None:
    found, failures = take(["layers"], minimum, minimum.theta)
    hessian, first = whole(minimum), 5 * 6 + 6
    blocks = [hessian[:first, :first], hessian[first:, first:]]
    tops = [torch.linalg.eigvalsh(each)[-1].item() for each in blocks]
    assert (found["block_names"], failures) == ("0, 2", {})
    for value, residual, top in zip(found["block_lambda_max"], found["block_lambda_max_residual"], tops, strict=True):
        assert abs(value - top) <= residual + 1e-9
    assert found["largest_block_share"] == pytest.approx(max(tops) / torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-2)
    square = hessian.square().sum()
    outside = 1 - sum(each.square().sum() for each in blocks) / square
    assert abs(found["off_diagonal_share"] - outside.item()) < 2 * found["off_diagonal_share_margin"]  # 95 % within one
    for value, error, block in zip(found["block_trace"], found["block_trace_error"], blocks, strict=True):
        assert abs(value - block.trace().item()) < 5 * error
    for value, error, block in zip(found["block_effective_rank"], found["block_effective_rank_error"], blocks, strict=True):
        assert abs(value - (block.trace().square() / block.square().sum()).item()) < 5 * error


@pytest.mark.slow
def test_named_groups_are_blocks_of_the_dense_hessian_and_the_sampler_is_the_one_asked_for(minimum: Objective) -> None:
    blocks = {"ends": "0.weight,2.*", "middle": "0.bias"}
    found, failures = take(["layers"], minimum, minimum.theta, blocks=blocks)
    hessian, middle = whole(minimum), slice(30, 36)
    assert (found["block_names"], failures) == ("ends, middle", {})
    top, residual = found["block_lambda_max"][1], found["block_lambda_max_residual"][1]
    assert abs(top - torch.linalg.eigvalsh(hessian[middle, middle])[-1].item()) <= residual + 1e-9
    ways = [take(["llc"], minimum, minimum.theta, sampler=each)[0]["learning_coefficient"] for each in ("sgld", "rmsprop")]
    assert ways[0] != ways[1]
    with pytest.raises(ConfigurationError, match="in block 'ends' and in block 'middle'"):
        take(["layers"], minimum, minimum.theta, blocks={"ends": "0.*", "middle": "0.bias"})


def test_the_rate_of_the_sharpness_is_a_difference_along_the_flow() -> None:
    objective = classifier()  # away from a minimum, where it changes
    found, _ = take(["sharpening"], objective, objective.theta)
    gradient = objective.gradient(objective.theta)
    step = 1e-4
    ends = [torch.linalg.eigvalsh(whole(objective, objective.theta - side * step * gradient))[-1] for side in (1, -1)]
    assert found["sharpening_rate"] == pytest.approx(((ends[0] - ends[1]) / (2 * step)).item(), rel=1e-3)
    assert found["sharpness_gradient_norm"] >= abs(found["sharpening_rate"]) / gradient.norm().item()


def test_sam_and_asymmetry_are_losses_where_steps_lead() -> None:
    objective = classifier()
    found, failures = take(["asymmetry", "sam"], objective, objective.theta)
    theta, gradient = objective.theta, objective.gradient(objective.theta)
    loss = objective.loss(theta)
    rise = objective.loss(theta + 0.05 * gradient / gradient.norm()) - loss
    assert found["sam_rise"] == pytest.approx(rise, rel=1e-9)
    direction = torch.linalg.eigh(whole(objective))[1][:, -1]
    radius = 8e-3 * theta.norm().item()
    plus, minus = (objective.loss(theta + side * radius * direction) for side in (1, -1))
    odd = plus - minus - 2 * radius * (gradient @ direction).item()
    assert found["valley_radius"] == pytest.approx(radius)
    # v₁ is known to 1e-3 of λ_max: the odd part, of third order, to about as much
    assert found["valley_asymmetry"] == pytest.approx(abs(odd / (plus + minus - 2 * loss)), rel=1e-2)
    assert failures == {}


@pytest.mark.slow
def test_of_a_quadratic_the_learning_coefficient_is_its_closed_form() -> None:
    hessian = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64))
    objective = quadratic(hessian, torch.zeros(5, dtype=torch.float64) + 0.3)
    objective = Objective(objective.model, objective.output_losses, [(torch.zeros(40, 1).double(), torch.zeros(40).double())])
    found, failures = take(["llc"], objective, objective.theta)
    assert failures == {}
    nbeta, gamma = 40 / math.log(40), 40 / math.log(40) * 4 / 10
    assert found["coefficient_nbeta"] == pytest.approx(nbeta)
    assert found["coefficient_localisation"] == pytest.approx(gamma, rel=1e-3)
    rates = nbeta * hessian.diagonal()
    exact = (rates / (2 * (rates + gamma))).sum().item()
    assert found["quadratic_coefficient"] == pytest.approx(exact, rel=1e-3)
    assert found["coefficient_rhat"] < 1.05
    away = found["learning_coefficient"] - exact - found["coefficient_step_bias"]
    assert abs(away) < 4 * found["learning_coefficient_error"]


class Two(nn.Module):
    """½ Σ λ w², in two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (
            nn.ParameterList([torch.full((2,), 0.3)]).double(),
            nn.ParameterList([torch.full((3,), 0.2)]).double(),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        one, two = self.one[0], self.two[0]
        return inputs[:, 0] * (2 * (one - 0.3).square().sum() + 0.5 * (two - 0.2).square().sum())


@pytest.mark.slow
def test_of_each_layer_it_is_that_of_its_block_at_the_same_temperature() -> None:
    data = [(torch.ones(40, 1, dtype=torch.float64), torch.zeros(40))]
    objective = Objective(Two(), lambda z, y: z, data)
    found, failures = take(["llc-layers"], objective, objective.theta)
    nbeta = 40 / math.log(40)
    exact = [2 * 4 / (2 * (4 + 0.4)), 3 * 1 / (2 * (1 + 0.4))]  # nβ cancels: γ = nβ · 4/10
    assert (found["block_names"], failures) == ("one, two", {})
    assert found["block_quadratic_coefficient"] == pytest.approx(exact, rel=1e-3)
    assert max(found["block_quadratic_coefficient_error"]) < 1e-3  # signs tell a diagonal's trace exactly
    step = 0.2 / (nbeta * 4.4)
    rates = [nbeta * 4.4, nbeta * 1.4]
    wide = [value / (1 - step * rate / 4) for value, rate in zip(exact, rates, strict=True)]  # what the finite step makes of it
    for value, error, expected in zip(
        found["block_learning_coefficient"], found["block_learning_coefficient_error"], wide, strict=True
    ):
        assert abs(value - expected) < 4 * error
    assert max(found["block_coefficient_rhat"]) < 1.05


def test_the_penalty_is_part_of_the_learning_coefficient_and_of_influence_alone(minimum: Objective) -> None:
    some = [name for name in MEASURES if name not in ("llc", "llc-layers", "influence", "kfac")]
    assert take(some, minimum, minimum.theta) == take(some, minimum.penalised(0.0), minimum.theta)


@pytest.mark.slow
def test_pairs_that_are_known_are_not_computed_again(minimum: Objective) -> None:
    told: list[str] = []
    operator = og.HessianOperator.of(minimum)
    spectrum = og.lanczos(operator, k=3, which="LA", tolerance=1e-6)
    given = {"hessian": operator, "spectrum": spectrum, "on_product": lambda stage, count: told.append(stage)}
    known, _ = take(["sharpening"], minimum, minimum.theta, **given)
    found, _ = take(["sharpening"], minimum, minimum.theta, on_product=lambda stage, count: told.append(stage))
    assert known["sharpness_gradient_norm"] == pytest.approx(found["sharpness_gradient_norm"], rel=1e-2)
    assert set(told) == {"λ_max"}
    lowest = og.lanczos(operator, k=2, which="SA")
    other, _ = take(["sharpening"], minimum, minimum.theta, hessian=operator, spectrum=lowest)
    assert other == found


@pytest.mark.slow
def test_what_a_point_does_not_have_is_said_in_a_sentence() -> None:
    theta = torch.zeros(3, dtype=torch.float64)
    found, failures = take(["all"], landscape(lambda point: (point**2).sum() / 2, theta), theta)
    assert set(failures) == {"sharpening", "sam", "asymmetry", "influence", "kfac"}
    assert "cannot be told apart" in failures["sharpening"]
    assert "no direction" in failures["sam"]
    assert "θ is zero" in failures["asymmetry"]
    assert found["block_lambda_max"] == pytest.approx([1.0])
    two = Objective(nn.Linear(2, 1), nn.MSELoss(), [(torch.eye(2), torch.zeros(2, 1))])
    assert "2 samples" in take(["llc"], two, two.theta)[1]["llc"]
    flat = landscape(lambda point: -(point**2).sum(), theta + 1)
    assert "no curvature" in take(["llc"], flat, flat.theta)[1]["llc"]


def test_names_are_known_and_once_each() -> None:
    def chosen(*names: str) -> tuple[str, ...]:
        return MeasuresSettings(measures=names).measures

    assert chosen("all") == MEASURES
    assert chosen("none") == chosen() == ()
    assert chosen("sam", "layers", "sam") == ("layers", "sam")
    with pytest.raises(ConfigurationError, match="did you mean 'layers'"):
        chosen("layer")
    with pytest.raises(ConfigurationError, match="stands alone"):
        chosen("all", "sam")


@pytest.mark.slow
def test_what_is_asked_for_has_a_price() -> None:
    objective = classifier()
    operator = og.HessianOperator.of(objective)
    assert seconds([], objective, operator) == 0.0
    assert 0 < seconds(["sam"], objective, operator) < seconds(["all"], objective, operator)


@pytest.mark.slow
def test_measure_takes_them_with_its_own_pairs() -> None:
    objective = classifier()
    batch = next(objective.batches(objective.count))
    given = {"k": 3, "probes": 3, "steps": 10, "trace_probes": 4}
    found = og.measure(objective.model, nn.functional.cross_entropy, [batch], measures=["sam", "asymmetry"], **given)
    fields = found.fields()
    expected, _ = take(["sam", "asymmetry"], objective, objective.theta, spectrum=found.spectrum)
    assert {name: fields[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert "failures" not in fields
    with pytest.raises(ConfigurationError, match="unknown measure 'lcl'; did you mean 'llc'"):
        og.measure(objective.model, nn.functional.cross_entropy, [batch], measures=["lcl"], **given)


@pytest.mark.slow
def test_a_scan_is_of_the_sampler_that_is_given(monkeypatch) -> None:
    monkeypatch.setattr("orograph.measures.table.DRAWS", 40)
    monkeypatch.setattr("orograph.measures.table.BURN_IN", 10)
    objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.eye(3), torch.zeros(3, 1))])
    at = objective.moved(torch.zeros(4))
    rows = {name: og.measures.coefficient_scan(at, 8 / 3, sampler=name) for name in ("sgld", "rmsprop")}
    assert [row["nbeta"] for row in rows["sgld"]] == [row["nbeta"] for row in rows["rmsprop"]]
    assert all(one["coefficient"] != other["coefficient"] for one, other in zip(rows["sgld"], rows["rmsprop"], strict=True))
