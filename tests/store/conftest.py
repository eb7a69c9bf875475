"""No waiting for the disk: a killed process loses nothing that it wrote, so that syncing matters to no test here but its own."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_sync() -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield
    patch.undo()
