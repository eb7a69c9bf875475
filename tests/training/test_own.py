"""Training by functions and optimisers of one's own, against closed forms and against the same steps by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orograph.errors import ConfigurationError, DataError
from orograph.objective import Objective
from orograph.training import TrainingSettings, train_own
from orograph.training.own import by_optimizer, try_optimizer

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.1 * X[:, :1].square()


def ridge(strength: float, anchor: Tensor) -> Tensor:
    """The minimum of mean (Xθ − y)² + λ‖θ − θ_ref‖²."""
    return torch.linalg.solve(X.T @ X / 40 + strength * torch.eye(3, dtype=torch.float64), X.T @ Y[:, 0] / 40 + strength * anchor)


def objective(strength: float = 0.0, anchor: Tensor | None = None, **given: str) -> Objective:
    model = nn.Linear(3, 1, bias=False).double()
    return Objective(model, nn.MSELoss(), [(X, Y)], **given).penalised(strength, anchor)  # type: ignore[arg-type]


def newton(model: nn.Module, penalty: Callable[[nn.Module], Tensor], start: dict[str, Tensor], seed: int, report: object) -> None:
    """One step to the minimum of a quadratic, by the gradient and Hessian of loss and penalty as they are given."""
    weight = next(model.parameters())

    def value(given: Tensor) -> Tensor:
        holder = nn.Linear(3, 1, bias=False).double()
        holder.weight = nn.Parameter(given)
        return (X @ given.T - Y).square().mean() + penalty_of(given)

    def penalty_of(given: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(_Penalty(model, penalty), {"model.weight": given}, ())
        return found

    gradient = torch.autograd.functional.jacobian(value, weight.detach()).flatten()
    hessian = torch.autograd.functional.hessian(value, weight.detach()).view(3, 3)
    with torch.no_grad():
        weight -= torch.linalg.solve(hessian, gradient).view_as(weight)


class _Penalty(nn.Module):
    def __init__(self, model: nn.Module, penalty: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.model, self._penalty = model, penalty

    def forward(self) -> Tensor:
        return self._penalty(self.model)


@pytest.mark.parametrize("anchor", [None, torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)])
@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_penalty_is_that_of_the_objective(strength: float, anchor: Tensor | None) -> None:
    given = objective(strength, anchor)
    before = given.theta.clone()
    found = train_own(given, torch.zeros(3, dtype=torch.float64), newton, seed=0)
    right = ridge(strength, torch.zeros(3, dtype=torch.float64) if anchor is None else anchor)
    torch.testing.assert_close(found.theta, right, rtol=1e-10, atol=1e-10)
    assert torch.equal(next(given.model.parameters()).detach().flatten(), before)  # the user's module is left alone


def test_a_class_of_optimisers_goes_to_the_minimum() -> None:
    given = objective(0.3)
    settings = TrainingSettings(lr=0.1, epochs=60, batch_size=40, patience=60)
    found = train_own(given, given.theta, by_optimizer(given, settings, torch.optim.SGD), seed=0)
    right = ridge(0.3, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(found.theta, right, rtol=1e-4, atol=1e-4)  # linear convergence over 60 steps
    values = [each["objective"] for each in found.history]
    assert values == sorted(values, reverse=True)


def test_random_numbers_begin_at_the_seed_and_the_streams_are_left_alone() -> None:
    def noisy(model: nn.Module, penalty: object, start: object, seed: int, report: Callable[[int, float], None]) -> None:
        with torch.no_grad():
            next(model.parameters()).normal_()
        report(1, 0.5)

    given, before = objective(), torch.get_rng_state()
    one, same, other = (train_own(given, given.theta, noisy, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.theta, same.theta)
    assert not torch.equal(one.theta, other.theta)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.history == [{"epoch": 1, "loss": 0.5, "objective": 0.5}]
    assert (one.epochs, one.stopped, one.failed_epoch) == (1, "own", None)


def test_what_does_not_belong_to_theta_must_stay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()
    given = Objective(model, nn.MSELoss(), [(X, Y)], parameters="1.*")

    def everything(model: nn.Module, *rest: object) -> None:
        with torch.no_grad():
            for each in model.parameters():
                each.zero_()

    with pytest.raises(ConfigurationError, match=r"moved '0.weight', which does not belong to θ"):
        train_own(given, given.theta, everything, seed=0)


def test_a_training_that_fails_or_diverges_says_so() -> None:
    def fails(*rest: object) -> None:
        raise RuntimeError("no more")

    def diverges(model: nn.Module, *rest: object) -> None:
        with torch.no_grad():
            next(model.parameters()).fill_(torch.inf)

    given = objective()
    with pytest.raises(DataError, match="`train` failed with RuntimeError: no more"):
        train_own(given, given.theta, fails, seed=0)
    assert train_own(given, given.theta, diverges, seed=0).stopped == "failed"


class _NoSteps:
    def __init__(self, parameters: object, lr: float) -> None: ...


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (torch.optim.LBFGS, r"cannot step \(TypeError: .*closure.*\); name an optimiser whose step\(\) needs no closure"),
        (torch.optim.SparseAdam, r"cannot step \(RuntimeError: .*dense gradients.*\); name an optimiser whose step\(\)"),
        (_NoSteps, "makes _NoSteps, which has no zero_grad"),
        (lambda parameters: torch.optim.SGD(parameters), "cannot be made of parameters and `lr`: .*'lr'"),
    ],
)
def test_what_is_no_optimiser_is_told_by_one_step(make: Callable[..., object], told: str) -> None:
    given, settings = objective(0.3), TrainingSettings(lr=0.1, epochs=1, batch_size=40)
    with pytest.raises(ConfigurationError, match=f"`optimizer` Adam {told}"):
        try_optimizer(given, settings, make)
    with pytest.raises(ConfigurationError, match=f"`optimizer` Adam {told}"):  # not `train`, which nobody gave
        train_own(given, given.theta, by_optimizer(given, settings, make), seed=0)


def test_an_optimiser_is_tried_on_a_copy() -> None:
    def noisy(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        with torch.no_grad():
            for each in parameters:
                each += torch.randn_like(each)
        return torch.optim.SGD(parameters, lr=lr)

    given = objective(0.3)
    theta, stream = given.theta.clone(), torch.get_rng_state()
    try_optimizer(given, TrainingSettings(lr=0.1), noisy)
    assert torch.equal(given.theta, theta)
    assert torch.equal(next(given.model.parameters()).detach().flatten(), theta)
    assert torch.equal(torch.get_rng_state(), stream)
