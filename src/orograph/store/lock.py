"""One writer at a time: an advisory lock on a file in the run, which the system releases when its process ends, however it ends.

So a stale lock cannot be. The file is emptied on release and stays, because deleting it would let two processes hold
different files.
"""

import fcntl
import os
import socket
from pathlib import Path

from orograph.errors import RunError

LOCK_NAME = ".lock"


class RunLock:
    """The right to write to a run, held from construction to `release`."""

    def __init__(self, folder: Path) -> None:
        """Raises:
        RunError: another process holds it, or the file cannot be written.
        """
        try:
            self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunError(f"cannot write to {folder}: {error.strerror}; choose another place.") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(self._descriptor)
            raise RunError(f"the run {folder} is being written by {holder}; wait for it or stop it, then run again.") from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Let another process write; harmless when already released."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
