"""Files that somebody else may have made: regular ones only, and no more of them than there can rightly be.

A pipe or a device would be waited for, or never end; so nothing is opened by its name alone that was not written just now.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_MOST = 2**30  # bytes of a text or a record


def open_file(path: Path) -> BufferedReader:
    """A regular file, to read from.

    Raises:
        OSError: there is none, it may not be read, or it is a folder, a pipe or a device; `strerror` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # of a pipe: does not wait for its writer
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        code, words = (errno.EISDIR, "it is a folder") if stat.S_ISDIR(mode) else (errno.EINVAL, "it is no regular file")
        raise OSError(code, words, str(path))
    return open(descriptor, "rb")


def read_file(path: Path, most: int = _MOST) -> bytes:
    """All of a regular file.

    Raises:
        OSError: as `open_file`, or it has more than `most` bytes.
    """
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return content
