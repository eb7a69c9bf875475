"""Shared by all tests: one thread, so that small products are quick and their last bits repeat; the longest files first; of
hypothesis the same examples each time. `pytest --hypothesis-profile=search --hypothesis-seed=3 FILE` draws others.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, too: threads that wait for each other spin

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch
from hypothesis import HealthCheck, settings

import drawing
from orograph.process import keep_imports

HABITS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("same", derandomize=True, **HABITS)
settings.register_profile("search", derandomize=False, **HABITS)
settings.load_profile("same")

CHROMIUM = Path("/usr/bin/chromium")

LONGEST = [
    "test_awkward",
    "test_examples",
    "test_pages",
    "test_site",
    "test_benchmark_scripts",
    "test_operators",
    "test_intervals",
    "test_parallel",
    "test_experiments",
    "test_same_bytes",
    "test_analyze",
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def own_state() -> Iterator[None]:
    """Code that draws and seeds as it likes leaves nothing behind."""
    state = torch.random.get_rng_state()
    with mpl.rc_context({"backend": "agg"}):
        yield
    torch.random.set_rng_state(state)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One for all pages."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Figures are rendered in their own tests, in the slow ones as users do, and in those of examples."""
    own = item.path.parent.name == "figures"
    as_users = own and item.get_closest_marker("slow")
    drawing.draw("as users do" if as_users else "coarsely" if own or item.path.stem == "test_examples" else "blank")


def pytest_collection_finish() -> None:
    """What is imported by now stays, and is not looked through for garbage again and again."""
    keep_imports()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
