"""How results show themselves: every public result fits ten lines of 120 letters, whatever it holds, and says what it holds."""

import dataclasses
import importlib
import inspect
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orograph as og
from orograph.brief import LINES, WIDTH, brief
from orograph.store.cells import Cell

PACKAGES = ["orograph", *(f"orograph.{stub.parent.name}" for stub in sorted(Path(og.__file__).parent.glob("*/__init__.pyi")))]


def results() -> set[type]:
    """The dataclasses that public functions return, that are public, and that stand in the fields of these."""
    found: set[type] = set()

    def look(kind: Any) -> None:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in found:
            found.add(kind)
            for each in hints(kind).values():
                look(each)
        for inner in typing.get_args(kind):
            look(inner)

    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                look(thing)
            elif callable(thing):
                look(hints(thing).get("return"))
    return found


def hints(thing: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(thing)
    except NameError:  # a name for the type checker alone
        return {}


OTHERS = {og.continuation.Branch, Cell}  # with words of its own, and what holds four values of a point's name
LONG: list[Any] = [
    np.linspace(-1, 1, 3_000).reshape(30, 100),
    torch.randn(5_000),
    [float(number) for number in range(2_000)],
    {f"layer{number}.weight": np.zeros((40, 40)) for number in range(97)},
    "a text that goes on and on " * 200,
    [{"step": number, "losses": [0.1] * 50} for number in range(60)],
    torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(80))),
]


@pytest.mark.parametrize("kind", sorted(results() - OTHERS, key=lambda kind: (kind.__module__, kind.__name__)))
def test_every_public_result_fits_ten_lines(kind: type) -> None:
    for value in LONG:
        made = object.__new__(kind)
        for field in dataclasses.fields(kind):
            object.__setattr__(made, field.name, value)
        lines = repr(made).splitlines()
        assert lines[0].startswith(kind.__name__)
        assert len(lines) <= LINES
        assert max(map(len, lines)) <= WIDTH


def test_a_measurement_says_what_was_found() -> None:
    data = [(torch.randn(40, 15, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 6)]
    found = og.measure(torch.nn.Linear(15, 6), torch.nn.CrossEntropyLoss(), data, k=5, steps=20)
    assert found.parameters == 96
    text = repr(found)
    assert len(text) < 1_500
    assert f"loss={found.loss:.6g}" in text
    assert re.search(r"spectrum=Spectrum\(eigenvalues=float\d\d \(5,\)", text)
    assert "products=" in text
    assert len(text.splitlines()) <= LINES


@brief
@dataclass(frozen=True, eq=False)
class Small:
    values: Any
    name: str = "a"
    hidden: int = dataclasses.field(default=1, repr=False)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.array([[1.0, -2.5], [np.nan, 4.0]]), "float64 (2, 2) -2.5 to 4"),
        (torch.tensor([1.0, 2.0]), "float32 [1, 2]"),
        (torch.tensor(3), "int64 3"),
        (torch.zeros(0, 7), "float32 (0, 7)"),
        (np.array([True, False] * 9), "bool (18,) 0 to 1"),
        (np.array(list("abcdefg")), "<U1 (7,)"),
        (torch.zeros(3, 3, device="meta"), "float32 (3, 3)"),
        (np.full(9, np.nan), "float64 (9,)"),
        (torch.zeros(9, dtype=torch.complex64), "complex64 (9,)"),
        ((1, 2, 3, 4, 5), "(1, 2, 3, 4, … 5 in all)"),
        ({"one": 0.1, "two": -4.0}, "{'one': 0.1, 'two': -4.0}"),
        (1e-12, "1e-12"),
        (None, "None"),
        (torch.nn.functional.relu, "relu"),
    ],
)
def test_values_in_a_few_words(values: Any, told: str) -> None:
    assert repr(Small(values)) == f"Small(values={told}, name='a')"
    assert repr(Small(Small(values, "b"))).startswith("Small(values=Small(values=")
