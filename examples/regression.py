"""A regression of three numbers: where the hand of an arm is, from the angles of its joints. A sweep around a trained network,
with the curvature of near, middle and far points told apart.

    python examples/regression.py [FOLDER [--quick]]

writes a run into the folder (`runs/regression` when none is given) with its report, in about half a minute.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1]


def arm(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Angles of shoulder, elbow and turn, and x, y and z of the hand, of an arm of two parts of length 1."""
    angles = torch.pi * (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5)
    shoulder, elbow, turn = angles.unbind(1)
    reach = shoulder.cos() + (shoulder + elbow).cos()
    hand = torch.stack([reach * turn.cos(), reach * turn.sin(), shoulder.sin() + (shoulder + elbow).sin()], 1)
    return angles, hand


def distance(angles: Tensor, hand: Tensor) -> list[str]:
    """A group for each sample: how far the hand is from the shoulder."""
    return [("1 near", "2 middle", "3 far")[int(each > 1.7) + int(each > 1.9)] for each in hand.norm(dim=1)]


def missed(outputs: Tensor, hand: Tensor) -> Tensor:
    """A metric, one value a sample: whether the hand is missed by more than a tenth."""
    return (outputs - hand).norm(dim=1) > 0.1


def net() -> nn.Module:
    """A small network."""
    return nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))


def main(folder: Path, quick: bool) -> None:
    """Sweep, analyse, report."""
    count, epochs, k, strengths = (60, 2, 2, STRENGTHS[::4]) if quick else (800, 40, 10, STRENGTHS)
    problem = og.Problem(
        net,
        nn.MSELoss(),
        train=arm(count, 0),
        test=arm(count, 1),
        metrics=["r2", "rmse_per_output", og.Metric("missed", missed, "hands missed", "%", higher_is_better=False)],
        groups=distance,
    )
    ladder = {"anchor": "train:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, epochs=epochs, batch_size=40, lr=0.01, out=folder)
    run = og.analyze(run, problem, lowest_products=100)
    missing, largest = run.test_missed.values.ravel(), run.eigenvalue.values[0, 0, :, 0]
    for strength, share, curvature in zip(strengths, missing, largest, strict=True):
        print(f"λ = {strength:<6g}: {share:.1f} % of the hands missed, λ_max = {curvature:.2f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/regression"), quick="--quick" in sys.argv[2:])
