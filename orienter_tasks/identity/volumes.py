"""Volumes of the embedded servers: directories by project and token, outside the checkouts.

    PROJECT/TOKEN/claim.json             whose they are, also when the claim itself is gone
    PROJECT/TOKEN/engine.json            the Docker engine that has the checkout's volumes, if one has
    PROJECT/TOKEN/adopted                the data has other passwords than `.env`, until the next start
    PROJECT/TOKEN/replaced.json          where the data in Docker volumes is, see `identity/replacing.py`
    PROJECT/TOKEN/swap.json              a swap of volumes that was decided on, see there
    PROJECT/TOKEN/snapshot               the last named snapshot that was taken of it or restored
    PROJECT/TOKEN/done.json              the hooks that ran once for the data of the volumes, on either backend
    PROJECT/TOKEN/postgres-data-3/       named as in Docker
        labels.json  data/  data.lock    what Docker would keep as labels; the server's files; who uses them

So `git clean` deletes no database, `git worktree remove` does not trip over one, and file watchers see none.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.identity.claims import Claim, new_token, of_claim
from orienter_tasks.instance.model import LABEL_COMPONENT
from orienter_tasks.machine import flock
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import SCHEMA_VERSION, sweep, volume_dir, write_private
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.instance.model import Instance

FILES = "data"
CLAIM = "claim.json"
LABELS = "labels.json"
ENGINE = "engine.json"
ADOPTED = "adopted"
DONE = "done.json"
REPLACED = "replaced.json"
SWAP = "swap.json"
SNAPSHOT = "snapshot"
UNCLAIMED = "unclaimed"

_marking = threading.Lock()


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume says of itself.

    Attributes:
        labels: as on a Docker volume.
        generation: renewed whenever its data is made anew.
        created_at: seconds since the epoch.
    """

    name: str
    labels: dict[str, str]
    generation: str
    created_at: float
    schema_version: int = SCHEMA_VERSION


def home(instance: Instance) -> Path:
    """Return the directory of a checkout's volumes."""
    return volume_dir() / instance.project / (instance.token or UNCLAIMED)


def place(instance: Instance, component: str) -> Path:
    return home(instance) / instance.volume(component)


def working_dir(instance: Instance, component: str) -> Path:
    """Return the directory in which a component's server works: in its volume, if it keeps data."""
    return place(instance, component) / FILES if component in catalog.with_data() else former_dir(instance, component)


def former_dir(instance: Instance, component: str) -> Path:
    """Return the directory in the checkout, where the versions before this one kept data, too."""
    return instance.data_dir / component


def left_in_checkout(instance: Instance) -> Iterator[str]:
    """Yield what becomes of data that versions before this one kept in the checkout."""
    for name in catalog.with_data():
        former = former_dir(instance, name)
        if not os.path.lexists(former):
            continue
        if os.path.lexists(working_dir(instance, name)):
            yield f"{former} is of an older version and stays unused: {instance} has {place(instance, name)}"
        else:
            yield f"the data of {name} moves out of the checkout: from {former} to {place(instance, name)}"


def mark(claim: Claim) -> None:
    """Write down whose a checkout's volumes are, before the first one is made."""
    path = volume_dir() / claim.project / claim.token / CLAIM
    content = msgspec.json.encode(msgspec.structs.replace(claim, used_at=claim.claimed_at))
    with suppress(OSError):
        if read_small(path) == content:
            return
    write_private(path, content)


def label(instance: Instance, component: str, where: Path | None = None) -> None:
    """Label a volume whose data is new; `where` it is prepared, if that is not its place yet."""
    name = instance.volume(component)
    labels = {**instance.labels, LABEL_COMPONENT: component}
    content = Labels(name=name, labels=labels, generation=new_token(), created_at=time.time())
    write_private((where or place(instance, component)) / LABELS, msgspec.json.encode(content))


def generation(instance: Instance, component: str) -> str:
    """Return the generation of a volume; "" if it is not known."""
    try:
        return msgspec.json.decode(read_small(place(instance, component) / LABELS), type=Labels).generation
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def is_done(instance: Instance, hook: str, generations: Mapping[str, str]) -> bool:
    """Whether a hook has run for the data of these generations, by component; no matter which others it ran for."""
    known = _done(instance).get(hook)
    return known is not None and all(known.get(name, one) == one for name, one in generations.items())


def mark_done(instance: Instance, hook: str, generations: Mapping[str, str]) -> None:
    with _marking:
        content = msgspec.json.encode({**_done(instance), hook: generations})
        write_private(home(instance) / DONE, content)


