"""Copying directories of data, and their checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from orienter_tasks.data.manifest import Content
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


def copy(source: Path, target: Path, *, leave_out: Callable[[str], bool] = lambda _: False) -> None:
    """Copy a directory that may change meanwhile: what disappears is left out, and so are names for `leave_out`.

    Files share their blocks with the original where the file system can do that; none is a hard link.

    Raises:
        CheckError: there is something else than files and directories, or no space is left.
    """
    try:
        _copy(str(source), str(target), leave_out, Cloning())
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
    missing = f"files of {part.component} are missing or have changed"
    try:
        whole = hashlib.sha256()
        with open_regular(place / f"{part.component}.sha256") as file:
            written = _lines(file)
            for name, _, digest in _hashed(place, part.component):
                line, expected = _line(name, digest), next(written, b"")
                if line != expected:
                    same = expected.endswith(line[len(digest) :])
                    damage = f"{os.fsdecode(name)} has changed" if same else missing
                    raise CheckError(f"{what} is damaged: {damage}", hint=f"see: {place}")
                whole.update(line)
    except OSError as error:
        raise CheckError(f"{what} is damaged: {error.filename or place}: {error.strerror}") from error
    if whole.hexdigest() != part.digest:
        raise CheckError(f"{what} is damaged: {missing}", hint=f"see: {place}")


class Cloning:
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


def _copy(source: str, target: str, leave_out: Callable[[str], bool], cloning: Cloning) -> None:
    """Paths are strings here: with pathlib, a copy of small files takes half as long again."""
    raise_unheard()
    with suppress(FileExistsError):
        os.mkdir(target, 0o700)  # noqa: PTH102
    with os.scandir(source) as entries:
        for entry in entries:
            if leave_out(entry.name):
                continue
            copied = f"{target}/{entry.name}"
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise CheckError(f"{entry.path} is neither a file nor a directory: it cannot be copied")
            with suppress(FileNotFoundError):
                if entry.is_dir():
                    _copy(entry.path, copied, leave_out, cloning)
                else:
                    copy_file(entry.path, copied, cloning)
    shutil.copystat(source, target)


def copy_file(source: str, target: str, cloning: Cloning) -> None:
    with _opened(source, os.O_RDONLY) as read, _opened(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as written:
        status = os.fstat(read)
        if not cloning.file(read, written):
            while block := os.read(read, min(BLOCK, status.st_size + 1)):
                raise_unheard()
                _write(written, block)
        os.fchmod(written, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, block: bytes) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


def _line(name: bytes, digest: str) -> bytes:
    """As of sha256sum --zero: a name may contain line breaks."""
    return f"{digest}  ".encode() + name + b"\0"


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := file.read(BLOCK):
        *lines, rest = (rest + block).split(b"\0")
        yield from (line + b"\0" for line in lines)


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
