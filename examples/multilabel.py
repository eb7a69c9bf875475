"""Several labels a sample: which of six tones sound in a noisy chord. A sweep around a trained network, with the curvature of
single tones and of chords told apart.

    python examples/multilabel.py [FOLDER [--quick]]

writes a run into the folder (`runs/multilabel` when none is given) with its report, in about half a minute.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1]
TONES = 6


def chords(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Waves of 64 samples with noise, and for each of the tones whether it sounds."""
    generator = torch.Generator().manual_seed(seed)
    sounding = (torch.rand(count, TONES, generator=generator) < 0.35).float()
    phases = 2 * torch.pi * torch.rand(count, TONES, 1, generator=generator)
    pitches = torch.arange(4, 4 + TONES)[:, None]  # periods in the 64 samples
    waves = (2 * torch.pi * pitches * torch.arange(64) / 64 + phases).sin()
    return (sounding[..., None] * waves).sum(1) + 0.5 * torch.randn(count, 64, generator=generator), sounding


def tones(waves: Tensor, sounding: Tensor) -> list[str]:
    """A group for each sample: how many tones sound at once."""
    return [("silence", "single tone", "two tones", "chord")[min(int(each), 3)] for each in sounding.sum(1)]


class Ear(nn.Module):
    """A convolution, the energy behind each of its filters, and one output a tone."""

    def __init__(self) -> None:
        super().__init__()
        self.filters, self.decide = nn.Conv1d(1, 16, 17), nn.Linear(16, TONES)

    def forward(self, waves: Tensor) -> Tensor:
        return self.decide(self.filters(waves[:, None]).square().mean(2).add(1e-3).log())


def main(folder: Path, quick: bool) -> None:
    """Sweep, analyse, report."""
    count, epochs, k, strengths = (60, 2, 2, STRENGTHS[::4]) if quick else (600, 30, 10, STRENGTHS)
    problem = og.Problem(Ear, nn.BCEWithLogitsLoss(), train=chords(count, 0), test=chords(count, 1), groups=tones)
    ladder = {"anchor": "train:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, epochs=epochs, batch_size=30, lr=0.01, out=folder)
    run = og.analyze(run, problem, lowest_products=100)
    precisions, largest = run.test_mean_average_precision.values.ravel(), run.eigenvalue.values[0, 0, :, 0]
    for strength, precision, curvature in zip(strengths, precisions, largest, strict=True):
        print(f"λ = {strength:<6g}: mean average precision {precision:.1f} %, λ_max = {curvature:.3f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/multilabel"), quick="--quick" in sys.argv[2:])