def _done(instance: Instance) -> dict[str, dict[str, str]]:
    try:
        return msgspec.json.decode(read_small(home(instance) / DONE), type=dict[str, dict[str, str]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def lock_of(directory: Path) -> Path:
    """Return the lock of a directory in which a server works; the server holds it for its whole life."""
    return directory.with_name(f"{directory.name}.lock")


class EngineMark(msgspec.Struct, frozen=True):
    """The Docker engine that has a checkout's volumes, by its own id."""

    id: str
    endpoint: str


def mark_engine(instance: Instance, mark: EngineMark) -> None:
    """Write down which engine has a checkout's volumes."""
    if engine_of(instance) != mark:
        write_private(home(instance) / ENGINE, msgspec.json.encode(mark))


def engine_of(instance: Instance) -> EngineMark | None:
    """Return the engine that has a checkout's volumes, as far as that was written down."""
    try:
        return msgspec.json.decode(read_small(home(instance) / ENGINE), type=EngineMark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def forget_engine(instance: Instance) -> None:
    (home(instance) / ENGINE).unlink(missing_ok=True)
    forget(home(instance))


def mark_adopted(claim: Claim) -> None:
    """Write down that the next start gives the data this checkout's passwords: another made it, or `.env` is new."""
    write_private(volume_dir() / claim.project / claim.token / ADOPTED, "")


def is_adopted(instance: Instance) -> bool:
    return (home(instance) / ADOPTED).exists()


def settle_adopted(instance: Instance) -> None:
    """Write down that the data has this checkout's passwords now."""
    (home(instance) / ADOPTED).unlink(missing_ok=True)


def remember_snapshot(instance: Instance, name: str) -> None:
    """Write down which snapshot the data is going on from; "" for none."""
    if name:
        write_private(home(instance) / SNAPSHOT, name)
    else:
        (home(instance) / SNAPSHOT).unlink(missing_ok=True)


def snapshot_of(instance: Instance) -> str:
    """Return the last named snapshot that was taken of the data, or that it was restored from; "" for none."""
    try:
        return read_small(home(instance) / SNAPSHOT).decode("utf-8", "replace")
    except OSError:
        return ""


def user_of(instance: Instance, component: str) -> str:
    """Describe what uses the directory in which a component's server works, wherever it runs; "" for nothing."""
    return flock.holder(lock_of(working_dir(instance, component)))


def sweep_unfinished(instance: Instance) -> None:
    """Remove what killed runs left half-written beside a checkout's volumes."""
    labels = (place(instance, name) / LABELS for name in catalog.with_data())
    for path in (*(home(instance) / name for name in (CLAIM, ENGINE, DONE, REPLACED, SWAP, SNAPSHOT)), *labels):
        sweep(path)


def forget(checkout: Path) -> None:
    """Remove what says whose the volumes in a checkout's directory are, once the last one is gone."""
    with suppress(OSError):
        notes = (DONE, REPLACED, SNAPSHOT, ADOPTED, CLAIM)
        if {*os.listdir(checkout)} <= {*notes}:  # noqa: PTH208 - names
            for name in notes:
                (checkout / name).unlink(missing_ok=True)
        checkout.rmdir()
        checkout.parent.rmdir()


def marked(project: str, token: str) -> Claim | None:
    """Return the claim that volumes were made for."""
    try:
        claim = msgspec.json.decode(read_small(volume_dir() / project / token / CLAIM), type=Claim)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return claim if (claim.project, claim.token) == (project, token) else None


def parked(project: str, known: Sequence[Claim]) -> list[Claim]:
    """Return the claims that volumes were made for and that nobody holds any more."""
    held = {claim.token for claim in known}
    with suppress(OSError):
        tokens = sorted(set(os.listdir(volume_dir() / project)) - held)  # noqa: PTH208 - names
        return [claim for token in tokens if (claim := marked(project, token)) is not None and any(of(claim))]
    return []


def of(claim: Claim) -> Iterator[tuple[str, Path]]:
    """Yield the component and the place of each of a claim's volumes; "" for a component that is not known here."""
    yield from present(of_claim(claim))


def present(instance: Instance) -> Iterator[tuple[str, Path]]:
    """Likewise of an instance."""
    known = {instance.volume(name): name for name in catalog.with_data()}
    with suppress(OSError):
        for name in sorted(os.listdir(home(instance))):  # noqa: PTH208 - names
            if (home(instance) / name).is_dir():
                yield known.get(name, ""), home(instance) / name


def working_in(directory: str) -> tuple[Claim, str] | None:
    """Say whose volume a server works in, and which component it is."""
    base = os.path.realpath(volume_dir()) + os.sep
    parts = Path(directory.removeprefix(base)).parts
    if not directory.startswith(base) or len(parts) != len(("project", "token", "volume", FILES)):
        return None
    claim = marked(parts[0], parts[1])
    found = (component for component, path in of(claim) if path.name == parts[2]) if claim is not None else ()
    component = next(iter(found), "")
    return (claim, component) if claim is not None and component else None
