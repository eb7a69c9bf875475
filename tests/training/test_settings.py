"""The settings refuse what is out of range with one sentence, and cost no torch import."""

import subprocess
import sys

import pytest

from orograph.errors import ConfigurationError
from orograph.training.settings import TrainingSettings


def test_the_defaults_are_the_published_settings() -> None:
    settings = TrainingSettings()
    assert (settings.optimizer, settings.lr, settings.batch_size, settings.epochs, settings.patience) == (
        "Adam",
        0.0015,
        64,
        50,
        5,
    )


def test_every_field_explains_itself() -> None:
    assert all(field.description for field in TrainingSettings.model_fields.values())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": 0.0}, "`lr` 0.0 must be positive"),
        ({"lr": float("nan")}, "`lr` nan must be positive"),
        ({"batch_size": 0}, "`batch_size` 0 must be positive"),
        ({"epochs": -1}, "`epochs` -1 must be positive"),
        ({"drops": -1}, "`drops` -1 must be at least 0"),
        ({"weight_decay": -0.1}, "`weight_decay` -0.1 must be at least 0"),
        ({"polish_tolerance": 0.0}, "`polish_tolerance` 0.0 must be positive"),
        ({"momentum": 0.9}, "belongs to SGD"),
        ({"optimizer": "SGD", "momentum": 1.0}, "must be below 1"),
    ],
)
def test_values_out_of_range_are_refused_in_a_sentence(values: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        TrainingSettings(**values)


def test_importing_the_settings_imports_neither_torch_nor_the_command_line() -> None:
    code = "import sys, orograph.training.settings; sys.exit(bool({'torch', 'tyro'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown setting 'unknown'"):
        TrainingSettings(unknown=1)
