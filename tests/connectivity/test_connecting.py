"""Two minima of a problem connected in one call. Truth: torch's own losses of interpolated networks, and curves of the same seed
laid by hand; weights are read back from files that torch wrote.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import orograph as og
import own_problem
from orograph.errors import ConfigurationError, DataError, OrographError

A, B = (own_problem.net() for _ in range(2))


def flat(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_line_has_the_losses_of_its_interpolated_networks() -> None:
    problem = own_problem.in_memory()
    found = og.connect(problem, A, B, paths="linear", points=3)
    inputs, targets = problem.train[0]
    middle = own_problem.net()
    nn.utils.vector_to_parameters((flat(A) + flat(B)) / 2, middle.parameters())
    expected = [own_problem.loss(net(inputs), targets).mean().item() for net in (A, middle, B)]
    # float32 sums of 40 losses in another order
    assert found.profiles["linear"].train.losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert found.positions.tolist() == [0.0, 0.5, 1.0]
    rise = max(0.0, expected[1] - (expected[0] + expected[2]) / 2)
    assert found.barriers["linear"].train_loss == pytest.approx(rise, abs=1e-5)
    assert found.distance == pytest.approx(torch.linalg.vector_norm(flat(B) - flat(A)).item(), rel=1e-6)
    assert found.profiles["linear"].test is not None


def test_weights_may_be_a_file_a_state_dict_a_module_or_a_vector(tmp_path: Path) -> None:
    problem = own_problem.in_memory()
    torch.save(A.state_dict(), tmp_path / "a.pth")
    losses = [
        og.connect(problem, a, flat(B), paths=["linear"], points=3).profiles["linear"].train.losses
        for a in (A, A.state_dict(), flat(A), tmp_path / "a.pth", str(tmp_path / "a.pth"))
    ]
    assert all(torch.equal(each, losses[0]) for each in losses)


def test_a_trained_path_is_the_one_laid_by_hand() -> None:
    problem = own_problem.in_memory()
    found = og.connect(problem, A, B, paths=["bezier"], points=5, epochs=4, seed=3)
    objective = problem.objective(A)
    trained = og.train_curve(objective, og.bezier(objective.theta, flat(B)), steps=4, batch_size=None, seed=3)
    assert torch.allclose(found.curves["bezier"].controls, trained.curve.controls, atol=1e-6)  # batches of 40 in another order


def test_a_path_that_cannot_be_had_is_a_failure_in_words_and_the_others_are_there() -> None:
    def tied() -> nn.Module:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.randn(4, 3))

            def forward(self, x: Tensor) -> Tensor:
                return x @ self.weight + (x**2) @ self.weight

        return Twice()

    found = og.connect(own_problem.in_memory(model=tied), tied(), tied(), paths=["aligned", "linear"], points=3)
    assert list(found.profiles) == ["linear"]
    assert len(found.failures["aligned"].splitlines()) == 1


@pytest.mark.parametrize(
    ("a", "paths", "says"),
    [
        (nn.Linear(4, 3), ["linear"], r"lacks '0\.weight'"),
        (torch.zeros(5), ["linear"], r"θ of shape \(5,\) is no vector of the 43 parameters"),
        (torch.full((43,), torch.nan), ["linear"], "`a` holds NaN or infinity"),
        (A, ["curve"], "unknown path 'curve'"),
        (A, [], "connecting takes a path"),
        ("missing.pth", ["linear"], "does not exist"),
    ],
)
def test_what_cannot_be_connected_is_one_sentence(a: object, paths: list[str], says: str) -> None:
    with pytest.raises(OrographError, match=says):
        og.connect(own_problem.in_memory(), a, B, paths=paths)


def test_an_objective_stands_at_the_given_weights_and_on_the_data_asked_for() -> None:
    problem = own_problem.in_memory()
    objective = problem.objective(A, strength=0.5, dtype=torch.float64)
    assert torch.equal(objective.theta, flat(A).double())
    assert objective.strength == 0.5
    inputs, targets = problem.test[0]
    assert problem.objective(A, test=True).loss(flat(A)) == pytest.approx(
        own_problem.loss(A(inputs), targets).mean().item(), rel=1e-5
    )
    assert og.sharpness(objective, objective.theta, pairs=2).loss == pytest.approx(objective.loss(objective.theta))
    with pytest.raises(DataError, match="no test data"):
        own_problem.in_memory(test=None).objective(test=True)


def test_data_of_a_function_may_not_have_others_beside_them() -> None:
    with pytest.raises(ConfigurationError, match="have it give the test data too"):
        own_problem.problem(test=own_problem.data()["test"])


def test_the_anchored_path_of_a_linear_regression_is_the_ridge_around_the_other_end() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(30, size, generator=generator, dtype=torch.float64) for size in (3, 1))
    problem = og.Problem(lambda: nn.Linear(3, 1, bias=False).double(), nn.MSELoss(), train=(x, y))
    least_squares, other = torch.linalg.lstsq(x, y).solution[:, 0], torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    found = og.connect(problem, least_squares, other, paths=["anchored", "linear"], points=4)
    hessian = 2 * x.T @ x / len(x)
    controls = found.curves["anchored"].controls
    assert torch.equal(controls[[0, -1]], torch.stack([least_squares, other]))
    for theta in controls[1:-1]:
        # (H + 2λ)(θ − θ_a) = 2λ(θ_ref − θ_a): H(θ − θ_a) points to θ_ref, and λ is the ratio
        pull, way = hessian @ (theta - least_squares), other - theta
        strength = (pull @ way / (2 * way @ way)).item()
        exact = torch.linalg.solve(hessian + 2 * strength * torch.eye(3), hessian @ least_squares + 2 * strength * other)
        assert strength > 0
        assert torch.allclose(theta, exact, atol=1e-5)  # of a gradient of 1e-6 and a curvature of about 1
    assert found.barriers["anchored"].train_loss <= found.barriers["linear"].train_loss + 1e-12  # of a convex loss: both 0
