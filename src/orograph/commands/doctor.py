"""The command `orograph doctor`: what this installation is and has, for a reader who asks why something is slow or missing.

`orograph doctor RUN` looks through a run for damage instead, and with `--repair` mends it.
"""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.commands.repairing import inspect, repair
from orograph.commands.settings import DoctorSettings
from orograph.data.download import cache_folder
from orograph.data.local import find_files
from orograph.data.names import DATA_VARIABLE, FACTS
from orograph.errors import ConfigurationError, DataError, shown
from orograph.memory import format_bytes
from orograph.store.branch import ATLAS, BRANCH
from orograph.store.findings import finding_records
from orograph.store.marker import no_run, read_marker
from orograph.store.names import CONFIGURATION, EXTENSION
from orograph.store.provenance import mixture, provenance
from orograph.store.run import Run
from orograph.store.track import TRACK
from orograph.work.wide import show_table

_OF_DEVELOPERS = ("dev", "docs")  # extras that are of no use without a checkout
Row = tuple[str, str, bool]  # what, what it is, whether it is as it should be


def doctor(settings: DoctorSettings) -> int:
    """The command. Returns 0, or 1 where something that is needed is missing, or something in a run is damaged.

    Raises:
        OrographError: there is no such run, or it cannot be repaired.
    """
    if settings.run:
        return look_through(Path(settings.run), repairing=settings.repair)
    if settings.repair:
        raise ConfigurationError("`repair` needs a run: orograph doctor RUN --repair.")
    console = Console(highlight=False)
    sections = {"versions": packages(), "extras": extras(), "machine": machine(), "data": data_found(settings.data_dir)}
    for name, rows in sections.items():
        table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
        table.add_column("", no_wrap=True)
        table.add_column("", overflow="fold")
        for what, text, good in rows:
            table.add_row(what, Text(shown(text), "" if good else "yellow"))
        show_table(table, console)
    return 0 if all(good for _, _, good in sections["versions"]) else 1


def look_through(path: Path, *, repairing: bool) -> int:
    """Tells what is damaged in a run, and mends it if so wanted. Returns 1 while something is damaged."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    damages = inspect(path)
    if not damages:
        run = Run.open(path)
        left = len(run.plan.cells) - len(run.records)
        beside = f", {many} measurements beside them" if (many := len(run.findings)) else ""
        console.print(f"{path} is whole: {len(run.records)} points recorded, {left} to come{beside}.")
        if told := mixture(run):
            console.print(told)
        if (path / EXTENSION).is_dir():
            console.print(f"some of its points have more pairs in {path / EXTENSION}; go on by: orograph extend {path}")
        return 0
    if repairing:
        repair(path, damages)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("damaged", "how", "repaired" if repairing else "a repair would be"):
        table.add_column(name, overflow="fold")
    for damage in damages:
        table.add_row(*map(Text, (shown(damage.path), shown(damage.why), damage.remedy)))
    show_table(table, console)
    again = any(damage.kind in ("point", "finding", "result", "lost") for damage in damages)
    if not repairing:
        console.print(f"to repair: orograph doctor {path} --repair")
        return 1
    rest = remaining(path, results=any(damage.kind == "result" for damage in damages)) if again else ""
    console.print(f"what was removed is made again by: {rest}" if rest else f"{path} is whole again.")
    return 0


def remaining(path: Path, *, results: bool = False) -> str:
    """The command that does what a run still lacks, be it its plan, or the `results` of its analysis."""
    content = read_marker(path)
    if content is None:
        raise no_run(path)
    if "imported" in content["provenance"]:
        return f"the command that imported {path}, given again"
    if content["kind"] == TRACK:
        return f"the training loop that {path} tracks, run again"
    if content["kind"] == ATLAS:
        return f"the command that made {path}, given again"
    name = "follow" if content["kind"] == BRANCH else content["kind"]
    again = f"orograph {name} --config {path / CONFIGURATION} --out {path}"
    return f"{again}; orograph analyze {path}" if content["kind"] == "sweep" and (results or finding_records(path)) else again


def packages() -> list[Row]:
    """Python, Orograph and everything that it needs; a missing package is not as it should be."""
    rows = [("python", platform.python_version(), sys.version_info >= (3, 11)), ("orograph", version("orograph"), True)]
    needed = [Requirement(text) for text in requires("orograph") or []]
    for name in sorted(each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})):
        try:
            rows.append((name, version(name), True))
        except PackageNotFoundError:
            rows.append((name, "missing: install orograph again", False))
    return rows


def extras() -> list[Row]:
    """What only some people need: the versions of what an extra brings, or how to install it."""
    rows: list[Row] = []
    conditional = [each for each in map(Requirement, requires("orograph") or []) if each.marker]
    for extra in metadata("orograph").get_all("Provides-Extra") or []:
        if extra in _OF_DEVELOPERS:
            continue
        try:
            brought = [each.name for each in conditional if each.marker and each.marker.evaluate({"extra": extra})]
            rows.append((extra, ", ".join(f"{name} {version(name)}" for name in brought), True))
        except PackageNotFoundError:
            rows.append((extra, f"not installed: pip install 'orograph[{extra}]'", True))
    return rows


def machine() -> list[Row]:
    """Processor, threads, memory, disk, accelerators."""
    hardware = provenance(torch.device("cpu"))["hardware"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = [
        ("system", hardware["system"], True),
        ("processor", f"{hardware['processor']}, {hardware['cores']} cores", True),
        ("threads", f"{torch.get_num_threads()} (OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')})", True),
        ("memory", format_bytes(memory), True),
        ("disk", f"{format_bytes(shutil.disk_usage('.').free)} free here", True),
    ]
    if not torch.cuda.is_available():
        return [*rows, ("accelerator", "none that PyTorch finds; everything runs on the CPU", True)]
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [*rows, *((f"cuda:{i}", f"{each.name}, {format_bytes(each.total_memory)}", True) for i, each in enumerate(names))]


def data_found(data_dir: str | None) -> list[Row]:
    """Where each named data set would come from; nothing is fetched."""
    given = data_dir or os.environ.get(DATA_VARIABLE)
    rows: list[Row] = [("folder", given or f"none: set {DATA_VARIABLE} or --data-dir to use files of your own", True)]
    for name in FACTS:
        if FACTS[name].embedded:
            rows.append((name, "embedded", True))
            continue
        rows.append((name, *_place(name, Path(given).expanduser() if given else None)))
    return rows


def _place(name: str, folder: Path | None) -> tuple[str, bool]:
    cache = cache_folder(name)
    if folder is not None and name != "cifar10":
        try:
            found = find_files(name, folder)
        except DataError as error:
            return str(error), False
        if found.files:
            return str(found.files[0].parent), True
    elif folder is not None and any(folder.rglob("data_batch_1.bin")):
        return str(folder), True
    return (str(cache), True) if cache.is_dir() and any(cache.iterdir()) else ("not here; downloaded when first used", True)
