"""The files of `data.paths` in an export: a member with a file's name and mode is followed by its content."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.data.archive import BLOCK
from orienter_tasks.data.files import PATHS
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.files import open_regular
from orienter_tasks.machine.state import failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from orienter_tasks.data.archive import Member, Writer

FACTS = ".json"
LONGEST = 2**16


class FileFacts(msgspec.Struct, frozen=True):
    """A file's path below DATA_DIR, and its mode."""

    path: str
    mode: int


def save(place: Path, archive: Writer) -> None:
    """Write the files in a directory, which nobody changes; directories without a file are left out."""
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    for number, name in enumerate(names):
        facts = FileFacts(name, stat.S_IMODE((place / name).stat().st_mode) & 0o777)
        archive.add(f"{PATHS}/{number}{FACTS}", [_encoded(place / name, facts)])
        archive.add(f"{PATHS}/{number}", _blocks(place / name))


def load(place: Path, members: Iterable[Member]) -> None:
    """Write the files of an export, which is not to be trusted, into a new directory.

    Raises:
        CheckError: a path leads out of it, or two cannot be beside each other.
    """
    facts: FileFacts | None = None
    place.mkdir(mode=0o700)
    for member in members:
        if member.name.endswith(FACTS):
            facts = _facts(member)
        elif facts is None:
            raise CheckError(f"the export is damaged: it does not say what {member.name} is")
        else:
            _write(place / facts.path, facts, member)
            facts = None


def _write(path: Path, facts: FileFacts, member: Member) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as file:
            for block in member.blocks():
                file.write(block)
            os.fchmod(file.fileno(), facts.mode & 0o777)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise CheckError(f"the export is damaged: {facts.path!r} cannot be beside another of its files") from error
    except OSError as error:
        raise failure(path, f"cannot write {path}", error) from error


def _encoded(path: Path, facts: FileFacts) -> bytes:
    try:
        return msgspec.json.encode(facts)
    except UnicodeEncodeError as error:
        raise CheckError(f"{str(path)!r} cannot be in an export: its name is not UTF-8") from error


def _blocks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            yield block


def _facts(member: Member) -> FileFacts:
    if member.size > LONGEST:
        raise CheckError(f"the export is damaged: {member.name} is too long")
    try:
        facts = msgspec.json.decode(b"".join(member.blocks()), type=FileFacts)
    except msgspec.DecodeError as error:
        raise CheckError(f"the export is damaged: {member.name}: {error}") from error
    if not {"", ".", ".."}.isdisjoint(facts.path.split("/")) or "\0" in facts.path:
        raise CheckError(f"the export has a file {facts.path!r}, which is not a path below DATA_DIR")
    return facts
