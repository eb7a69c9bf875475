"""What figures write of a quantity: its symbol, its name and its unit, as the registry has them."""

import re
from dataclasses import replace

import xarray as xr

from orograph.metrics import ACCURACY
from orograph.store.lookup import quantity
from orograph.store.quantities import Quantity
from orograph.store.wording import Wording

_FORMULA = re.compile(r"\b(\w)_([^\W_]+)")  # within words, where other names may hold a _, too


def label(name: str, *, unit: bool = True, of: xr.Dataset | Wording | None = None) -> str:
    """A quantity as it is written on an axis: its symbol or its name, and its unit; in the words of a run where that is given."""
    known = said(name, of)
    text = typeset(known.symbol) or _FORMULA.sub(r"\1$_{\\mathrm{\2}}$", known.long_name)
    return f"{text} ({known.units})" if unit and known.units != "1" else text


def said(name: str, of: xr.Dataset | Wording | None) -> Quantity:
    """What is known of a quantity; its words and its unit those of a run that has it."""
    known = quantity(name)
    if isinstance(of, Wording):
        return of.of(name, known)
    if of is None or name not in of:
        return known
    attributes = of[name].attrs
    return replace(known, long_name=attributes.get("long_name", known.long_name), units=attributes.get("units", known.units))


def score_of(ds: xr.Dataset) -> str:
    """The name of the metric that figures of a run show, on the test data where it has some; empty where it has none."""
    name = ds.attrs.get("score", ACCURACY.name)
    return next((key for key in (f"test_{name}", f"train_{name}") if name and key in ds), "")


def title_of(name: str, *, of: xr.Dataset | Wording | None = None) -> str:
    """A quantity as the title of a panel."""
    text = label(name, of=of)
    return text[:1].upper() + text[1:]


def short_label(name: str) -> str:
    """A quantity as it is written in a legend."""
    return typeset(quantity(name).heading)


def typeset(symbol: str) -> str:
    """A formula with what stands after `_` below the line."""
    return re.sub(r"_([^\W_]+)", r"$_{\\mathrm{\1}}$", symbol)
