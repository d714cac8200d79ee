"""Reading files that anybody may have replaced: only regular ones, without waiting, and only up to a size."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 * 2**20


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises OSError for anything else: a FIFO would block, a device may never end, and opening either has effects.
    """
    _require_regular(path, os.stat(path))  # noqa: PTH116 - as below
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    try:
        _require_regular(path, os.fstat(file.fileno()))  # it may be another by now
    except OSError:
        file.close()
        raise
    return file


def read_small(path: Path) -> bytes:
    """Read a small regular file whole; raises OSError also where it is larger than a record could be."""
    with open_regular(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, f"larger than {LARGEST // 2**20} MB", str(path))
    return content


def is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def read_pipe(path: Path, seconds: float) -> bytes:
    """Read what is written to a named pipe until its writer closes it; OSError where that takes longer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    content, deadline = b"", time.monotonic() + seconds
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a named pipe", str(path))
        while (left := deadline - time.monotonic()) > 0 and len(content) <= LARGEST:
            select.select([descriptor], [], [], min(left, 0.05))
            try:
                read = os.read(descriptor, LARGEST)
            except BlockingIOError:
                continue
            if content and not read:
                return content
            content += read
            if not read:  # nobody has it open for writing yet
                time.sleep(0.005)
    finally:
        os.close(descriptor)
    raise OSError(errno.ETIMEDOUT, f"nothing has been written to this pipe within {seconds:g} s", str(path))


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
