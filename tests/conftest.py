"""Shared by all tests: one thread, so that small products are quick and their last bits repeat; files with slow tests first."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, too: threads that wait for each other spin

import pytest
import torch

SLOW = {"slow", "browser", "cluster"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no worker is left alone with it at the end."""
    long = {item.path for item in items if SLOW.intersection(mark.name for mark in item.iter_markers())}
    items.sort(key=lambda item: item.path not in long)
