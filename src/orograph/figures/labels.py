"""What figures write of a quantity: its symbol, its name and its unit, as the registry has them."""

import re

from orograph.store.lookup import quantity


def label(name: str, *, unit: bool = True) -> str:
    """A quantity as it is written on an axis: its symbol or its name, and its unit."""
    known = quantity(name)
    text = typeset(known.symbol) or known.long_name
    return f"{text} ({known.units})" if unit and known.units != "1" else text


def title_of(name: str) -> str:
    """A quantity as the title of a panel."""
    text = label(name)
    return text[:1].upper() + text[1:]


def short_label(name: str) -> str:
    """A quantity as it is written in a legend."""
    return typeset(quantity(name).heading)


def typeset(symbol: str) -> str:
    """A formula with what stands after `_` below the line."""
    return re.sub(r"_([^\W_]+)", r"$_{\\mathrm{\1}}$", symbol)
