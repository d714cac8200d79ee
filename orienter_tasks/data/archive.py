"""The file of an export: a tar of plain members, the manifest first.

manifest.json        as long as MANIFEST_BYTES: it is filled in last
COMPONENT/NAME       what a component wrote, in its own order

Only plain members are read: no links, devices, directories or extended headers.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from orienter_tasks.data import manifest
from orienter_tasks.data.manifest import MANIFEST, NAME, Content
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError
from orienter_tasks.identity.claims import new_token
from orienter_tasks.machine.files import open_regular
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from orienter_tasks.data.manifest import Manifest

MANIFEST_BYTES = 2**16
BLOCK = 2**20


class Writer:
    """Writes an export."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digests: dict[str, tuple[int, int, hashlib._Hash]] = {}

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a member, whose length is known at its end."""
        start, digest, size = self._file.tell(), hashlib.sha256(), 0
        self._file.write(bytes(tarfile.BLOCKSIZE))
        for block in blocks:
            raise_unheard()
            self._file.write(block)
            digest.update(block)
            size += len(block)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(name, size))
        self._file.seek(end)
        component = name.partition("/")[0]
        total, files, whole = self._digests.get(component, (0, 0, hashlib.sha256()))
        whole.update(_line(name, digest.hexdigest()))
        self._digests[component] = (total + size, files + 1, whole)

    def position(self) -> int:
        """Return how many bytes have been written so far; ValueError once it is closed."""
        return self._file.tell()

    def content(self, component: str) -> Content:
        size, files, whole = self._digests.get(component, (0, 0, hashlib.sha256()))
        return Content(size, files, whole.hexdigest())

    def finish(self, content: Manifest) -> None:
        encoded = manifest.encode(content)
        if len(encoded) > MANIFEST_BYTES:
            raise CheckError("the manifest is too long for an export")
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.seek(0)
        self._file.write(_header(MANIFEST, MANIFEST_BYTES) + encoded.ljust(MANIFEST_BYTES))


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Yield the writer of a new file, which only its owner may read and which has its name when it is whole.

    Raises:
        ConflictError: there is a file of that name.
        CheckError: it cannot be written.
    """
    if os.path.lexists(path):
        raise ConflictError(f"{path} is there already", hint="take another name, or remove it")
    partial = path.with_name(f".{path.name[:100]}.{new_token()}")
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "r+b") as file:
                file.seek(tarfile.BLOCKSIZE + MANIFEST_BYTES)
                yield Writer(file)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(partial, path)  # a rename would replace what has appeared there meanwhile
            except FileExistsError as error:
                raise ConflictError(f"{path} is there already", hint="take another name, or remove it") from error
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
    except OSError as error:
        raise failure(path, f"cannot write {path}", error) from error


class Member:
    """A member of an export that is being read."""

    def __init__(self, file: IO[bytes], name: str, size: int, what: str) -> None:
        self.name = name
        self.size = size
        self._file = file
        self._what = what

    def blocks(self) -> Iterator[bytes]:
        left = self.size
        while left:
            raise_unheard()
            block = self._file.read(min(left, BLOCK))
            if not block:
                raise CheckError(f"{self._what} is damaged: it ends within {self.name}")
            left -= len(block)
            yield block


class Archive:
    """An export that was opened for reading."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file = file
        self._what = what
        first = next(self._members(), None)
        if first is None or first.name != MANIFEST or first.size > MANIFEST_BYTES:
            raise CheckError(f"{what} is not an export of inv data.export")
        self.manifest = manifest.decode(b"".join(first.blocks()), what)

    def position(self) -> int:
        """Return where it is being read; ValueError once it is closed."""
        return self._file.tell()

    def members(self, component: str) -> Iterator[Member]:
        """Yield the members of a component, in their order; each is to be read before the next one."""
        for member in self._members():
            if member.name.startswith(f"{component}/"):
                yield member

    def verify(self) -> None:
        """Require that everything is as it was written.

        Raises:
            CheckError: it is not.
        """
        found: dict[str, tuple[int, int, hashlib._Hash]] = {
            part.component: (0, 0, hashlib.sha256()) for part in self.manifest.parts
        }
        for member in self._members():
            component, _, name = member.name.partition("/")
            if member.name == MANIFEST:
                for _ in member.blocks():
                    pass
                continue
            if component not in found or not NAME.fullmatch(name):
                raise CheckError(f"{self._what} is damaged: it has a member {member.name!r}")
            digest = hashlib.sha256()
            for block in member.blocks():
                digest.update(block)
            size, files, whole = found[component]
            whole.update(_line(member.name, digest.hexdigest()))
            found[component] = (size + member.size, files + 1, whole)
        for part in self.manifest.parts:
            size, files, whole = found[part.component]
            if (size, files, whole.hexdigest()) != (part.size, part.files, part.digest):
                raise CheckError(f"{self._what} is damaged: {part.component} is not what was written")

    def _members(self) -> Iterator[Member]:
        position = 0
        while True:
            self._file.seek(position)
            block = self._file.read(tarfile.BLOCKSIZE)
            if block == bytes(tarfile.BLOCKSIZE):
                return
            try:
                found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise CheckError(f"{self._what} is damaged or not an export: {error}") from error
            if found.type != tarfile.REGTYPE or found.size < 0:
                raise CheckError(f"{self._what} has a member that is not a plain file: {found.name!r}")
            yield Member(self._file, found.name, found.size, self._what)
            position += tarfile.BLOCKSIZE + found.size + -found.size % tarfile.BLOCKSIZE


@contextmanager
def reading(path: Path) -> Iterator[Archive]:
    """Yield an export.

    Raises:
        NotFoundError: the file does not exist.
        ConfigError, CheckError: a newer version wrote it, or it is damaged.
    """
    try:
        with open_regular(path) as file:
            yield Archive(file, str(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist", hint="inv data.export FILE makes one") from error
    except OSError as error:
        raise failure(path, f"cannot read {path}", error) from error


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry.tobuf(tarfile.GNU_FORMAT)


def _line(name: str, digest: str) -> bytes:
    return f"{digest}  {name}\0".encode()
