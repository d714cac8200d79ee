"""What may stand in place of a file: it blocks, never ends, is huge, or is no file at all."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("fifo", "device", "socket", "directory", "huge", "garbage")
HUGE = 8 * 2**30


def put(kind: str, path: Path) -> None:
    """Put something of this kind in place of a file."""
    remove(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
        (path / "in it").touch()
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(HUGE)  # sparse
    elif kind == "socket":
        _socket(path)
    else:
        path.write_bytes(b"\xff\xfe{[" * 1000)


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _socket(path: Path) -> None:
    here = os.getcwd()  # noqa: PTH109 - the address of a socket must be short
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
