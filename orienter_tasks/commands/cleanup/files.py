"""An instance's own files in its checkout, reached without ever following a symbolic link."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.cleanup.model import Resource
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.directories import LINKED, is_direct, remove
from orienter_tasks.machine.state import SCHEMA_VERSION
from orienter_tasks.processes.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.identity.claims import Claim

PARENTS = {"data": ".dev-data", "logs": "logs", "pids": ".dev-pids"}
LOG_NAME = re.compile(r".+\.log(\.\d+)?")
RECORD_BYTES = 100_000


class ChangedError(Exception):
    """What was planned for is not as it was: it is left alone."""


def directories(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give the directories that are an instance's own."""
    for component, parent in PARENTS.items():
        path = place / parent / f"instance-{claim.id}"
        if os.path.lexists(path):
            yield _resource("directory", claim, path, component=component, blocker="" if _direct(path) else LINKED)


def logs(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give an instance's logs that hold anything."""
    with contextlib.suppress(ChangedError), _opened(place, PARENTS["logs"], f"instance-{claim.id}") as directory:
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - the directory that was opened
            status = _status(name, directory)
            if status is None or stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not status.st_size):
                continue
            yield _resource(
                "log",
                claim,
                place / PARENTS["logs"] / f"instance-{claim.id}" / name,
                component=name,
                size=status.st_size,
                written_at=status.st_mtime,
                blocker=_against_log(name, status),
            )


def dead_records(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give the records of processes that are gone; what cannot be read as a record has an blocker."""
    with contextlib.suppress(ChangedError), _opened(place, PARENTS["pids"], f"instance-{claim.id}") as directory:
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - the directory that was opened
            if not name.endswith(".json") or name.startswith("."):
                continue
            blocker = ""
            try:
                record = msgspec.json.decode(_read(name, directory), type=Record)
            except (OSError, msgspec.DecodeError):
                blocker = "it cannot be read as a record"
            else:
                if record.schema_version != SCHEMA_VERSION:
                    blocker = "another version of this program wrote it"
                elif (record.project, record.instance) != (claim.project, claim.id) or record.root not in claim.roots:
                    blocker = "it is another instance's record"
                elif record.alive():
                    continue
            path = place / PARENTS["pids"] / f"instance-{claim.id}" / name
            yield _resource("record", claim, path, component=name.removesuffix(".json"), blocker=blocker)


def truncate(resource: Resource) -> None:
    """Empty a log that is as it was when it was looked at; its file stays, and so does whoever has it open.

    Raises:
        ChangedError: it has been written to since, or is another file.
        CheckError: it cannot be done.
    """
    path = Path(resource.key)
    with _opened(path.parents[2], path.parts[-3], path.parts[-2]) as directory:
        try:
            file = os.open(path.name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckError(f"{path} cannot be emptied: {error.strerror}") from error
        with os.fdopen(file, "wb"):
            status = os.fstat(file)
            if _against_log(path.name, status) or (status.st_size, status.st_mtime) != (
                resource.size,
                resource.written_at,
            ):
                raise ChangedError("it was written to just now")
            os.ftruncate(file, 0)


def remove_record(resource: Resource) -> None:
    """Remove the record of a process that is gone.

    Raises:
        ChangedError: there is a new one of that name, whose process lives.
        CheckError: it cannot be done.
    """
    path = Path(resource.key)
    with _opened(path.parents[2], path.parts[-3], path.parts[-2]) as directory:
        try:
            if msgspec.json.decode(_read(path.name, directory), type=Record).alive():
                raise ChangedError("its component was started just now")
            os.unlink(path.name, dir_fd=directory)
            os.unlink(f"{path.stem}.exit", dir_fd=directory)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            raise CheckError(f"{path} cannot be removed: {error}") from error


def remove_directory(resource: Resource) -> None:
    """Remove a directory of an instance with all that is in it.

    Raises:
        ChangedError: a symbolic link is in the way by now.
        CheckError: something in it cannot be removed.
    """
    path = Path(resource.key)
    if os.path.lexists(path) and not _direct(path):
        raise ChangedError(LINKED)
    remove(path)


def _resource(kind: str, claim: Claim, path: Path, **facts: object) -> Resource:
    return Resource(kind, str(path), str(path), claim.project, claim.id, claim.root, **facts)  # type: ignore[arg-type]


def _direct(path: Path) -> bool:
    """Whether a directory is where its path says: no link on the way, and none itself."""
    return is_direct(path) and path.is_dir() and not path.is_symlink()


def _against_log(name: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_nlink > 1:
        return "it has another name elsewhere"
    return "" if LOG_NAME.fullmatch(name) else "it is no log by its name"


@contextmanager
def _opened(place: Path, parent: str, leaf: str) -> Iterator[int]:
    """Open a directory below a checkout, following no link.

    Raises:
        ChangedError: there is none of that kind.
    """
    held: list[int] = []
    try:
        for step in (str(place), parent, leaf):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                held.append(os.open(step, flags, dir_fd=held[-1] if held else None))
            except OSError as error:
                raise ChangedError(f"its directory cannot be opened: {error.strerror}") from error
        yield held[-1]
    finally:
        for descriptor in held:
            os.close(descriptor)


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _read(name: str, directory: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(RECORD_BYTES)
