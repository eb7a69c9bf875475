"""Sweeps of problems whose every number is known: ridge regression, softmax regression by class, a language model by torch."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from orograph.cli import main
from orograph.store.dataset import open_run
from orograph.store.run import Run

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X @ torch.tensor([[1.0, 0.5], [-2.0, 0.0], [0.5, 1.0], [0.0, 3.0]], dtype=torch.float64) + 0.3 * X[:, :2].square()
LABELS = (X @ torch.tensor([[1.0, 0.0, -1.0]] * 4, dtype=torch.float64) + X[:, :3]).argmax(1)

def ridge(): return nn.Linear(4, 2, bias=False)
def numbers(): return (X[:40], Y[:40]), (X[40:], Y[40:])
def softmax(): return nn.Linear(4, 3)
def labels(): return (X[:40], LABELS[:40]), (X[40:], LABELS[40:])

class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.out = nn.Embedding(7, 3), nn.Linear(3, 3), nn.Linear(3, 7)
    def forward(self, tokens):
        hidden = self.embed(tokens)
        summed = hidden.cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None]
        return self.out(self.mix(summed).tanh()).movedim(-1, 1)

def batches(*lengths):
    g = torch.Generator().manual_seed(3)
    found = []
    for length in lengths:
        tokens = torch.randint(1, 7, (5, length), generator=g)
        targets = tokens.roll(-1, 1)
        targets[:, -1] = -100
        for row in range(5):  # padding of unequal length
            targets[row, length - row % 3 - 1:] = -100
        found.append((tokens, targets))
    return found
def text(): return batches(6, 4, 8), batches(5)
"""
STRENGTHS = (0.01, 0.1, 0.5)
WORDS = ["--strengths", ",".join(map(str, STRENGTHS)), "--dtype", "float64", "--threads", "1", "--quiet"]
POLISH = ["--polish", "--polish-tolerance", "1e-13", "--tolerance", "1e-10"]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "closed_forms.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "closed_forms", raising=False)
    return tmp_path


def run_of(*words: str) -> Run:
    assert main(["sweep", *words, *WORDS, "--out", "run"]) == 0
    return Run.open("run")


@pytest.mark.slow
@pytest.mark.parametrize("end", [[], ["--end", "newton"]])
def test_ridge_regression_is_its_closed_form(source: Path, end: list[str]) -> None:
    run_of("--data", "closed_forms:numbers", "--model", "closed_forms:ridge", "--loss", "mse_loss", "--k", "3", *POLISH, *end)
    assert main(["analyze", "run", "--quiet", "--probes", "3"]) == 0  # of so few parameters all columns are taken
    import closed_forms  # type: ignore[import-not-found]

    x, y = (each[:40].numpy() for each in (closed_forms.X, closed_forms.Y))
    found = open_run("run").sel(seed=0, direction="up")
    block = x.T @ x / 40  # mse over 40 · 2 numbers: H is this on the diagonal, once an output
    values = np.repeat(np.sort(np.linalg.eigvalsh(block))[::-1], 2)
    for strength in STRENGTHS:
        point = found.sel(strength=strength)
        theta = np.linalg.solve(block + 2 * strength * np.eye(4), x.T @ y / 40).T.ravel()  # L = ‖·‖²/2 an output
        loss = np.square(x @ theta.reshape(2, 4).T - y).mean()
        slope = np.kron(np.eye(2), block + 2 * strength * np.eye(4))
        response = -2 * np.linalg.solve(slope, theta)
        right = {
            "train_loss": loss,
            "objective": loss + strength * theta @ theta,
            "anchor_distance": np.linalg.norm(theta),
            "trace": 2 * np.trace(block),
            "susceptibility": -2 * theta @ response,
            "response_norm": np.linalg.norm(response),
        }
        np.testing.assert_allclose(point.theta, theta, rtol=0, atol=1e-8)
        np.testing.assert_allclose(point.eigenvalue, values[:3], rtol=1e-8)
        for name, value in right.items():
            assert float(point[name]) == pytest.approx(value, rel=1e-8), name
    objectives = {strength: float(found.objective.sel(strength=strength)) for strength in STRENGTHS}

    def free(strength: float) -> float:
        theta = np.linalg.solve(block + 2 * strength * np.eye(4), x.T @ y / 40)
        return float(np.square(x @ theta - y).mean() + strength * np.square(theta).sum())

    for strength in STRENGTHS:  # dF/dλ = ‖θ‖²
        h = 1e-4
        assert objectives[strength] == pytest.approx(free(strength), rel=1e-10)
        difference = (free(strength + h) - free(strength - h)) / (2 * h)
        assert float(found.anchor_distance.sel(strength=strength)) ** 2 == pytest.approx(difference, rel=1e-6)  # h²


