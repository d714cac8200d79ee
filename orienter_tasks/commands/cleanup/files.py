"""An instance's own files in its checkout, reached without ever following a symbolic link."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.commands.cleanup.execute import ChangedError, one_by_one
from orienter_tasks.commands.cleanup.model import EXISTS, THOROUGH, Kind, Resource, Verdict
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.machine.directories import LINKED, is_direct, remove, size_of
from orienter_tasks.machine.state import SCHEMA_VERSION
from orienter_tasks.processes.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orienter_tasks.commands.cleanup.model import Scope, Snapshot
    from orienter_tasks.commands.cleanup.snapshot import Reading
    from orienter_tasks.identity.claims import Claim

PARENTS = {"data": ".dev-data", "logs": "logs", "pids": ".dev-pids"}
LOG_NAME = re.compile(r".+\.log(\.\d+)?")
LOG_DAYS = 7
DAY = 86400.0
RECORD_BYTES = 100_000


def directories(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give the directories that are an instance's own."""
    for component in PARENTS:
        path = _directory(claim, place, component)
        if os.path.lexists(path):
            yield _resource(DIRECTORY, claim, path, component=component, blocker="" if _is_own(path) else LINKED)


def logs(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give an instance's logs that hold anything."""
    path = _directory(claim, place, "logs")
    for name, directory in _names(path):
        status = _status(name, directory)
        if (
            name == ".gitignore"
            or status is None
            or stat.S_ISDIR(status.st_mode)
            or (stat.S_ISREG(status.st_mode) and not status.st_size)
        ):
            continue
        yield _resource(
            LOG,
            claim,
            path / name,
            component=name,
            size=status.st_size,
            written_at=status.st_mtime,
            blocker=_against_log(name, status),
        )


def dead_records(claim: Claim, place: Path) -> Iterator[Resource]:
    """Give the records of processes that are gone; what cannot be read as a record has a blocker."""
    path = _directory(claim, place, "pids")
    for name, directory in _names(path):
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
            elif not of_claim(claim).is_marked_by(
                project=record.project, instance=record.instance, root=record.root, token=record.token
            ):
                blocker = "it is another instance's record"
            elif record.alive():
                continue
        yield _resource(RECORD, claim, path / name, component=name.removesuffix(".json"), blocker=blocker)


def truncate(resource: Resource) -> None:
    """Empty a log unless it has changed since it was looked at; its file stays, also for those that have it open."""
    path = Path(resource.key)
    with _opened(path.parent) as directory:
        try:
            file = os.open(path.name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckError(f"{path} cannot be emptied: {error.strerror}") from error
        with os.fdopen(file, "wb"):
            status = os.fstat(file)
            as_seen = (status.st_size, status.st_mtime) == (resource.size, resource.written_at)
            if _against_log(path.name, status) or not as_seen:
                raise ChangedError("it was written to just now")
            os.ftruncate(file, 0)


def remove_record(resource: Resource) -> None:
    """Remove the record of a process that is gone, unless a new process has written one of that name since."""
    path = Path(resource.key)
    with _opened(path.parent) as directory:
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
    """Remove a directory of an instance with everything in it, unless a symbolic link is in the way by now."""
    path = Path(resource.key)
    if os.path.lexists(path) and not _is_own(path):
        raise ChangedError(LINKED)
    remove(path)


def _find_directories(reading: Reading) -> Iterator[Resource]:
    for holder in reading.holders:
        if reading.scope.covers(holder.claim.id) and holder.place:
            yield from directories(holder.claim, Path(holder.place))


def _find(find: Callable[[Claim, Path], Iterator[Resource]], reading: Reading) -> Iterator[Resource]:
    """Find files of checkouts that exist."""
    for holder in reading.holders:
        if holder.checkout.state is CheckoutState.HERE and os.path.realpath(holder.place) == holder.place:
            yield from find(holder.claim, Path(holder.place))


def _is_old(_: Scope, snapshot: Snapshot, resource: Resource) -> Verdict:
    written_at = snapshot.taken_at if resource.written_at is None else resource.written_at
    days = (snapshot.taken_at - written_at) / DAY
    words = f"last written to {days:.0f} days ago" if days >= 1 else "written to within a day"
    return Verdict(days > LOG_DAYS, words)


def _is_dead(_: Scope, snapshot: Snapshot, resource: Resource) -> Verdict:
    if resource.running:
        return Verdict(goes=False, reason=EXISTS)
    if any(other.running and other.instance == resource.instance for other in snapshot.resources):
        return Verdict(goes=False, reason="its process is gone, but others of its instance run")
    return Verdict(goes=True, reason="its process is gone")


def _directory(claim: Claim, place: Path, component: str) -> Path:
    return place / PARENTS[component] / f"instance-{claim.id}"


def _resource(kind: Kind, claim: Claim, path: Path, **facts: Any) -> Resource:
    return Resource(kind, str(path), str(path), claim.project, claim.id, claim.root, **facts)


def _is_own(path: Path) -> bool:
    """Whether a directory is where its path says: no link on the way, and none itself."""
    return is_direct(path) and path.is_dir() and not path.is_symlink()


def _against_log(name: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_nlink > 1:
        return "it has another name elsewhere"
    return "" if LOG_NAME.fullmatch(name) else "its name is not a log's"


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Open an instance's directory, following no link below its checkout."""
    held: list[int] = []
    try:
        for step in (str(directory.parent.parent), directory.parent.name, directory.name):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                held.append(os.open(step, flags, dir_fd=held[-1] if held else None))
            except OSError as error:
                raise ChangedError(f"its directory cannot be opened: {error.strerror}") from error
        yield held[-1]
    finally:
        for descriptor in held:
            os.close(descriptor)


def _names(directory: Path) -> Iterator[tuple[str, int]]:
    """Give the names in an instance's directory, each with the open directory; none where that cannot be opened."""
    with contextlib.suppress(ChangedError), _opened(directory) as descriptor:
        for name in sorted(os.listdir(descriptor)):  # noqa: PTH208 - the directory that was opened
            yield name, descriptor


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _read(name: str, directory: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(RECORD_BYTES)


RECORD = Kind(
    name="record",
    order=50,
    scopes=("daily", "weekly"),
    find=partial(_find, dead_records),
    remove=one_by_one(lambda _, resource: remove_record(resource)),
    unneeded=_is_dead,
)
LOG = Kind(
    name="log",
    order=60,
    scopes=("logs", "weekly"),
    find=partial(_find, logs),
    remove=one_by_one(lambda _, resource: truncate(resource)),
    unneeded=_is_old,
    verbs=("empties", "emptied"),
)
DIRECTORY = Kind(
    name="directory",
    order=70,
    scopes=THOROUGH,
    find=_find_directories,
    remove=one_by_one(lambda _, resource: remove_directory(resource)),
    sizes=lambda _, going: {resource.key: size_of(Path(resource.key)) for resource in going},
    is_data=True,
    last=True,
    holds_claim=lambda resource: resource.component == "data",  # which has the mark that a moved checkout is known by
    plural="directories",
)
