"""Dask and Ray clusters: those at an address, or local ones.

They start and end in the background, in one thread that lives as long as the process: what Ray starts dies with the thread
that started it. Nothing here needs torch, so that a cluster can start while torch is imported.
"""

import logging
import os
import re
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from orograph.errors import ConfigurationError, RunError

PATIENCE = 6  # seconds in which a scheduler must answer
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of a client of HTTP/2: RFC 9113, 3.4

Wanted = tuple[str, int, str]  # the kind, `dask` or `ray`; the workers of a local cluster; the address of another
_ASIDE = ThreadPoolExecutor(1)
_BEGUN: dict[Wanted, "Future[Any]"] = {}


def begin(kind: str, jobs: int, address: str) -> None:
    """Starts a cluster; `started` has it. One that nobody asks for ends with the process."""
    _BEGUN[kind, jobs, address] = _ASIDE.submit(_STARTS[kind], jobs, address)


def started(kind: str, jobs: int, address: str) -> Any:
    """The cluster that was begun, or a new one.

    Raises:
        ConfigurationError: a package is not installed, or no cluster answers at the address.
    """
    if (kind, jobs, address) not in _BEGUN:
        begin(kind, jobs, address)
    return _BEGUN.pop((kind, jobs, address)).result()


def end(stop: Callable[[], Any]) -> None:
    """Ends a cluster; the process waits for it before it ends itself."""
    _ASIDE.submit(stop)


def _dask(jobs: int, address: str) -> tuple[Any, Any]:
    """The client, and the cluster where it is a local one."""
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigurationError("`parallel` dask needs the package distributed: pip install 'orograph[dask]'.") from None
    config.set(
        {
            "distributed.scheduler.allowed-failures": 0,  # a lost task comes back at once
            "distributed.worker.profile.enabled": False,  # or a thread of each worker stops its work to look at it
            # Without MALLOC_TRIM_THRESHOLD_, which gives every buffer back to the system and fetches it anew.
            "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
        }
    )
    for name in ("distributed.client", "tornado.application"):  # what they log of a lost scheduler is said in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    cluster = None
    if address:
        require_answer("Dask scheduler", address)
    else:
        cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None)
    try:
        return Client(address or cluster, timeout=PATIENCE), cluster
    except (OSError, ValueError) as error:  # ValueError: a protocol that Dask does not know
        raise ConfigurationError(f"no Dask scheduler answers at `address` {address}: {error}") from None


def _ray(jobs: int, address: str) -> Any:
    """The package, which knows of one cluster."""
    try:
        import ray
    except ImportError:
        raise ConfigurationError("`parallel` ray needs the package ray: pip install 'orograph[ray]'.") from None
    if address:
        require_answer("Ray cluster", address)
    where = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigurationError(f"no Ray cluster answers at `address` {address}: {error}") from None
    return ray


class Line:
    """The connection to a cluster elsewhere; one that was started here ends with this process.

    Args:
        what: is at the other end.
        address: of it, empty where it was started here.
    """

    def __init__(self, what: str, address: str) -> None:
        self.dead = False
        self._what, self._address = what, address

    def check(self) -> None:
        """Asks whether it is still there.

        Raises:
            RunError: it does not answer.
        """
        if not self._address:
            return
        try:
            require_answer(self._what, self._address)
        except ConfigurationError as error:
            self.dead = True
            raise RunError(
                f"{str(error).rstrip('.')}; what is finished is committed, and the same command does the rest."
            ) from None


def require_answer(what: str, address: str) -> None:
    """Whether a scheduler speaks at `host:port` or `ray://host:port`: clients try, or wait for a greeting, for ever.

    Raises:
        ConfigurationError: nothing answers within `PATIENCE`, or something else, or the address is no such.
    """
    found = re.fullmatch(r"(?:(\w+)://)?([^\s:/]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", address)
    if found is None:
        if address in ("auto", "local"):  # Ray's own words, which it answers at once
            return
        raise ConfigurationError(f"`address` {address} of a {what} must be like host:port.")
    try:
        with socket.create_connection((found[2].strip("[]"), int(found[3])), timeout=PATIENCE) as line:
            if found[1] in ("tls", "wss", "ws", "ucx") or os.environ.get("RAY_USE_TLS", "0") != "0":
                return  # greets in its own way
            if not _greets(what, line):
                raise ConfigurationError(f"what answers at `address` {address} is no {what}; give the address of one.")
    except (OSError, OverflowError, UnicodeError) as error:  # also of names that cannot be resolved, and ports that are none
        raise ConfigurationError(f"no {what} answers at `address` {address}: {error}.") from None


def _greets(what: str, line: socket.socket) -> bool:
    """Whether the first frame is Dask's (the length of a short message) or one of gRPC, which Ray speaks (HTTP/2's settings)."""
    if "Ray" in what:
        line.sendall(_PREFACE)
    frame = b""
    while len(frame) < 8 and (more := line.recv(8 - len(frame))):
        frame += more
    if len(frame) < 8:
        return False
    return frame[3] == 4 if "Ray" in what else 0 < int.from_bytes(frame, "little") < 2**20


_STARTS: dict[str, Callable[[int, str], Any]] = {"dask": _dask, "ray": _ray}
