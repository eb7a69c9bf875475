"""One writer at a time: an advisory lock on a file in the run, which the system releases when its process ends, however it ends.

So a stale lock cannot be. The file is emptied on release and stays, because deleting it would let two processes hold
different files. What is there under its name and is none, such as a link to something else, is left alone.
"""

import fcntl
import os
import re
import socket
import stat
from pathlib import Path

from orograph.errors import RunError

LOCK_NAME = ".lock"
_HOLDER = re.compile(rb"(process \d+ on [^\n]*\n)?")


class RunLock:
    """The right to write to a run, held from construction to `release`."""

    def __init__(self, folder: Path) -> None:
        """Raises:
        RunError: another process holds it, the file cannot be written, or it is something else.
        """
        path = folder / LOCK_NAME
        if path.is_symlink() or path.is_dir():
            raise RunError(f"{path} is a {'link' if path.is_symlink() else 'folder'}, not a lock; remove it, and run again.")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise RunError(f"cannot write to {folder}: {error.strerror}; choose another place.") from None
        regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        if not regular or not _HOLDER.fullmatch(os.pread(self._descriptor, 400, 0)):
            os.close(self._descriptor)
            raise RunError(f"{path} is not the lock of a run; remove it, and run again.")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(self._descriptor)
            raise RunError(f"the run {folder} is being written by {holder}; wait for it or stop it, then run again.") from None
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            os.close(self._descriptor)
            raise RunError(f"cannot write {path}: {error.strerror}; free the disk, and run again.") from None

    def release(self) -> None:
        """Let another process write; harmless when already released."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
