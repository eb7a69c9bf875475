"""No waiting for the disk, as in the tests of the store; and one browser for all pages."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import made_up_sweep

CHROMIUM = Path("/usr/bin/chromium")


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
