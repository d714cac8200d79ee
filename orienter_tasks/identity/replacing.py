"""Replacing the data of an instance: prepared beside the present one, then put in its place for all of it at once.

Writing one file decides it: what was prepared counts from then on, and before that nothing has changed. What it says is
then done, by the next run if this one is killed: an embedded server's volume is renamed, so are the files of
`data.paths`, and of a Docker volume it is written down which of its directories has the data.

    PROJECT/TOKEN/swap.json                   the swap that was decided on
    PROJECT/TOKEN/.postgres-data-3.RUN.new/   a volume that is being prepared; `.old`: replaced
    PROJECT/TOKEN/replaced.json               the directories of Docker volumes
    DATA_DIR/.data.paths.RUN.new/             the files that are being prepared; `.old`: replaced
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from orienter_tasks.errors import CheckError, OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import remove
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

T = TypeVar("T")
NEW, OLD = ".new", ".old"
FILES = ".data.paths."


class Files(msgspec.Struct, frozen=True):
    """What a run replaces below DATA_DIR: the names of what is there, and of what it has prepared."""

    run: str
    former: tuple[str, ...]
    new: tuple[str, ...]


class Swap(msgspec.Struct, frozen=True):
    """A swap that was decided on.

    Attributes:
        run: the run that has prepared the volumes of embedded servers.
        volumes: their names.
        directories: what has the data in Docker volumes from now on, by component.
    """

    run: str = ""
    volumes: tuple[str, ...] = ()
    directories: dict[str, str] = {}
    files: Files | None = None


def prepared(instance: Instance, component: str, run: str) -> Path:
    """Return where a run prepares the new volume of a component."""
    return volumes.home(instance) / f".{instance.volume(component)}.{run}{NEW}"


def prepared_files(instance: Instance, run: str) -> Path:
    """Return where a run prepares the files of `data.paths`."""
    return instance.data_dir / f"{FILES}{run}{NEW}"


def swap(instance: Instance, decided: Swap) -> None:
    """Put what was prepared in place of the present data, which goes; nothing may use that.

    Raises:
        CheckError: files cannot have their place; nothing has changed.
    """
    if decided.files is not None:
        _require_room(instance, decided.files)
    write_private(volumes.home(instance) / volumes.SWAP, msgspec.json.encode(decided))
    settle(instance)


def settle(instance: Instance) -> None:
    """Finish a swap that was decided on, and remove what runs that were killed had prepared or replaced."""
    home = volumes.home(instance)
    decided = _read(home / volumes.SWAP, Swap)
    if decided is not None:
        for name in decided.volumes:
            _replace(home / name, home / f".{name}.{decided.run}")
        if decided.directories:
            _move_to(instance, decided.directories)
        if decided.files is not None:
            _replace_files(instance, decided.files)
        (home / volumes.SWAP).unlink()
    with suppress(FileNotFoundError):
        for left in [each for each in instance.data_dir.iterdir() if each.name.startswith(FILES)]:
            with suppress(OrienterError):
                remove(left)
    with suppress(FileNotFoundError):
        for left in [each for each in home.iterdir() if each.name.startswith(".") and each.suffix in (NEW, OLD)]:
            with suppress(flock.HeldError, OrienterError), flock.hold(volumes.lock_of(left / volumes.FILES)):
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


def _require_room(instance: Instance, files: Files) -> None:
    for name in files.new:
        for parent in list((instance.data_dir / name).parents)[: name.count("/")]:
            if os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir()):
                raise CheckError(f"{parent} is not a directory: {name} cannot be there", hint=f"see: {parent}")


def _replace_files(instance: Instance, files: Files) -> None:
    base = instance.data_dir
    new, old = (base / f"{FILES}{files.run}{suffix}" for suffix in (NEW, OLD))
    for source, target, names in ((base, old, files.former), (new, base, files.new)):
        for name in names:
            done = source is base and os.path.lexists(old / name)  # and what is there now is the new one
            if not done and os.path.lexists(source / name):
                try:
                    (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    (source / name).rename(target / name)
                except OSError as error:
                    raise failure(base / name, f"cannot replace {base / name}", error) from error
    (volumes.home(instance) / volumes.DONE).unlink(missing_ok=True)  # a hook may have run for them alone


def directory_in(instance: Instance, component: str) -> str:
    """Return the directory of a Docker volume that has the data; "" for its root."""
    return _directories(instance).get(instance.volume(component), "")


def path_in(mount: str, instance: Instance, component: str) -> str:
    """Return the path of the data in a container that has the volume there."""
    directory = directory_in(instance, component)
    return f"{mount}/{directory}" if directory else mount


def _move_to(instance: Instance, directories: Mapping[str, str]) -> None:
    """Let the data of Docker volumes be in these directories of them from now on, by component."""
    changed = {instance.volume(component): directory for component, directory in directories.items()}
    content = msgspec.json.encode({**_directories(instance), **changed})
    write_private(volumes.home(instance) / volumes.REPLACED, content)


def _directories(instance: Instance) -> dict[str, str]:
    return _read(volumes.home(instance) / volumes.REPLACED, dict[str, str]) or {}


def _read(path: Path, kind: type[T]) -> T | None:
    """Read what was written down, if it was; CheckError where that is damaged: guessing could start on other data."""
    try:
        return msgspec.json.decode(read_small(path), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckError(f"{path} cannot be read: {error}", hint=f"see: {path}") from error
