"""Networks of timm and graphs of torch_geometric, with random weights; where these are installed.

Independent of the code: Hessian-vector products by double backward through `functional_call`, and dense float64 Hessians.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import orograph as og
from orograph.errors import OrographError

pytestmark = pytest.mark.slow


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # a torchvision that belongs to another torch
        pytest.skip(f"{name} cannot be imported: {error}")


def mean_loss(model: nn.Module, batches: list[tuple[Any, Tensor]]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """θ, and the mean cross-entropy of all samples as a function of it, in eval mode."""
    named = dict(model.eval().named_parameters())
    sizes = [each.numel() for each in named.values()]

    def of(theta: Tensor) -> Tensor:
        parts = {name: part.view_as(named[name]) for name, part in zip(named, theta.split(sizes), strict=True)}
        total, count = theta.new_zeros(()), 0
        for inputs, targets in batches:
            outputs = functional_call(model, parts, inputs if isinstance(inputs, tuple) else (inputs,))
            total, count = total + F.cross_entropy(outputs, targets, reduction="sum"), count + len(targets)
        return total / count

    return torch.cat([each.detach().flatten() for each in named.values()]), of


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])  # timm's own small ones
def test_products_of_networks_of_timm_are_those_of_double_backward(name: str) -> None:
    torch.manual_seed(0)
    options = {"img_size": 32} if "vit" in name else {}
    model = installed("timm").create_model(name, num_classes=4, drop_path_rate=0.2, **options).double()
    with torch.no_grad():  # normalisations that begin at zero leave a ReLU at its kink
        for each in model.parameters():
            each += 0.05 * torch.randn_like(each)
    data = [(torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.arange(4))]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    operator = og.HessianOperator(model, F.cross_entropy, data)
    vector = torch.randn(operator.size, dtype=torch.float64)
    found = operator @ vector
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    theta, loss = mean_loss(model, data)
    torch.testing.assert_close(operator.gradient, torch.func.grad(loss)(theta), rtol=1e-9, atol=1e-12)
    with sdpa_kernel(SDPBackend.MATH):  # the one that torch differentiates twice
        truth = torch.autograd.functional.hvp(loss, theta, vector)[1]
    torch.testing.assert_close(found, truth, rtol=1e-8, atol=1e-9 * truth.abs().max().item())  # float64 in another order
    training = og.TrainingSettings(epochs=1, batch_size=4)
    objective = og.Objective(model, F.cross_entropy, data)
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    with pytest.raises(OrographError, match=r"DropPath\)' .*random.*`train`"):
        og.train(objective, objective.theta, training, order_seed=0, buffers=buffers)


def graphs(sizes: tuple[int, ...]) -> Any:
    """Rings of so many nodes, of two kinds, as one batch."""
    data, generator = installed("torch_geometric.data"), torch.Generator().manual_seed(sum(sizes))
    found = []
    for size in sizes:
        there = torch.stack([torch.arange(size), (torch.arange(size) + 1) % size])
        features = torch.randn(size, 3, generator=generator, dtype=torch.float64)
        found.append(data.Data(x=features, edge_index=torch.cat([there, there.flip(0)], 1), y=torch.tensor([size % 2])))
    return data.Batch.from_data_list(found)


class Rings(nn.Module):
    """Two convolutions, the mean of each graph's nodes, and scores of two kinds; of tensors, or of a batch as it comes."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layers, torch_geometric = nn.ModuleList(), installed("torch_geometric")
        for width in (3, 4):
            self.layers.append(getattr(torch_geometric.nn, kind)(width, 4))
        self.last, self._mean = nn.Linear(4, 2), torch_geometric.nn.global_mean_pool

    def forward(self, x: Any, edges: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        if edges is None:
            x, edges, batch = x.x, x.edge_index, x.batch
        for layer in self.layers:
            x = layer(x, edges).tanh()
        found: Tensor = self.last(self._mean(x, batch))
        return found


@pytest.mark.parametrize("kind", ["GCNConv", "SAGEConv"])
@pytest.mark.parametrize("as_tensors", [True, False])
def test_spectra_of_graph_networks_are_those_of_the_dense_hessian(kind: str, as_tensors: bool) -> None:
    torch.manual_seed(0)
    model = Rings(kind).double()
    given = [graphs((3, 4, 5)), graphs((6, 4, 3, 7))]  # batches stay whole: edges are of all their graphs
    batches = [((each.x, each.edge_index, each.batch) if as_tensors else each, each.y) for each in given]
    theta, loss = mean_loss(model, batches)
    hessian = torch.autograd.functional.hessian(loss, theta)
    operator = og.HessianOperator(model, F.cross_entropy, batches)
    torch.testing.assert_close(operator @ torch.eye(operator.size, dtype=torch.float64), hessian, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(operator.gradient, torch.func.grad(loss)(theta), rtol=1e-9, atol=1e-12)


def test_a_sweep_of_a_graph_network_goes_through_and_records_the_loss_of_what_it_trained(tmp_path: Path) -> None:
    given = [graphs((3, 4, 5)), graphs((6, 4, 3, 7))]
    batches = [((each.x.float(), each.edge_index, each.batch), each.y) for each in given]
    problem = og.Problem(lambda: Rings("GCNConv"), F.cross_entropy, train=batches)
    found = og.sweep(problem, strengths=[0.001, 0.1], k=2, epochs=4, lr=0.05, out=tmp_path / "run", quiet=True)
    model = Rings("GCNConv")
    model.load_state_dict(torch.load(tmp_path / "run" / "test_data" / "model_weights-0-0.00100.pth", weights_only=True))
    theta, loss = mean_loss(model, batches)
    assert found.train_loss.values[0, 0, 0] == pytest.approx(loss(theta).item(), rel=1e-5)
