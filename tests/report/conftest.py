"""No waiting for the disk, as in the tests of the store."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import made_up_sweep


@pytest.fixture(autouse=True, scope="session")
def _no_sync() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine strengths both ways, one of them failed."""
    path = tmp_path_factory.mktemp("runs") / "small"
    made_up_sweep.write(path, 9, k=5, directions=("up", "down"), failed=4)
    return path
