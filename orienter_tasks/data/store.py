"""The store of snapshots: a directory for each, visible to all checkouts of a project.

PROJECT/NAME/manifest.json       written last: a directory without it is unfinished
PROJECT/NAME/COMPONENT           a component's data, and its checksums in COMPONENT.sha256
PROJECT/NAME/lock                held while it is written, read or removed
PROJECT/.NAME.TOKEN/             a snapshot while it is written or removed
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.data import manifest
from orienter_tasks.data.manifest import MANIFEST, NAME
from orienter_tasks.errors import CheckError, ConfigError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity.claims import new_token
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import remove
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, private_dir, snapshot_dir, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.data.manifest import Manifest

LOCK = "lock"
AUTOMATIC = "auto-"
RESERVED = ("main", "empty")
"""What `--data` means otherwise."""


class Unfinished(NamedTuple):
    """A snapshot that is being written: its directory, and its lock, which programs that write into it inherit."""

    place: Path
    lock: int


def place_of(project: str, name: str) -> Path:
    return snapshot_dir() / project / name


def require_name(name: str) -> None:
    """Require that a user may give this name to a snapshot."""
    if not NAME.fullmatch(name) or name in RESERVED or name.startswith(AUTOMATIC):
        raise ConfigError(
            f"{name!r} cannot be the name of a snapshot",
            hint=f"use letters, digits, '.', '_' and '-', at most 100; not {' or '.join(RESERVED)}, "
            f"and {AUTOMATIC}… is for automatic ones",
        )


def free_name(project: str, prefix: str) -> str:
    """Return a name with the present time that no snapshot has."""
    base = f"{prefix}{time.strftime('%Y%m%d-%H%M%S')}"
    names = (base, *(f"{base}-{number}" for number in range(2, 100)))
    return next(name for name in names if not place_of(project, name).exists())


@contextmanager
def writing(project: str, name: str) -> Iterator[Unfinished]:
    """Yield the directory of a new snapshot; it becomes visible at the end, if its manifest has been written.

    Raises:
        ConflictError: there is one of that name.
    """
    sweep(project)
    target = place_of(project, name)
    if target.exists():
        raise _exists(project, name)
    place = target.with_name(f".{name}.{new_token()}")
    with _locked(place) as lock:
        try:
            yield Unfinished(place, lock)
            try:
                place.rename(target)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise _exists(project, name) from error
                raise failure(target, f"cannot write {target}", error) from error
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise


@contextmanager
def temporary(project: str) -> Iterator[Unfinished]:
    """Yield a directory for the parts of a copy that is not kept as a snapshot; it is removed at the end."""
    sweep(project)
    place = place_of(project, f".import.{new_token()}")
    with _locked(place) as lock:
        try:
            yield Unfinished(place, lock)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def finish(unfinished: Unfinished, content: Manifest) -> None:
    """Write the manifest: the last thing that is written."""
    write_private(unfinished.place / MANIFEST, manifest.encode(content))


@contextmanager
def reading(project: str, name: str) -> Iterator[tuple[Path, Manifest]]:
    """Yield the directory and the manifest of a snapshot, which is not removed meanwhile.

    Raises:
        NotFoundError: there is none of that name.
        ConfigError, CheckError: it is of a newer version, or damaged.
        ConflictError: it is being removed.
    """
    place = _existing(project, name)
    with _held(place, name, shared=True):
        yield place, load(project, name)


def load(project: str, name: str) -> Manifest:
    """Read the manifest of a snapshot; errors as of `reading`."""
    try:
        content = read_small(_existing(project, name) / MANIFEST)
    except FileNotFoundError as error:
        raise _missing(project, name) from error
    except OSError as error:
        raise CheckError(f"snapshot {name} cannot be read: {error.strerror}") from error
    return manifest.decode(content, f"snapshot {name}")


def listed(project: str) -> dict[str, Manifest | OrienterError]:
    """Return the manifest of each snapshot of a project by its name, or why it cannot be read."""
    found: dict[str, Manifest | OrienterError] = {}
    for name in _names(project):
        try:
            found[name] = load(project, name)
        except NotFoundError:  # it was removed meanwhile
            continue
        except OrienterError as error:
            found[name] = error
    return found


def of_all_projects() -> list[Manifest]:
    """Return the manifests of all snapshots of this user that can be read."""
    try:
        projects = sorted(os.listdir(snapshot_dir()))  # noqa: PTH208 - names
    except OSError:
        return []
    found = (made for project in projects for made in listed(project).values())
    return [made for made in found if isinstance(made, manifest.Manifest)]


def discard(project: str, name: str) -> None:
    """Remove a snapshot; errors as of `reading`, but it may be damaged."""
    place = _existing(project, name)
    with _held(place, name, shared=False):
        doomed = place.with_name(f".{name}.{new_token()}")
        try:
            place.rename(doomed)
        except OSError as error:
            raise failure(place, f"cannot remove {place}", error) from error
        remove(doomed)
    with suppress(OSError):
        place.parent.rmdir()


def sweep(project: str) -> None:
    """Remove what runs that were killed left unfinished."""
    with suppress(FileNotFoundError):
        for place in list((snapshot_dir() / project).iterdir()):
            finished = NAME.fullmatch(place.name) and (place / MANIFEST).exists()
            if not finished and place.is_dir() and not place.is_symlink():
                with suppress(flock.HeldError), flock.hold(place / LOCK):
                    remove(place)


def _names(project: str) -> list[str]:
    parent = snapshot_dir() / project
    try:
        found = sorted(os.listdir(parent))  # noqa: PTH208 - names
    except OSError:
        return []
    return [name for name in found if NAME.fullmatch(name) and (parent / name / MANIFEST).exists()]


def _existing(project: str, name: str) -> Path:
    place = place_of(project, name)
    if not NAME.fullmatch(name) or not (place / MANIFEST).exists():
        raise _missing(project, name)
    return place


def _missing(project: str, name: str) -> NotFoundError:
    return NotFoundError(f"{project} has no snapshot {name!r}", hint="see: inv data.list")


def _exists(project: str, name: str) -> ConflictError:
    return ConflictError(
        f"{project} has a snapshot {name} already", hint=f"take another name, or remove it: inv data.rm {name}"
    )


@contextmanager
def _held(place: Path, name: str, *, shared: bool) -> Iterator[None]:
    try:
        with flock.hold(place / LOCK, shared=shared):
            yield
    except flock.HeldError as error:
        raise ConflictError(
            f"snapshot {name} is in use by {error}", hint="wait until that ends, then run this again"
        ) from error


@contextmanager
def _locked(place: Path) -> Iterator[int]:
    """Make a directory and hold its lock, again if a sweep has just taken it for unfinished."""
    while True:
        private_dir(place)
        with flock.hold(place / LOCK, within=1.0) as lock:
            if _is_open_as(lock, place / LOCK):
                yield lock
                return


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
