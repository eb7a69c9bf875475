"""Small studies that have every kind of step, as commands."""

from pathlib import Path

BASE = "--dataset digits --subset-size 150 --model MLP1 --epochs 2 --fast --threads 1 --quiet --curve-points 5 --cohort 2"
STUDIES = {
    "everything": "--hidden-size 4 --num-seeds 3 --lr 0.01 --path-epochs 1 --2d-slice --slice-points 5 --track-curvature 2 "
    "--instability 1 --paths linear,bezier,aligned --slice-directions eigenvector --keep-eigenvectors",
    "compared": "--hidden-size 4 --num-seeds 2 --compare-optimizers --batch-norm --paths linear --epochs 1",
}


def words(out: Path, flags: str) -> list[str]:
    """After the word `orograph`."""
    return ["study", *BASE.split(), *flags.split(), "--out", str(out)]
