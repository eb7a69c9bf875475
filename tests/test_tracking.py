"""A tracked training: what is recorded against closed forms of a quadratic and dense Hessians, and that it notices nothing.

Independent of the code: the quadratic's curvature is known, dense Hessians are torch's, and weights are compared bit for bit.
"""

import random
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.cli import main
from orograph.commands.watch import look, view
from orograph.errors import ConfigurationError, DataError, RunError
from orograph.report.report import render
from orograph.store.run import Run

pytestmark = pytest.mark.slow

CURVATURES = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)


class Point(nn.Module):
    """θ itself, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.theta.expand(len(inputs), -1)


def quadratic(outputs: Tensor, targets: Tensor) -> Tensor:
    return (CURVATURES * (outputs - targets).square()).sum(1) / 2


class Two(nn.Module):
    """θ in two tensors, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.a, self.b]).expand(len(inputs), -1)


def steep(outputs: Tensor, targets: Tensor) -> Tensor:
    return (CURVATURES[:2] * (outputs - targets).square()).sum(1) / 2


def valley() -> og.Problem:
    return og.Problem(Point, quadratic, (torch.zeros(2, 1), torch.zeros(2, 3, dtype=torch.float64)))


def descend(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    loss = quadratic(model(torch.zeros(2, 1)), torch.zeros(2, 3, dtype=torch.float64)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """Six steps of gradient descent down the quadratic, every second one measured."""
    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.01)
    with og.Tracker(valley(), out=tmp_path / "run", every=2, probes=4) as tracker:
        for _ in range(6):
            tracker.step(model, optimizer, descend(model, optimizer))
    return tmp_path / "run"


def test_what_is_recorded_of_a_quadratic_is_what_is_known_of_it(tmp_path: Path) -> None:
    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with og.Tracker(valley(), out=tmp_path / "run", every=1, probes=4) as tracker:
        descend(model, optimizer)
        tracker.step(model, optimizer)
        found = tracker.step(model, optimizer, descend(model, optimizer))
    assert found is not None
    theta = (1 - 0.1 * 4) ** 2  # of two steps down the steepest direction, the others are 0
    assert found["train_loss"] == pytest.approx(2 * theta**2, rel=1e-12)
    assert found["gradient_norm"] == pytest.approx(4 * theta, rel=1e-12)
    assert found["batch_loss"] == pytest.approx(2 * 0.6**2, rel=1e-12)
    assert found["lambda_max"] == pytest.approx(4.0, rel=1e-4)  # a residual of 1e-2 leaves an error of its square
    assert found["stability"] == pytest.approx(0.2, rel=1e-4)
    assert (found["edge"], found["lr"]) == (1.0, 0.1)
    assert found["trace"] == pytest.approx(5.25, rel=1e-9)  # Hutchinson's probes of signs are exact on a diagonal
    assert found["critical_lr"] == pytest.approx(0.5, rel=1e-9)  # 2/λ along the gradient's, the top, eigenvector
    assert found["critical_sharpness"] == pytest.approx(4.0, rel=1e-9)
    assert found["update_norm"] == pytest.approx(0.1 * 4 * 0.6, rel=1e-12)
    assert found["critical_passes"] < 10


def test_weight_decay_and_momentum_belong_to_stability(tracked: Path) -> None:
    run = og.open_run(tracked)
    np.testing.assert_allclose(run.lambda_max, 4.01, rtol=1e-4)
    assert run.edge.values.tolist() == [1.5, 1.5, 1.5]
    assert run.step.values.tolist() == [2, 4, 6]
    assert run.status.values.tolist() == ["done"] * 3


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2))


def images() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(60, 5, generator=torch.Generator().manual_seed(3))
    return inputs, (inputs.sum(1) > 0).long()