def dense(model: nn.Module, theta: Tensor, loss: object) -> Tensor:
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def value(flat: Tensor) -> Tensor:
        parts = dict(zip(shapes, flat.split([shape.numel() for shape in shapes.values()]), strict=True))
        found: Tensor = loss(lambda *a: functional_call(model, {n: parts[n].view(s) for n, s in shapes.items()}, a))  # type: ignore[operator]
        return found

    hessian: Tensor = torch.autograd.functional.hessian(value, theta)
    return hessian


@pytest.mark.slow
def test_softmax_regression_has_the_dense_curvature_of_each_class(source: Path) -> None:
    run = run_of("--data", "closed_forms:labels", "--model", "closed_forms:softmax", "--k", "3", "--epochs", "5", *POLISH)
    assert main(["analyze", "run", "--quiet", "--probes", "8"]) == 0
    import closed_forms

    (x, t), (other, targets) = closed_forms.labels()
    found = open_run("run").sel(seed=0, direction="up")
    for cell, record in run.records.items():
        point = found.sel(strength=cell.strength)
        model = closed_forms.softmax().double()
        model.load_state_dict(run.weights(cell))
        theta, vectors = torch.from_numpy(point.theta.values), torch.from_numpy(point.eigenvector.values).double()
        for label in range(3):
            chosen = t == label
            part = dense(model, theta, lambda call, c=chosen: F.cross_entropy(call(x[c]), t[c])) * chosen.sum() / 40
            shares = torch.einsum("ki,ij,kj->k", vectors, part, vectors)
            np.testing.assert_allclose(point.class_share.values[label], shares, rtol=1e-5, atol=1e-8)  # vectors are float32
            hits = (model(other[targets == label]).argmax(1) == label).double().mean().item()
            assert record.scalars["class_accuracy"][label] == pytest.approx(100 * hits, nan_ok=True)


@pytest.mark.slow
def test_a_language_model_has_the_loss_and_the_hessian_of_torch_over_all_that_counts(source: Path) -> None:
    run = run_of("--data", "closed_forms:text", "--model", "closed_forms:Language", "--k", "3", "--epochs", "3")
    import closed_forms

    train, test = closed_forms.text()
    count = sum(int((targets != -100).sum()) for _, targets in train)
    for cell, record in run.records.items():
        model = closed_forms.Language().double()
        model.load_state_dict(run.weights(cell))
        theta = torch.cat([p.detach().flatten() for p in model.parameters()])

        def loss(call: object, batches: object = train) -> Tensor:
            sums = [
                F.cross_entropy(call(tokens), targets, ignore_index=-100, reduction="sum")  # type: ignore[operator]
                for tokens, targets in batches  # type: ignore[attr-defined]
            ]
            return torch.stack(sums).sum()

        counted = int((test[0][1] != -100).sum())
        assert record.scalars["train_loss"] == pytest.approx(loss(model).item() / count, rel=1e-10)
        assert record.scalars["test_loss"] == pytest.approx(loss(model, test).item() / counted, rel=1e-10)
        assert record.scalars["test_perplexity"] == pytest.approx(np.exp(record.scalars["test_loss"]), rel=1e-10)
        values = torch.linalg.eigvalsh(dense(model, theta, loss) / count)
        largest = values[values.abs().argsort(descending=True)[:3]].sort(descending=True).values
        np.testing.assert_allclose(run.array(cell, "eigenvalue"), largest, rtol=2e-3)  # residuals of 1e-3
