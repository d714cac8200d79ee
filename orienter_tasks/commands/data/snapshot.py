"""Take, list and remove snapshots."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.data import files, room, store
from orienter_tasks.data.files import PATHS, Measured
from orienter_tasks.data.manifest import Manifest
from orienter_tasks.errors import ConfigError, NotFoundError, OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.all import component as kind
from orienter_tasks.infra.choice import NONE
from orienter_tasks.infra.copies import InstanceCopies
from orienter_tasks.lifecycle.stop import services_running
from orienter_tasks.machine import worktree
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import ago, space
from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.data.manifest import Part, Way
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.lifecycle.start import Start


class Copied(msgspec.Struct, frozen=True):
    """What data an instance has: what can be copied, each after those before it, and in words what cannot."""

    names: list[str]
    left_out: tuple[str, ...]


def snapshot(ctx: RunContext, name: str, *, quiesce: bool, as_json: bool) -> None:
    """Take a snapshot of this instance, which may run."""
    store.require_name(name)
    ctx.read_pipe()
    current = ctx.current
    backend = current.settled_backend
    contents = require_data(current.config, backend)
    copies = InstanceCopies(backend.backends if backend is not None else NONE, current.config)
    room.require(f"a snapshot of {current.instance}", copies.needs(copies.sizes(contents.names)))
    if ctx.options.dry:
        ctx.report.answer(f"would copy the data of {current.instance}: {', '.join(contents.names)}")
        if quiesce:
            ctx.report.answer(f"would stop its services meanwhile: {services_of(current.instance)}")
        return
    begun = time.monotonic()
    with ctx.start.locking(), resting(ctx, current.config, quiesce=quiesce):
        made = take(current.claim, current.config, backend, name, ctx.start)
    volumes.remember_snapshot(current.instance, name)
    for text in made.left_out:
        ctx.report.note(text)
    if as_json:
        ctx.report.json({"snapshot": document(name, made)})
        return
    ctx.report.note(f"{current.instance}: {space(made.size)} in {time.monotonic() - begun:.1f} s")
    ctx.report.answer(name)


@contextmanager
def resting(ctx: RunContext, config: InstanceConfig, *, quiesce: bool) -> Iterator[None]:
    """Keep the services of a locked instance stopped, if that is wanted."""
    if not quiesce:
        yield
        return
    from orienter_tasks.lifecycle.quiesce import quiesced

    with quiesced(config, ctx.grace, ctx.report):
        yield


def services_of(instance: Instance) -> str:
    """Name the services of an instance that run."""
    return ", ".join(process.name for process in services_running(instance)) or "none runs"


def files_of(config: InstanceConfig) -> Measured:
    """Measure the files of `data.paths` of an instance."""
    paths = config.settings.data.paths
    return files.measure(config.instance.data_dir, paths) if paths else Measured(0, 0)


def require_data(config: InstanceConfig, backend: Backend | None) -> Copied:
    """Return what there is to copy of an instance; NotFoundError if there is nothing."""
    instance, present = config.instance, {volume.name for volume in backend.data_volumes()} if backend else set()
    names = [name for name in catalog.with_data() if name in instance.infra and instance.volume(name) in present]
    copied = [name for name in names if kind(name).copying() is not None]
    if not copied and not files_of(config).files:
        raise NotFoundError(f"{instance} has no data", hint="inv dev makes it")
    if config.settings.data.paths:  # after the rows that name its files, before the objects that its rows name
        copied.insert(int(copied[:1] == [POSTGRES.name]), PATHS)
    return Copied(copied, tuple(f"{name}: its data cannot be copied" for name in names if name not in copied))


def take(
    claim: Claim, config: InstanceConfig, backend: Backend | None, name: str, start: Start | None = None
) -> Manifest:
    """Take a snapshot of an instance whose lock is held; `start` shows how far it is."""
    contents = require_data(config, backend)
    backends = backend.backends if backend is not None else NONE
    claim = msgspec.structs.replace(claim, placed=backends.text)
    copies = InstanceCopies(backends, config)
    total = sum(copies.sizes(contents.names).values()) if start is not None else 0
    with (
        store.writing(claim.project, name) as unfinished,
        start.copying(copies.copied, total) if start is not None else nullcontext(),
    ):
        parts = copies.save(contents.names, unfinished)
        made = manifest_of(claim, "physical", parts, contents.left_out, automatic=name.startswith(store.AUTOMATIC))
        store.finish(unfinished, made)
    return made


def manifest_of(
    claim: Claim, way: Way, parts: Iterable[Part], left_out: Iterable[str], *, automatic: bool = False
) -> Manifest:
    """Describe a copy of an instance's data that was just made."""
    return Manifest(
        project=claim.project,
        instance=claim.id,
        root=claim.root,
        branch=worktree.branch(Path(claim.root)),
        commit=worktree.commit(Path(claim.root)),
        backend=claim.placed,
        token=claim.token if way == "physical" else "",
        way=way,
        created_at=time.time(),
        automatic=automatic,
        left_out=tuple(left_out),
        parts=tuple(parts),
    )


def show(ctx: RunContext, *, as_json: bool) -> None:
    """List the snapshots of this project, the latest first."""
    if not ctx.options.dry:
        store.sweep(ctx.settings.project)
    found = store.listed(ctx.settings.project)
    whole = {name: made for name, made in found.items() if isinstance(made, Manifest)}
    names = sorted(whole, key=lambda name: whole[name].created_at, reverse=True)
    broken = {name: error for name, error in found.items() if isinstance(error, OrienterError)}
    for error in broken.values():
        ctx.report.warn(error.line())
    if as_json:
        damaged = [{"name": name, "error": str(error)} for name, error in broken.items()]
        ctx.report.json({"snapshots": [document(name, whole[name]) for name in names], "damaged": damaged})
    elif names:
        ctx.report.table(columns(whole), names)
    else:
        ctx.report.note(f"{ctx.settings.project} has no snapshot; take one with: inv data.snapshot")


def remove(ctx: RunContext, name: str, *, yes: bool) -> None:
    """Remove a snapshot."""
    project = ctx.settings.project
    try:
        size = space(store.load(project, name).size)
    except NotFoundError:
        raise
    except OrienterError as error:  # damaged, or of a newer version
        size = str(error)
    if ctx.options.dry:
        ctx.report.answer(f"would remove snapshot {name} ({size})")
        return
    loss = f"this removes snapshot {name} ({size})"
    if not yes and not ctx.report.confirm("remove it?", refusal=loss, before=lambda: ctx.report.warn(loss)):
        raise ConfigError("nothing was removed")
    store.discard(project, name)
    ctx.report.note(f"removed snapshot {name}")


def document(name: str, made: Manifest) -> dict[str, Any]:
    """Return a snapshot as JSON."""
    facts: dict[str, Any] = msgspec.to_builtins(made)
    del facts["schema_version"], facts["token"]
    placed = {part.component: made.backends.of(part.component) for part in made.parts if part.component != PATHS}
    return {"name": name, "size": made.size, **facts, "backend": made.backends.word, "backends": placed}


def columns(found: dict[str, Manifest]) -> list[Column[str]]:
    return [
        Column("name", lambda name: name),
        Column("from", lambda name: _source(found[name]), least=12),
        Column("branch", lambda name: found[name].branch or "–", least=12, drop=1),
        Column("backend", lambda name: found[name].backends.word, drop=2),
        Column("age", lambda name: ago(found[name].created_at), right=True),
        Column("size", lambda name: space(found[name].size), right=True),
    ]


def _source(made: Manifest) -> str:
    return f"{made.instance} ({Path(made.root).name})"
