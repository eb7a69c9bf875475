"""Writes `docs/measures.md`: every number that the program records, from the registry of quantities and `docs/measures.toml`.

.venv/bin/python docs/measures.py --page docs/measures.md

Names, words and units are the registry's. What a number is, its range, cost, certificate, the test of it and its source stand in
`docs/measures.toml`, for all that is held against generalisation and more; a name there that the registry does not have ends the
script.
"""

import argparse
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orograph.store.lookup import ENTRIES
from orograph.store.measure_quantities import MEASURES
from orograph.store.quantities import Quantity
from sections import table

DEFINITIONS = Path(__file__).with_suffix(".toml")
FIELDS = ("is", "range", "cost", "certificate", "truth", "source", "measure")
NEEDED = ("is", "range", "cost", "truth")

TEXT = """# Every number

What the program records, by the names that records, tables and files have. `docs/measures.py` writes this page from the
registry of quantities, and a test holds it against that. L is the mean loss without its penalty, L_eff = L + λ‖θ − θ_ref‖², H
the Hessian of L, v₁ the eigenvector of its largest eigenvalue, P the number of parameters; a pass is one evaluation of all
samples. Beside a number with a standard error stand `…_error` and `…_margin`, half of its 95 % interval (see [error
bars](error-bars.md)).

Where a measure has a name, `orograph measure`, `sweep` and `study` take it by `--measures`, each once or `all`, and
`orograph.measure` and `orograph.measures.take` in Python; `--dry-run` says what it will take. What a point or a network does
not have is told in `failures` with the reason, and all else goes on: `kfac` needs the extra `kfac`, `influence` test data and a
minimum. In a study they are of the samples that its level takes,
at products of their own beside `--products`.

```sh
orograph sweep --dataset digits --widths 8 --strengths 0.001,0.01 --k 2 --epochs 5 --measures layers,sam --out runs/by-name
```

## Defined, bounded, certified, tested

"""


OTHERS = """

## All others

Settings, counts, steps on the way and arrays, with the dimensions that they have beyond a run's.

"""


def definitions() -> dict[str, dict[str, str]]:
    """What `docs/measures.toml` says, by name.

    Raises:
        ValueError: a name or a field that there is not, or a field that is missing.
    """
    found = tomllib.loads(DEFINITIONS.read_text(encoding="utf-8"))
    for name, entry in found.items():
        lacking = [field for field in NEEDED if field not in entry]
        if name not in ENTRIES or lacking or set(entry) - set(FIELDS):
            raise ValueError(f"{name} is no quantity, or its fields are not those of a definition: {sorted(entry)}")
    return found


def page() -> str:
    """The page as Markdown."""
    known = definitions()
    columns = ("name", "what", "definition", "unit", "range", "cost", "certificate", "test", "source")
    rows = [_row(name, ENTRIES[name], known[name]) for name in _in_order(known)]
    rest = [
        (f"`{name}`", each.long_name, each.units, ", ".join(each.dims)) for name, each in ENTRIES.items() if name not in known
    ]
    return "".join(
        [
            TEXT,
            _table(columns, rows),
            OTHERS,
            _table(("name", "what", "unit", "dimensions"), rest),
            "\n",
        ]
    )


def _in_order(known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Names in the order of the registry, those of `--measures` first."""
    own = [name for name in MEASURES if name in known]
    return own + [name for name in ENTRIES if name in known and name not in own]


def _row(name: str, entry: Quantity, definition: Mapping[str, str]) -> tuple[str, ...]:
    measure = f"`--measures {definition['measure']}`: " if "measure" in definition else ""
    certificate = definition.get("certificate", "exact to rounding")
    error = f" (`{name}_error`)" if entry.error else ""
    cells = (f"`{name}`", entry.long_name, measure + definition["is"], entry.units, definition["range"], definition["cost"])
    return (*cells, certificate + error, f"`{definition['truth']}`", definition.get("source", ""))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """With the bars of absolute values written so that they end no cell."""
    return table(columns, ([cell.replace("|", "&#124;") for cell in row] for row in rows))


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--page", type=Path, default=Path("docs/measures.md"), help="the page to write")
    options.parse_args(arguments).page.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
