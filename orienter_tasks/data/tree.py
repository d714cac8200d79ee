"""Copying directories of data, and their checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.files import open_regular
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure, hand_over
from orienter_tasks.machine.threads import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.data.manifest import Part

FICLONE = 0x40049409
"""The request that makes a file share another's blocks until either is written to: ioctl_ficlone(2)."""
NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF)
BLOCK = 2**20
AT_ONCE = 256


class Content(NamedTuple):
    """What a part of a copy consists of: bytes, files, and the SHA-256 of its list of checksums."""

    size: int
    files: int
    digest: str


def copy(source: Path, target: Path, *, leave_out: Callable[[str], bool] = lambda _: False) -> None:
    """Copy a directory that may change meanwhile: what disappears is left out, and so are names for `leave_out`.

    Files share their blocks with the original where the file system can do that; none is a hard link.

    Raises:
        CheckError: there is something else than files and directories, or no space is left.
    """
    try:
        _copy(source, target, leave_out, _Cloning())
        hand_over(target)
    except OSError as error:
        raise failure(target, f"cannot copy {source} to {target}", error) from error


def write_checksums(place: Path, component: str) -> Content:
    """Write the checksums of a component's directory or file of a snapshot into a file beside it."""
    whole, size, files = hashlib.sha256(), 0, 0
    try:
        with (place / f"{component}.sha256").open("xb") as file:
            for name, length, digest in _hashed(place, component):
                line = _line(name, digest)
                whole.update(line)
                file.write(line)
                size, files = size + length, files + 1
    except OSError as error:
        raise failure(place, f"cannot write the checksums in {place}", error) from error
    return Content(size, files, whole.hexdigest())


def verify(place: Path, part: Part, what: str) -> None:
    """Require that a component's files in a snapshot are those that were written; `what` names the snapshot.

    Raises:
        CheckError: they are not.
    """
    try:
        whole, written = hashlib.sha256(), {*(place / f"{part.component}.sha256").read_bytes().split(b"\0")}
        for name, _, digest in _hashed(place, part.component):
            line = _line(name, digest)
            whole.update(line)
            if line[:-1] not in written:
                raise CheckError(f"{what} is damaged: {os.fsdecode(name)} has changed", hint=f"see: {place}")
    except OSError as error:
        raise CheckError(f"{what} is damaged: {error.filename or place}: {error.strerror}") from error
    if whole.hexdigest() != part.digest:
        raise CheckError(
            f"{what} is damaged: files of {part.component} are missing or have changed", hint=f"see: {place}"
        )


class _Cloning:
    """Whether the file system can let a copy share the original's blocks, until that fails."""

    def __init__(self) -> None:
        self.possible = sys.platform.startswith("linux")

    def file(self, source: int, target: int) -> bool:
        if self.possible:
            try:
                fcntl.ioctl(target, FICLONE, source)
            except OSError as error:
                if error.errno not in NO_CLONE:
                    raise
                self.possible = False
        return self.possible


def _copy(source: Path, target: Path, leave_out: Callable[[str], bool], cloning: _Cloning) -> None:
    raise_unheard()
    target.mkdir(mode=0o700, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if leave_out(entry.name):
                continue
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise CheckError(f"{entry.path} is neither a file nor a directory: it cannot be copied")
            with suppress(FileNotFoundError):
                if entry.is_dir():
                    _copy(source / entry.name, target / entry.name, leave_out, cloning)
                else:
                    _copy_file(source / entry.name, target / entry.name, cloning)
    shutil.copystat(source, target)


def _copy_file(source: Path, target: Path, cloning: _Cloning) -> None:
    with source.open("rb") as read, target.open("xb") as written:
        if not cloning.file(read.fileno(), written.fileno()):
            shutil.copyfileobj(read, written, BLOCK)
        status = os.fstat(read.fileno())
        os.fchmod(written.fileno(), stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _line(name: bytes, digest: str) -> bytes:
    """As of sha256sum --zero: a name may contain line breaks."""
    return f"{digest}  ".encode() + name + b"\0"


def _hashed(place: Path, component: str) -> Iterator[tuple[bytes, int, str]]:
    """Yield the name below `place`, the size and the digest of each file of a component, sorted by name."""
    names: list[str] = []
    for name in _files(place, component if (place / component).exists() else f"{component}.tar"):
        names.append(name)
        if len(names) == AT_ONCE:
            yield from map_in_threads(lambda each: _digest(place, each), names)
            names = []
    yield from map_in_threads(lambda each: _digest(place, each), names)


def _files(place: Path, name: str) -> Iterator[str]:
    path = place / name
    if not path.is_dir() or path.is_symlink():
        yield name
        return
    for each in sorted(os.listdir(path)):  # noqa: PTH208 - names
        yield from _files(place, f"{name}/{each}")


def _digest(place: Path, name: str) -> tuple[bytes, int, str]:
    raise_unheard()
    digest, size = hashlib.sha256(), 0
    with open_regular(place / name) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return os.fsencode(name), size, digest.hexdigest()
