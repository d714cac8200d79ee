"""What a PostgreSQL of this machine has beyond the core, seen at its files, without a server or a database.

Beside extensions, by their names, these are `icu` and `xml`: what PostgreSQL itself may be built without.
"""

from __future__ import annotations

import mmap
from functools import cache
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UNSUPPORTED = {"icu": b"ICU is not supported in this build", "xml": b"built with libxml support"}
"""A message that only a PostgreSQL without it contains."""
SHARES = ("", "postgresql", "pgsql")


def lacking(directory: Path, wanted: Iterable[str]) -> list[str]:
    """Return which of the wanted extensions, ICU and XML the PostgreSQL of a directory of programs does not have."""
    return [name for name in wanted if not (_is_built_with if name in UNSUPPORTED else _has_extension)(directory, name)]


def built_with(directory: Path) -> list[str]:
    return [name for name in UNSUPPORTED if _is_built_with(directory, name)]


@cache
def _is_built_with(directory: Path, name: str) -> bool:
    try:
        with (
            (directory / "postgres").open("rb") as program,
            mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(UNSUPPORTED[name]) < 0
    except (OSError, ValueError):  # ValueError: it is empty
        return False


def _has_extension(directory: Path, name: str) -> bool:
    return name in _extensions(directory)


@cache
def _extensions(directory: Path) -> frozenset[str]:
    known = [directory.parent / "share" / each / "extension" for each in (*SHARES, directory.parent.name)]
    place = next((path for path in known if path.is_dir()), None) or _told(directory)
    return frozenset(path.stem for path in place.glob("*.control")) if place is not None else frozenset()


def _told(directory: Path) -> Path | None:
    """Return where its own pg_config says that they are."""
    try:
        return directory.parent / version_of(directory / "pg_config", "--sharedir").strip() / "extension"
    except BackendError:
        return None
