"""The examples run as they stand and leave their pictures."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PICTURES = {"mlp": ["mlp-spectrum", "mlp-classes"], "resnet": ["resnet-surface"], "transformer": ["transformer-spectrum"]}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_leaves_its_pictures(example: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(example), str(tmp_path)], check=True, timeout=600)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{name}.png" for name in PICTURES[example.stem])
