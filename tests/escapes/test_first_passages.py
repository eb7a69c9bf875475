"""Chains in a double well whose noise is known, against Kramers' problem: its integral, its limit, and the chain's own matrix."""

import double_well as well
import pytest
import torch

from orograph.errors import ConfigurationError
from orograph.escapes import Passages, Rate, descends_across, exponential_rate, first_passages


def passages(seeds: int, *, lr: float, batch_size: int, steps: int, gaussian: bool = False, first: int = 0) -> Passages:
    objective = well.objective(gaussian=gaussian)
    chains = [[3, first + chain] for chain in range(seeds)]
    across = {"threshold": well.q_of(1.0), "rising": True}
    return first_passages(objective, objective.theta, **across, batch_size=batch_size, lr=lr, steps=steps, seeds=chains)


def rate(found: Passages, lr: float) -> Rate:
    return exponential_rate(found.steps.double().numpy() * lr, found.escaped.numpy())


def test_kramers_formula_is_the_limit_of_the_integral() -> None:
    # Its error is of first order in T, here 1.58 T: what the integral has beyond it.
    assert [well.langevin(at) / well.kramers(at) - 1 for at in (0.02, 0.01)] == pytest.approx([1.6 * 0.02, 1.6 * 0.01], rel=0.1)


@pytest.mark.slow  # 2 s
@pytest.mark.parametrize("gaussian", [True, False])
def test_langevin_and_sgd_of_known_noise_escape_as_the_exact_mean_says_and_kramers_to_first_order(gaussian: bool) -> None:
    lr, batch_size = (0.05, 3) if gaussian else (0.1, 6)
    at = well.temperature(lr, batch_size)
    found = rate(passages(64, lr=lr, batch_size=batch_size, steps=3000, gaussian=gaussian), lr)
    assert found.escaped > 30
    exact = well.langevin(at) if gaussian else well.discrete(lr, batch_size)
    assert 1 / found.high < exact < 1 / found.low  # a 95 % interval, of a fixed seed
    assert 1 / found.high < well.kramers(at) * (1 + 1.6 * at) < 1 / found.low
    assert well.discrete(0.1, 6) == pytest.approx(well.langevin(well.temperature(0.1, 6)), rel=0.03)  # steps of that length


@pytest.mark.slow  # each stack is traced
def test_chains_depend_on_their_seeds_alone_and_not_on_their_company() -> None:
    together = passages(6, lr=0.1, batch_size=2, steps=200)
    assert 0 < together.escaped.sum() < 6
    assert (together.steps[~together.escaped] == 200).all()
    for chain in (0, 5):
        alone = passages(1, lr=0.1, batch_size=2, steps=200, first=chain)
        assert torch.equal(alone.steps[0], together.steps[chain])
        assert torch.equal(alone.thetas[0], together.thetas[chain])
    assert ((together.thetas[:, 0] >= 1) == together.escaped).all()


@pytest.mark.slow  # each stack is traced
def test_falling_chains_and_chains_that_diverge() -> None:
    objective = well.objective()
    theta = torch.tensor([1.0]).double()
    given = {"batch_size": 1, "steps": 400, "seeds": [[chain] for chain in range(4)]}
    down = first_passages(objective, theta, threshold=well.q_of(0.0), rising=False, lr=0.1, **given)
    assert down.escaped.all()
    assert (down.thetas[:, 0] <= 0).all()
    wild = first_passages(objective, theta, threshold=1e300, rising=True, lr=3.0, **given)
    assert wild.diverged.all()
    assert not wild.escaped.any()


@pytest.mark.slow  # each stack is traced
def test_descent_without_noise_tells_the_side() -> None:
    objective = well.objective()
    given = {"threshold": well.q_of(0.0), "ends": (well.q_of(-1.0), well.q_of(1.0)), "lr": 0.1}
    found = [descends_across(objective, torch.tensor([x]).double(), steps=200, **given) for x in (-0.1, 0.1, 0.0)]
    assert found == [False, True, None]
    back = {**given, "ends": given["ends"][::-1]}
    assert descends_across(objective, torch.tensor([-0.1]).double(), steps=200, **back) is True


def test_what_cannot_be_is_refused() -> None:
    objective = well.objective()
    with pytest.raises(ConfigurationError, match="not on this side"):
        first_passages(objective, objective.theta, threshold=1.0, rising=True, batch_size=1, lr=0.1, steps=1, seeds=[[0]])
    with pytest.raises(ConfigurationError, match="must be positive"):
        passages(1, lr=0.1, batch_size=0, steps=10)