def training(steps: int, kind: str = "AdamW", **options: Any) -> Iterator[tuple[nn.Module, torch.optim.Optimizer, Tensor]]:
    """A training with dropout, BatchNorm and every random stream there is, after each step."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global stream is the one that could be disturbed
    random.seed(0)
    inputs, targets = images()
    model = net()
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.05, **options)
    for _ in range(steps):
        chosen = torch.randperm(60)[: random.randint(10, 20)]
        noise = torch.from_numpy(np.random.randn(len(chosen), 5)).float()  # noqa: NPY002
        loss = F.cross_entropy(model(inputs[chosen] + 0.1 * noise), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield model, optimizer, loss


def test_training_notices_nothing(tmp_path: Path) -> None:
    for model, _, _ in training(5):
        alone = {name: each.clone() for name, each in model.state_dict().items()}
        slopes = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    problem = og.Problem(net, F.cross_entropy, images())
    seen = training(5)
    model, optimizer, loss = next(seen)
    with og.Tracker(problem, out=tmp_path / "run", every=2, samples=40) as tracker:
        tracker.step(model, optimizer, loss)
        for model, optimizer, loss in seen:
            version = {name: each._version for name, each in model.state_dict(keep_vars=True).items()}
            tracker.step(model, optimizer, loss)
            assert version == {name: each._version for name, each in model.state_dict(keep_vars=True).items()}
            assert all(module.training for module in model.modules())
    for name, each in model.state_dict().items():
        assert torch.equal(each, alone[name]), name
    for each, before in zip(model.parameters(), slopes, strict=True):
        assert each.grad is not None
        assert torch.equal(each.grad, before)
    assert og.open_run(tmp_path / "run").lambda_max.notnull().all()


def dense(model: nn.Module) -> tuple[Tensor, list[str]]:
    """The Hessian of the mean loss over all images in eval mode, by torch alone, float64."""
    model = model.double().eval()
    names = [name for name, _ in model.named_parameters()]
    sizes = [each.shape for each in model.parameters()]
    buffers = dict(model.named_buffers())
    inputs, targets = images()

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([each.numel() for each in sizes])
        named = {name: part.view(size) for name, part, size in zip(names, parts, sizes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, {**named, **buffers}, (inputs.double(),)), targets)

    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    return torch.func.hessian(loss)(flat), names


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_with_batchnorm_and_adam_it_is_the_dense_hessian_preconditioned(kind: str, tmp_path: Path) -> None:
    import copy

    problem = og.Problem(net, F.cross_entropy, images())
    options = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}
    with og.Tracker(problem, out=tmp_path / "run", every=4, probes=0) as tracker:
        for model, optimizer, _ in training(4, kind, **options):
            found = tracker.step(model, optimizer)
    assert found is not None
    hessian, _ = dense(copy.deepcopy(model))
    if kind == "Adam":  # its decay is the gradient of w/2‖θ‖²; that of AdamW is no one's gradient
        hessian = hessian + 0.1 * torch.eye(len(hessian))
    second = torch.cat([optimizer.state[each]["exp_avg_sq"].flatten() for each in model.parameters()]).double()
    scale = (1 - 0.8**4) * ((second / (1 - 0.95**4)).sqrt() + 1e-3)
    largest = torch.linalg.eigvals(torch.diag(1 / scale) @ hessian).real.max().item()
    assert found["lambda_max"] == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-3)
    assert found["preconditioned_lambda_max"] == pytest.approx(largest, rel=1e-3)
    assert found["preconditioned_stability"] == pytest.approx(largest * 0.05 * 0.2 / 3.6, rel=1e-3)
    assert "trace" not in found


def test_a_track_is_gone_on_with_where_it_ends(tracked: Path) -> None:
    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with og.Tracker(valley(), out=tracked, every=2, probes=4) as tracker:
        assert tracker.steps == 6
        assert tracker.step(model, optimizer, number=4) is None  # it is there already, and is never rewritten
        for _ in range(4):
            descend(model, optimizer)
            tracker.step(model, optimizer, number=tracker.steps + 3 if tracker.steps == 4 else None)
    assert og.open_run(tracked).step.values.tolist() == [2, 4, 6, 8, 10]


def test_an_optimiser_that_nobody_knows_has_no_stability(tmp_path: Path) -> None:
    model = Point()
    groups = [{"params": [model.theta], "lr": 0.1}]
    optimizer = torch.optim.RMSprop(groups)
    with og.Tracker(valley(), out=tmp_path / "run", every=1, probes=0) as tracker:
        tracker.step(model, optimizer)
        descend(model, torch.optim.SGD(model.parameters(), lr=0.1))
        found = tracker.step(model, optimizer)
    assert found is not None
    assert "stability" not in found
    assert "lr" not in found
    assert found["lambda_max"] == pytest.approx(4.0, rel=1e-4)
    assert found["critical_steps"] == pytest.approx(5.0, rel=1e-9)  # 2/λ = 0.5, and the last step's learning rate was 0.1
    assert "critical_lr" not in found
    assert "critical_sharpness" not in found


def test_with_several_learning_rates_the_update_is_its_own_unit_and_the_record_says_so(tmp_path: Path) -> None:
    model = Two()
    optimizer = torch.optim.SGD([{"params": [model.a], "lr": 0.1}, {"params": [model.b], "lr": 0.3}])
    targets = torch.zeros(2, 2, dtype=torch.float64)
    problem = og.Problem(Two, steep, (torch.zeros(2, 1), targets))
    with og.Tracker(problem, out=tmp_path / "run", every=1, probes=0) as tracker:
        tracker.step(model, optimizer)
        optimizer.zero_grad()
        steep(model(torch.zeros(2, 1)), targets).mean().backward()
        optimizer.step()
        found = tracker.step(model, optimizer)
    assert found is not None
    assert not {"critical_sharpness", "critical_lr", "stability", "lr"} & found.keys()
    gradient, update = torch.tensor([4.0, 1.0]), torch.tensor([0.4, 0.3])  # of ½(4a² + b²) at (1, 1), where it begins
    curvature = (torch.tensor([4.0, 1.0]) * update.square()).sum()
    assert found["critical_steps"] == pytest.approx((2 * gradient @ update / curvature).item(), rel=1e-6)
    assert "one learning rate" in found["left_out"]
    run = og.open_run(tmp_path / "run")
    assert run.critical_steps.values[-1] == found["critical_steps"]
    assert "one learning rate" in render(Run.open(tmp_path / "run"))


def test_a_training_that_diverges_goes_on_and_the_record_says_so(tmp_path: Path) -> None:
    model = Point()
    with og.Tracker(valley(), out=tmp_path / "run", every=1) as tracker:
        with torch.no_grad():
            model.theta.fill_(float("inf"))
        found = tracker.step(model)
    assert found is not None
    assert "diverged" in found["error"]
    assert og.open_run(tmp_path / "run").status.values.tolist() == ["failed"]


def test_watch_report_export_and_doctor_read_a_track(tracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = look(tracked)
    assert (seen.done, seen.failed, seen.finished) == (3, 0, True)
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(view(seen))
    assert "3 measurements" in capture.get()
    assert "step 6" in capture.get()
    page = render(Run.open(tracked))
    assert '"kind":"track"' in page.replace(" ", "")
    assert "Along the training" in page
    for kind in ("csv", "netcdf"):
        assert main(["export", str(tracked), "--to", kind, "--out", str(tmp_path / kind)]) == 0
    header, *rows = (tmp_path / "csv").read_text().splitlines()
    assert header.startswith("step,status")
    assert [row.split(",")[0] for row in rows] == ["2", "4", "6"]
    assert main(["doctor", str(tracked)]) == 0
    for command in ("card", "analyze"):
        assert main([command, str(tracked)]) == 2
        assert "of kind track" in capsys.readouterr().err


def test_what_cannot_be_tracked_is_said_in_a_sentence(tracked: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="`every` 0 must be at least 1"):
        og.Tracker(valley(), out=tmp_path / "none", every=0)
    with pytest.raises(ConfigurationError, match="`probes` 1 must be at least 2"):
        og.Tracker(valley(), out=tmp_path / "none", probes=1)
    with pytest.raises(RunError, match=r"tracking.every = 2 \(not 3\)"):
        og.Tracker(valley(), out=tracked, every=3, probes=4)
    with og.Tracker(valley(), out=tmp_path / "other", every=1) as tracker:
        with pytest.raises(DataError, match="'theta' of shape"):
            tracker.step(nn.Linear(3, 1))
        with pytest.raises(RunError, match="process"):
            og.Tracker(valley(), out=tmp_path / "other", every=1)
    with pytest.raises(RunError, match="open for reading"):
        tracker.step(Point())


ADAPTERS = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "adapters" / "trackers.py"))


def test_a_callback_of_lightning_counts_as_its_trainer_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = types.ModuleType("lightning.pytorch")
    stub.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", stub)
    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    module = types.SimpleNamespace(net=model)
    with og.Tracker(valley(), out=tmp_path / "run", every=2, probes=0) as tracker:
        callback = ADAPTERS["lightning_callback"](tracker, of=lambda module: module.net)
        for step in (1, 1, 2, 2, 3, 3, 4, 4):  # two batches a step
            loss = descend(model, optimizer)
            trainer = types.SimpleNamespace(optimizers=[optimizer], global_step=step)
            callback.on_train_batch_end(trainer, module, {"loss": loss}, None, 0)
    run = og.open_run(tmp_path / "run")
    assert run.step.values.tolist() == [2, 4]
    assert run.batch_loss.notnull().all()
    np.testing.assert_allclose(run.lambda_max, 4.0, rtol=1e-4)


def test_a_callback_of_transformers_takes_the_trainers_model_and_optimiser(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import TrainerControl, TrainerState
    from transformers.trainer_callback import CallbackHandler

    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with og.Tracker(valley(), out=tmp_path / "run", every=2, probes=0) as tracker:
        handler = CallbackHandler([ADAPTERS["transformers_callback"](tracker)], model, None, optimizer, None)
        state = TrainerState()
        for step in range(1, 5):
            descend(model, optimizer)
            state.global_step = step
            handler.on_step_end(None, state, TrainerControl())
    run = og.open_run(tmp_path / "run")
    assert run.step.values.tolist() == [2, 4]
    np.testing.assert_allclose(run.critical_lr, 0.5, rtol=1e-6)


class Kinked(nn.Module):
    """Outputs |θ|, whose slope jumps where an entry is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1e-4, 2.0, 1.0], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.theta.abs().expand(len(inputs), -1)


def test_beside_kinks_the_curvature_at_a_finite_radius_is_recorded_too(tmp_path: Path) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * torch.tensor([2.0, 1.0, 1.0]) + CURVATURES * outputs.square() / 2).sum(1)

    model = Kinked()
    problem = og.Problem(Kinked, loss, (torch.zeros(2, 1), torch.zeros(2, 3, dtype=torch.float64)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    with og.Tracker(problem, out=tmp_path / "run", every=1, probes=0) as tracker:
        found = tracker.step(model, optimizer)
    assert found is not None
    assert found["lambda_max"] == pytest.approx(4.01, rel=1e-4)
    at, radius = torch.tensor([1e-4, 2.0, 1.0], dtype=torch.float64), found["finite_radius"]
    assert radius == pytest.approx(1e-3 * at.norm().item())
    ways = torch.stack([at, at + radius * torch.eye(3)[0], at - radius * torch.eye(3)[0]]).abs()
    middle, plus, minus = loss(ways, ways).tolist()
    assert found["finite_lambda_max"] == pytest.approx((plus + minus - 2 * middle) / radius**2 + 0.01, rel=1e-3)
