"""Replacing the data of an instance: prepared beside the present one, then put in its place for all volumes at once.

Writing one file decides it: what was prepared counts from then on, and before that nothing has changed. On Docker that
file says which directory of each volume has the data. An embedded server's volume is renamed; if the run is killed in
between, the next one goes on.

    PROJECT/TOKEN/.postgres-data-3.RUN.new/   a volume that is being prepared; `.old`: replaced
    PROJECT/TOKEN/swap.json                   the swap of embedded servers' volumes that was decided on
    PROJECT/TOKEN/replaced.json               the directories of Docker volumes
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.identity import volumes
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import remove
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

SWAP = "swap.json"
NEW, OLD = ".new", ".old"


class Swap(msgspec.Struct, frozen=True):
    """A swap of embedded servers' volumes that was decided on."""

    run: str
    volumes: tuple[str, ...]


def prepared(instance: Instance, component: str, run: str) -> Path:
    """Return where a run prepares the new volume of a component."""
    return volumes.home(instance) / f".{instance.volume(component)}.{run}{NEW}"


def swap(instance: Instance, components: Iterable[str], run: str) -> None:
    """Put the volumes that a run has prepared in place of the present ones, which go; no server may use these."""
    names = tuple(instance.volume(component) for component in components)
    write_private(volumes.home(instance) / SWAP, msgspec.json.encode(Swap(run, names)))
    settle(instance)


def settle(instance: Instance) -> None:
    """Finish a swap that was decided on, and remove what runs that were killed had prepared or replaced."""
    home = volumes.home(instance)
    try:
        decided = msgspec.json.decode(read_small(home / SWAP), type=Swap)
    except FileNotFoundError:
        pass
    else:
        for name in decided.volumes:
            _replace(home / name, home / f".{name}.{decided.run}")
        (home / SWAP).unlink()
    with suppress(FileNotFoundError):
        for left in [each for each in home.iterdir() if each.name.startswith(".") and each.suffix in (NEW, OLD)]:
            with suppress(flock.HeldError), flock.hold(volumes.lock_of(left / volumes.FILES)):
                remove(left)


def _replace(place: Path, aside: Path) -> None:
    new, old = (aside.with_name(f"{aside.name}{suffix}") for suffix in (NEW, OLD))
    try:
        if new.exists():
            if os.path.lexists(place):
                place.rename(old)
            new.rename(place)
    except OSError as error:
        raise failure(place, f"cannot replace {place}", error) from error


def directory_in(instance: Instance, component: str) -> str:
    """Return the directory of a Docker volume that has the data; "" for its root."""
    return _directories(instance).get(instance.volume(component), "")


def path_in(mount: str, instance: Instance, component: str) -> str:
    """Return the path of the data in a container that has the volume there."""
    directory = directory_in(instance, component)
    return f"{mount}/{directory}" if directory else mount


def move_to(instance: Instance, directories: Mapping[str, str]) -> None:
    """Let the data of Docker volumes be in these directories of them from now on, by component."""
    changed = {instance.volume(component): directory for component, directory in directories.items()}
    content = msgspec.json.encode({**_directories(instance), **changed})
    write_private(volumes.home(instance) / volumes.REPLACED, content)


def _directories(instance: Instance) -> dict[str, str]:
    try:
        return msgspec.json.decode(read_small(volumes.home(instance) / volumes.REPLACED), type=dict[str, str])
    except FileNotFoundError:
        return {}
