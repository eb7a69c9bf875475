"""Many models at once against a plain Python loop over modules that carry the parameters themselves, in float64."""

import copy
import gc

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Points, evaluate, losses_at, predictions_at
from orograph.geometry.normalisation import reestimated
from orograph.objective import Objective


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 4))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4)
    )


def made(kind, memory: str = "4GiB") -> Objective:
    torch.manual_seed(0)
    model = kind().double()
    inputs, targets = torch.randn(23, 6).double(), torch.randint(0, 4, (23,))
    return Objective(model, F.cross_entropy, [(inputs, targets)], memory=memory)


def around(objective: Objective, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return objective.theta + 0.3 * torch.randn(count, objective.layout.size, generator=generator).double()


def loaded(objective: Objective, theta: Tensor) -> nn.Module:
    model = copy.deepcopy(objective.model).eval()
    torch.nn.utils.vector_to_parameters(theta, model.parameters())
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", [mlp, cnn])
@pytest.mark.parametrize("memory", ["4GiB", 5000])
def test_losses_accuracies_and_margins_are_those_of_each_module_alone(kind, memory) -> None:
    objective = made(kind, memory)
    thetas = around(objective, 7)
    inputs, targets = next(objective.batches(objective.count))
    found = evaluate(objective, thetas)
    for index, theta in enumerate(thetas):
        outputs = loaded(objective, theta)(inputs).detach()
        others = outputs.masked_fill(F.one_hot(targets, 4).bool(), -torch.inf).max(1).values
        assert found.losses[index].item() == pytest.approx(F.cross_entropy(outputs, targets).item(), rel=1e-12)
        assert found.accuracies[index].item() == (outputs.argmax(1) == targets).double().mean().item()
        assert found.margins[index].item() == pytest.approx((outputs[range(23), targets] - others).mean().item(), rel=1e-12)


def test_predictions_keep_the_order_of_the_samples() -> None:
    objective = made(mlp, 3000)
    thetas = around(objective, 6)
    outputs = torch.stack([objective.all_outputs(theta) for theta in thetas])
    assert torch.equal(predictions_at(objective, thetas), outputs.argmax(-1))


def test_points_are_base_plus_combinations_of_directions() -> None:
    objective = made(mlp)
    directions = around(objective, 2)
    coefficients = torch.tensor([[0.0, 0.0], [0.5, -1.0], [1.0, 2.0]], dtype=torch.float64)
    points = Points(objective.theta, directions, coefficients)
    dense = objective.theta + coefficients @ directions
    torch.testing.assert_close(points[slice(0, 3)], dense)
    torch.testing.assert_close(losses_at(objective, points), losses_at(objective, dense), rtol=1e-12, atol=0)


def test_losses_of_single_precision_are_summed_in_double() -> None:
    torch.manual_seed(0)
    objective = Objective(mlp(), F.cross_entropy, [(torch.randn(50, 6), torch.randint(0, 4, (50,)))])
    assert losses_at(objective, around(objective, 3).float()).dtype == torch.float64


def test_a_mean_only_loss_gives_losses() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(n, 6).double(), torch.randint(0, 4, (n,))) for n in (5, 5, 3)]
    objective = Objective(mlp().double(), lambda output, target: F.cross_entropy(output, target), data)
    thetas = around(objective, 5)
    expected = torch.tensor([objective.loss(theta) for theta in thetas], dtype=torch.float64)
    torch.testing.assert_close(losses_at(objective, thetas), expected, rtol=1e-12, atol=0)


def test_regression_has_losses_but_no_accuracy() -> None:
    objective = Objective(nn.Linear(3, 2), F.mse_loss, [(torch.randn(8, 3), torch.randn(8, 2))])
    found = evaluate(objective, objective.theta[None])
    assert found.losses[0].item() == pytest.approx(objective.loss(objective.theta), rel=1e-6)
    assert torch.isnan(found.accuracies).all()
    assert torch.isnan(found.margins).all()
    with pytest.raises(ConfigurationError, match="class scores"):
        predictions_at(objective, objective.theta[None])


def test_reestimated_statistics_are_those_of_the_whole_data() -> None:
    objective = made(cnn)
    thetas = around(objective, 2)
    statistics = reestimated(objective, thetas)
    inputs, targets = next(objective.batches(objective.count))
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    for index, theta in enumerate(thetas):
        model = loaded(objective, theta)
        activations = model[1](model[0](inputs))
        torch.testing.assert_close(statistics["2.running_mean"][index], activations.mean((0, 2, 3)))
        torch.testing.assert_close(statistics["2.running_var"][index], activations.transpose(0, 1).flatten(1).var(1))
        model[2].running_mean, model[2].running_var = (statistics[f"2.running_{kind}"][index] for kind in ("mean", "var"))
        expected = F.cross_entropy(model(inputs), targets).item()
        assert evaluate(objective, thetas, statistics).losses[index].item() == pytest.approx(expected, rel=1e-12)
    assert all(torch.equal(before[name], value) for name, value in objective.model.state_dict().items())


def test_reestimation_in_chunks_averages_the_means_of_the_chunks() -> None:
    whole, chunked = made(cnn), made(cnn, memory=20000)
    assert chunked.chunk < whole.chunk
    one, other = (reestimated(each, each.theta[None]) for each in (whole, chunked))
    torch.testing.assert_close(one["2.running_mean"], other["2.running_mean"])


def test_models_without_batch_normalisation_have_nothing_to_reestimate() -> None:
    objective = made(mlp)
    assert reestimated(objective, objective.theta[None]) is None


@pytest.mark.slow
def test_evaluations_leave_nothing_behind_in_memory() -> None:
    objective = made(cnn)
    thetas = around(objective, 3)

    def held() -> int:
        gc.collect()
        return sum(issubclass(type(each), Tensor) for each in gc.get_objects())

    evaluate(objective, thetas)
    before = held()
    for _ in range(3):
        evaluate(objective, thetas)
    assert held() <= before
