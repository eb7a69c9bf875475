"""The examples run as they stand, on fewer images and less text, and leave their pictures."""

import pydoc_data.topics
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PICTURES = {"mlp": ["mlp-spectrum", "mlp-classes"], "resnet": ["resnet-surface"], "transformer": ["transformer-spectrum"]}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("few_images", "own_state")
def test_an_example_leaves_its_pictures(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydoc_data.topics, "topics", {"few": str(pydoc_data.topics.topics)[:20_000]})
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{name}.png" for name in PICTURES[example.stem])
