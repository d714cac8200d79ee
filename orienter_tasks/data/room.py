"""Room for a copy: what it needs on each file system, compared with what is free before anything starts."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.data.tree import Cloning
from orienter_tasks.errors import CheckError
from orienter_tasks.output.units import space

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Need(NamedTuple):
    """Bytes that are to be written below a directory, which may yet have to be made."""

    place: Path
    size: int


def require(what: str, needs: Iterable[Need]) -> None:
    """Require that each file system has room for all that goes there.

    Raises:
        CheckError: one does not.
    """
    places: dict[int, Path] = {}
    sizes: dict[int, int] = {}
    for need in needs:
        place = _existing(need.place)
        device = place.stat().st_dev
        places.setdefault(device, place)
        sizes[device] = sizes.get(device, 0) + need.size
    for device, place in places.items():
        free = shutil.disk_usage(place).free
        if sizes[device] > free:
            raise CheckError(
                f"{what} needs {space(sizes[device])} in {place}, where {space(free)} are free",
                hint="free some space there, or remove what is not needed: inv data.list, inv cleanup.weekly",
            )


def shares_blocks(source: Path, target: Path) -> bool:
    """Whether a file that is copied from one directory to the other shares its blocks until either is written to."""
    with (
        suppress(OSError),
        tempfile.TemporaryFile(dir=_existing(source)) as read,
        tempfile.TemporaryFile(dir=_existing(target)) as written,
    ):
        return Cloning().file(read.fileno(), written.fileno())
    return False


def _existing(place: Path) -> Path:
    """Return a directory, or the nearest one above it that is there."""
    return next(each for each in (place, *place.parents) if each.is_dir())
