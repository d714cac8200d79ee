"""Volumes: those of an engine by label, those of the embedded servers by the claim that lies beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import resources, survey
from orienter_tasks.commands.cleanup import engine
from orienter_tasks.commands.cleanup.execute import one_by_one
from orienter_tasks.commands.cleanup.model import THOROUGH, Kind, Resource
from orienter_tasks.errors import ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import LINKED, is_direct, remove as remove_directory, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.commands.cleanup.execute import Removal
    from orienter_tasks.commands.cleanup.snapshot import Reading, Viewpoint


def _find(reading: Reading) -> Iterator[Resource]:
    yield from engine.find(VOLUME, reading)
    for claim in (holder.claim for holder in reading.holders if reading.scope.covers(holder.claim.id)):
        for component, path in volumes.of(claim):
            yield Resource(
                kind=VOLUME,
                name=path.name,
                key=str(path),
                project=claim.project,
                instance=claim.id,
                root=claim.root,
                component=component,
                token=claim.token,
                blocker="" if is_direct(path) else LINKED,
            )


def _is_native(volume: Resource) -> bool:
    return volume.key.startswith("/")  # an engine's names do not


def _remove(removal: Removal, volume: Resource) -> None:
    if _is_native(volume):
        _remove_native(volume)
    else:
        engine.remove(survey.volume, _remove_from_engine, removal, volume)


def _remove_from_engine(removal: Removal, volume: Resource, _: Mapping[str, Any]) -> None:
    resources.remove_volume(removal.view.engine, volume.key, remedy="remove that container first")


def _remove_native(volume: Resource) -> None:
    """Remove a volume of an embedded server, unless one uses it, wherever that runs."""
    path = Path(volume.key)
    if not path.is_dir():
        return
    try:
        with flock.hold(volumes.lock_of(path / volumes.FILES)):
            remove_directory(path)
    except flock.HeldError as error:
        raise ConflictError(f"{volume} is in use by {error}", hint="stop it first: inv dev.stop") from None
    volumes.forget(path.parent)


def _sizes(view: Viewpoint, going: Sequence[Resource]) -> Mapping[str, int | None]:
    native = {volume.key: size_of(Path(volume.key)) for volume in going if _is_native(volume)}
    return native if len(native) == len(going) else {**native, **resources.volume_sizes(view.engine)}


VOLUME: Kind = Kind(
    name="volume",
    order=40,
    scopes=THOROUGH,
    mentioned=("orphans", "daily"),
    find=_find,
    remove=one_by_one(_remove),
    sizes=_sizes,
    is_data=True,
)
