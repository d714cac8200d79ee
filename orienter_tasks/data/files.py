"""The files of `data.paths`: found below DATA_DIR, measured, and copied.

A path may have `*`, `?` and `[…]` between its slashes; a directory stands for all that is in it.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import closing, suppress
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.data.tree import Cloning, copy_file
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.files import open_regular
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure, hand_over
from orienter_tasks.settings.rules import is_own_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATHS = "data.paths"
"""What these files are called beside the components with data."""

SQLITE = b"SQLite format 3\0"
BESIDE_SQLITE = ("-wal", "-shm", "-journal")
BUSY, LOCKED = 5, 6  # SQLite's result codes
LOCKED_SECONDS = 30.0


class Measured(NamedTuple):
    """How many files there are, and their bytes."""

    files: int
    size: int


def matches(base: Path, paths: Sequence[str]) -> list[str]:
    """Return the files and directories that the paths mean, none within another; nothing of the instance's own.

    Raises:
        CheckError: a link leads to one.
    """
    found = {name for path in paths for name in _expand(base, "", path.split("/"))}
    return [name for name in sorted(found) if found.isdisjoint(map(str, PurePosixPath(name).parents))]


def with_beside(base: Path, names: Sequence[str]) -> list[str]:
    """Add what SQLite keeps beside its databases."""
    beside = (f"{name}{suffix}" for name in names for suffix in BESIDE_SQLITE)
    return [*dict.fromkeys([*names, *(name for name in beside if os.path.lexists(base / name))])]


def measure(base: Path, paths: Sequence[str]) -> Measured:
    count = size = 0
    for name in with_beside(base, matches(base, paths)):
        for each in _walk(base, name):
            with suppress(OSError):
                status = os.lstat(base / each)
                count, size = count + stat.S_ISREG(status.st_mode), size + status.st_size * stat.S_ISREG(status.st_mode)
    return Measured(count, size)


def copy(base: Path, paths: Sequence[str], target: Path, *, live: bool) -> None:
    """Copy the files into a new directory: where something may use them (`live`), SQLite's databases by its backup.

    These come first, so that what a row says of another file is there. What disappears meanwhile is left out.

    Raises:
        CheckError: there is a link, a socket or the like, a database stays locked, or no space is left.
    """
    names = [each for name in matches(base, paths) for each in _walk(base, name)]
    databases = dict.fromkeys(name for name in names if live and _is_database(base / name))
    beside = {f"{name}{suffix}" for name in databases for suffix in BESIDE_SQLITE}
    cloning, directories = Cloning(), []
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*databases, *(name for name in names if name not in beside and name not in databases)):
            raise_unheard()
            source, made = base / name, target / name
            made.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                kind = os.lstat(source).st_mode
                if stat.S_ISDIR(kind):
                    made.mkdir(mode=0o700, exist_ok=True)
                    directories.append((made, kind))
                elif not stat.S_ISREG(kind):
                    raise CheckError(
                        f"{source} is neither a file nor a directory: it cannot be copied",
                        hint=f"leave it out of orienter.{PATHS}",
                    )
                elif name in databases:
                    _back_up(source, made)
                    made.chmod(stat.S_IMODE(kind))
                else:
                    copy_file(str(source), str(made), cloning)
        for made, kind in reversed(directories):
            made.chmod(stat.S_IMODE(kind))
        hand_over(target)
    except OSError as error:
        raise failure(target, f"cannot copy {base} to {target}", error) from error


def _expand(base: Path, within: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield what matches these parts of a path."""
    try:
        names = sorted(os.listdir(base / within))  # noqa: PTH208 - names
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        hidden = name.startswith(".") and not parts[0].startswith(".")
        if hidden or not fnmatchcase(name, parts[0]) or (not within and is_own_file(name)):
            continue
        found = f"{within}/{name}" if within else name
        if len(parts) == 1:
            yield found
        elif (base / found).is_symlink():
            raise CheckError(
                f"{base / found} is a link: no link is followed", hint=f"name another path in orienter.{PATHS}"
            )
        else:
            yield from _expand(base, found, parts[1:])


def _walk(base: Path, name: str) -> Iterator[str]:
    """Yield a name, and those of all that is below it where it is a directory."""
    yield name
    path = base / name
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            for each in sorted(os.listdir(path)):  # noqa: PTH208 - names
                yield from _walk(base, f"{name}/{each}")


def _is_database(path: Path) -> bool:
    if path.is_symlink():
        return False
    with suppress(OSError), open_regular(path) as file:
        return file.read(len(SQLITE)) == SQLITE
    return False


def _back_up(source: Path, target: Path) -> None:
    """Copy a SQLite database as of one moment: all its pages in one step, which no writer makes begin anew."""
    import sqlite3

    deadline = time.monotonic() + LOCKED_SECONDS

    def told(status: int, _left: int, _all: int) -> None:
        raise_unheard()
        if status in (BUSY, LOCKED) and time.monotonic() > deadline:
            raise CheckError(
                f"{source} has been locked for {LOCKED_SECONDS:g} s: it cannot be copied",
                hint="end what writes to it, or run this again with --quiesce",
            )

    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            written.execute("PRAGMA synchronous=OFF")
            read.backup(written, progress=told, sleep=0.05)
    except sqlite3.Error as error:
        if not source.exists():
            raise FileNotFoundError(source) from error
        free = shutil.disk_usage(target.parent).free
        hint = "free some space" if free < source.stat().st_size else f"see: {source}"
        raise CheckError(f"the SQLite database {source} cannot be copied: {error}", hint=hint) from error
