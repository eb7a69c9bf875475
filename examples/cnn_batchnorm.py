"""A convolutional network with BatchNorm on digits that come from a DataLoader of one's own: a sweep around a trained network,
whose running means and variances are recorded and put back with each point.

    python examples/cnn_batchnorm.py [FOLDER [--quick]]

writes a run into the folder (`runs/cnn-batchnorm` when none is given) with its report, in about half a minute.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1]


def loaders(count: int) -> tuple[DataLoader, DataLoader]:
    """Digits of 8 × 8 pixels, as many to test on; not shuffled, for L is to be the same function each time."""
    found = load_digits()
    images, labels = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)
    first, second = (TensorDataset(images[part], labels[part]) for part in (slice(count), slice(count, 2 * count)))
    return DataLoader(first, batch_size=100), DataLoader(second, batch_size=100)


def net(classes: int) -> nn.Module:
    """Two convolutions, each behind it a BatchNorm."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.GELU()),
        *(nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16), nn.GELU()),
        *(nn.Flatten(), nn.Linear(16 * 4 * 4, classes)),
    )


def main(folder: Path, quick: bool) -> None:
    """Sweep, analyse, report."""
    count, epochs, k, strengths = (60, 2, 2, STRENGTHS[::4]) if quick else (600, 12, 10, STRENGTHS)
    train, test = loaders(count)
    problem = og.Problem(net, nn.CrossEntropyLoss(), train=train, test=test)
    ladder = {"anchor": "train:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, epochs=epochs, lr=0.01, out=folder)
    run = og.analyze(run, problem, lowest_products=60, response_products=60)
    accuracies, largest = run.test_accuracy.values.ravel(), run.eigenvalue.values[0, 0, :, 0]
    for strength, accuracy, curvature in zip(strengths, accuracies, largest, strict=True):
        print(f"λ = {strength:<6g}: accuracy {accuracy:.1f} %, λ_max = {curvature:.2f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/cnn-batchnorm"), quick="--quick" in sys.argv[2:])
