"""Shared by all tests: one thread, so that small products are quick and their last bits repeat."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
