"""Whether anything else runs on this machine, and what machine it is.

A second process slows those competitors most whose products are many small ones, and makes a false victory out of a fair race.
So a benchmark begins by watching the machine for two seconds: `/proc/stat` tells how much of the processors is used by anyone
(or taken by a hypervisor), `/proc/<pid>/stat` by whom. It watches on while it measures (`Watch`), and says afterwards what it
saw.
"""

import contextlib
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

LIMIT = 0.1  # cores that others may use: what an idle system's own services take
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PEERS = ("numpy", "scipy", "curvlinops-for-pytorch", "hessian-eigenthings", "PyHessian")


@dataclass(frozen=True)
class Snapshot:
    """Processor seconds since boot: used by anyone, taken by the hypervisor, and used by each process."""

    time: float
    busy: float
    stolen: float
    processes: dict[int, float]


def snapshot() -> Snapshot | None:
    """The processor time used so far; None where there is no Linux `/proc`."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    except (OSError, ValueError):
        return None
    processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # a process may end while it is read
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                processes[int(entry.name)] = (int(fields[11]) + int(fields[12])) / _TICK
    return Snapshot(time.monotonic(), (user + nice + system + irq + softirq) / _TICK, steal / _TICK, processes)


@dataclass(frozen=True)
class Load:
    """Cores used by others over some time, of which the hypervisor took `stolen`, and the busiest other processes."""

    cores: float
    stolen: float
    processes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        return self.cores <= LIMIT


def load_between(before: Snapshot, after: Snapshot, own: Iterable[int]) -> Load:
    """What others used between two snapshots."""
    seconds = after.time - before.time
    used = {pid: total - before.processes.get(pid, 0.0) for pid, total in after.processes.items()}
    own = set(own)
    stolen = after.stolen - before.stolen
    others = after.busy - before.busy - sum(spent for pid, spent in used.items() if pid in own) + stolen
    busiest = sorted(((spent / seconds, pid) for pid, spent in used.items() if pid not in own and spent > 0), reverse=True)
    return Load(max(0.0, others / seconds), stolen / seconds, busiest)


def describe(load: Load) -> str:
    """Who is busy, in one sentence."""
    names = [f"{_command(pid)} ({pid}) {100 * share:.0f} %" for share, pid in load.processes[:4] if share > 0.01]
    if load.stolen > 0.01:
        names.append(f"the hypervisor {100 * load.stolen:.0f} %")
    return f"others use {100 * load.cores:.0f} % of a core: {', '.join(names) or 'processes that have ended since'}."


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        return " ".join([Path(words[0]).name, *words[1:3]]).strip()[:60] or Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process that has ended"


def require_quiet(*, force: bool, seconds: float = 2.0) -> bool:
    """Whether the machine is quiet; ends the program if it is not, unless forced.

    Watches for `seconds`; a first look that finds something busy is repeated once, because what started the program may still
    be ending. Where it is forced, one look is enough.
    """
    for _ in range(1 if force else 2):
        before = snapshot()
        time.sleep(seconds)
        after = snapshot()
        if before is None or after is None:
            reason = "this system has no /proc, so it cannot be seen whether anything else runs."
            break
        load = load_between(before, after, {os.getpid()})
        if load.quiet:
            return True
        reason = describe(load)
    if not force:
        print(f"not measured: {reason} Stop it, or pass --force for a table that is marked as not valid.", file=sys.stderr)
        raise SystemExit(2)
    print(f"warning: {reason} The tables will be marked as not valid.", file=sys.stderr)
    return False


class Watch:
    """Watches the load while a benchmark measures.

    Attributes:
        own: the processes that are the benchmark.
        worst: the heaviest load of others in any second or more.
    """

    def __init__(self) -> None:
        self.own = {os.getpid()}
        self.worst: Load | None = None
        self._last = snapshot()
        self._used = self._seconds = 0.0

    @property
    def cores(self) -> float:
        """Cores that others used on average while the benchmark measured; 0 where that cannot be seen."""
        return self._used / self._seconds if self._seconds else 0.0

    def look(self) -> None:
        now = snapshot()
        if now is None or self._last is None or now.time - self._last.time < 1.0:
            return
        load = load_between(self._last, now, self.own)
        self._used += load.cores * (now.time - self._last.time)
        self._seconds += now.time - self._last.time
        if self.worst is None or load.cores > self.worst.cores:
            self.worst = load
        self._last = now

    def pause(self, seconds: float = 1.1) -> None:
        """Looks at the machine while the benchmark itself does nothing: for one whose work is done by other processes."""
        self.skip()
        time.sleep(seconds)
        self.look()

    def skip(self) -> None:
        """Leaves out the time since the last look: nothing was measured in it."""
        self._last = snapshot()


def machine(device: str = "cpu") -> list[str]:
    """Processor, cores, threads, memory and versions, one line each."""
    cores, threads = _count(os.cpu_count() or 1, "core"), _count(torch.get_num_threads(), "thread")
    lines = [f"{_processor()}, {cores}, {threads}, {_memory()}; {platform.system()}"]
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        lines.append(f"{properties.name}, {properties.total_memory / 1e9:.0f} GB; CUDA {torch.version.cuda}")
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}", f"orograph {_version('orograph')}"]
    lines.append(", ".join(versions + [f"{name} {_version(name)}" for name in _PEERS if _version(name)]))
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({torch.backends.cpu.get_cpu_capability()})"
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (ValueError, OSError):
        return "memory unknown"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
