"""What a run records of the program and the machine that made it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("orograph", "torch", "numpy", "scipy", "zarr", "xarray", "pyarrow", "pydantic", "mlxtend", "scikit-learn")


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, as plain values."""
    return {"versions": {"python": platform.python_version(), **_versions()}, "hardware": _hardware(device)}


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
