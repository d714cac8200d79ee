"""Data that travels between backends, versions and machines: export it into a file, import it from one.

An import fills the servers of a throwaway instance first. What they then have replaces this instance's data as a
snapshot would.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.data.replace import Replacement, replace
from orienter_tasks.commands.data.snapshot import manifest_of, require_data, resting, services_of
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.commands.start import await_infra, start_infra
from orienter_tasks.data import archive, archived, store
from orienter_tasks.data.files import PATHS
from orienter_tasks.data.manifest import Part
from orienter_tasks.data.room import Need
from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.infra.all import component as kind, portable
from orienter_tasks.infra.copies import copies_of, files_part
from orienter_tasks.lifecycle.context import RunOptions
from orienter_tasks.machine.state import snapshot_dir
from orienter_tasks.output.units import ago, space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.copies import InstanceCopies
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import BackendName


def export(ctx: RunContext, file: str, *, quiesce: bool, as_json: bool) -> None:
    """Write the data of this instance, whose servers run, into a file."""
    path = _path(file)
    ctx.read_pipe()
    current = ctx.current
    backend = current.settled_backend
    config = current.config
    names = [name for name in require_data(config, backend).names if _travels(name)]
    if ctx.options.dry:
        ctx.report.answer(f"would write the data of {current.instance} to {path}: {', '.join(names)}")
        if quiesce:
            ctx.report.answer(f"would stop its services meanwhile: {services_of(current.instance)}")
        return
    begun = time.monotonic()
    with (
        ctx.start.locking(),
        resting(ctx, config, quiesce=quiesce),
        archive.writing(path) as writer,
    ):
        servers = {*names} - {PATHS}
        copies = copies_of(backend.name if backend is not None else "", config)
        idle = servers - {*(copies.running() if servers else ())}
        if idle:
            raise NotFoundError(
                f"{', '.join(sorted(idle))} of {current.instance} does not run", hint="start it: inv infra.up"
            )
        left_out = (f"{name}: {portable(name).left_out}" for name in names if name != PATHS)
        with ctx.start.copying(writer.position, copies.sizes(names).values()):
            parts = [_saved(name, config, writer) for name in names]
        made = manifest_of(current.claim, "portable", parts, left_out)
        writer.finish(made)
    for text in made.left_out:
        ctx.report.note(f"left out: {text}")
    if as_json:
        facts = msgspec.to_builtins(made)
        del facts["schema_version"], facts["token"]
        ctx.report.json({"export": {"file": str(path), "size": made.size, **facts}})
        return
    ctx.report.note(f"{current.instance}: {space(made.size)} in {time.monotonic() - begun:.1f} s")
    ctx.report.answer(str(path))


def load(ctx: RunContext, file: str, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Replace this instance's data by that of a file."""
    path = _path(file)
    with archive.reading(path) as found:
        found.verify()
        made = found.manifest
        if made.way != "portable":
            raise ConflictError(f"{path} is not an export", hint="inv data.export FILE makes one")
        known = {*ctx.current.instance.infra, *([PATHS] if ctx.settings.data.paths else [])}
        names = [part.component for part in made.parts if part.component in known and _travels(part.component)]
        if not names:
            raise ConflictError(f"{path} has no data for {ctx.current.instance}", hint="see: inv infra.status")
        if made.project != ctx.settings.project:
            ctx.report.warn(f"{path} is of project {made.project}, not of {ctx.settings.project}")
        for text in made.left_out:
            ctx.report.note(f"not in {path.name}: {text}")

        sizes = {name: made.by_component[name].size for name in names}
        by = Replacement(
            words=f"the data of {path} (instance {made.instance}, {ago(made.created_at)} old, {space(made.size)})",
            backend="",
            names=names,
            prepare=lambda copies: _fill(ctx, copies, found, names),
            sizes=sizes,
            needs=lambda copies: _needs(copies, sizes),
        )
        replace(ctx, by, yes=yes, backup=backup, as_json=as_json)


def _fill(ctx: RunContext, copies: InstanceCopies, found: archive.Archive, names: Sequence[str]) -> None:
    """Prepare the data of an export; that of servers as servers of a throwaway instance have it on disk."""
    if PATHS in names:
        with store.temporary(ctx.settings.project) as unfinished:
            archived.load(unfinished.place / PATHS, found.members(PATHS))
            copies.load(PATHS, unfinished.place, files_part(unfinished.place), "the export")
    servers = [name for name in names if name != PATHS]
    if not servers:
        return
    backend: BackendName = ctx.current.backend.name
    with open_sandbox(HostConfig(ctx.settings, {}, ctx.root)) as sandbox:
        options = RunOptions(backend=backend, quiet=True, without=tuple(ctx.settings.services))
        scratch = sandbox.instance("import", options)
        try:
            start_infra(scratch)
            await_infra(scratch, ready=True)
        except BaseException:
            scratch.undo()
            raise
        config = scratch.current.config
        for name in servers:
            portable(name).load(config, found.manifest.by_component[name], found.members(name))
        scratch.begin().stop()
        scratch.begin().finish()
        copies.clone(servers, copies_of(backend, config))


def _needs(copies: InstanceCopies, sizes: Mapping[str, int]) -> Sequence[Need]:
    """Return what an import needs: its data is in a throwaway instance first, and files beside the snapshots."""
    room, servers = copies.servers.room(), {name: size for name, size in sizes.items() if name != PATHS}
    first = [Need(room, sum(servers.values()))] if room is not None and servers else []
    files = [Need(snapshot_dir(), sizes[PATHS])] if PATHS in sizes else []
    return [*first, *files, *copies.needs_to_load(sizes, room or snapshot_dir())]


def _travels(name: str) -> bool:
    return name == PATHS or kind(name).portable() is not None


def _saved(name: str, config: InstanceConfig, writer: archive.Writer) -> Part:
    if name == PATHS:
        with store.temporary(config.instance.project) as unfinished:
            (part,) = copies_of("", config).save([PATHS], unfinished)
            archived.save(unfinished.place / PATHS, writer)
        content = writer.content(PATHS)
        return msgspec.structs.replace(part, size=content.size, files=content.files, digest=content.digest)
    how = portable(name)
    server, facts = how.server(config), how.facts(config)
    how.save(config, writer)
    return Part.of(name, server, writer.content(name), facts)


def _path(file: str) -> Path:
    return Path(os.path.abspath(Path(file).expanduser()))  # noqa: PTH100 - links stay as they are
