"""Dask and Ray clusters: those at an address, or local ones.

They start and end in the background, in one thread that lives as long as the process: what Ray starts dies with the thread
that started it. Nothing here needs torch, so that a cluster can start while torch is imported.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from orograph.errors import ConfigurationError

PATIENCE = 20  # seconds in which a scheduler must answer

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
    cluster = None
    if not address:
        cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None)
    try:
        return Client(address or cluster, timeout=PATIENCE), cluster
    except OSError as error:
        raise ConfigurationError(f"no Dask scheduler answers at `address` {address}: {error}") from None


def _ray(jobs: int, address: str) -> Any:
    """The package, which knows of one cluster."""
    try:
        import ray
    except ImportError:
        raise ConfigurationError("`parallel` ray needs the package ray: pip install 'orograph[ray]'.") from None
    where = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigurationError(f"no Ray cluster answers at `address` {address}: {error}") from None
    return ray


_STARTS: dict[str, Callable[[int, str], Any]] = {"dask": _dask, "ray": _ray}
