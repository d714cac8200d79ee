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
from orienter_tasks.commands.data.snapshot import require_data, resting, services_of
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.commands.start import await_infra, start_infra
from orienter_tasks.data import archive, archived, store
from orienter_tasks.data.files import PATHS
from orienter_tasks.data.manifest import Manifest, Part
from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component as kind, portable
from orienter_tasks.infra.copies import copies_of, files_part
from orienter_tasks.lifecycle.context import RunOptions
from orienter_tasks.machine import worktree
from orienter_tasks.output.units import ago, space

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.copying import Copies
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
        archive.writing(path, _Shown(ctx)) as writer,
    ):
        servers = {*names} - {PATHS}
        idle = servers - {*(copies_of(current.backend.name, config).running() if servers else ())}
        if idle:
            raise NotFoundError(
                f"{', '.join(sorted(idle))} of {current.instance} does not run", hint="start it: inv infra.up"
            )
        claim = current.claim
        made = Manifest(
            project=claim.project,
            instance=claim.id,
            root=claim.root,
            branch=worktree.branch(Path(claim.root)),
            commit=worktree.commit(Path(claim.root)),
            backend=claim.backend and choice.named(claim.backend),
            token="",
            way="portable",
            created_at=time.time(),
            left_out=tuple(f"{name}: {portable(name).left_out}" for name in names if name != PATHS),
            parts=tuple(_saved(name, config, writer) for name in names),
        )
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


def load(ctx: RunContext, file: str, *, yes: bool, backup: bool) -> None:
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

        def prepare(copies: Copies) -> None:
            with store.temporary(ctx.settings.project) as unfinished:
                parts = [_unpacked(found, unfinished)] if PATHS in names else []
                servers = [name for name in names if name != PATHS]
                parts += _converted(ctx, found, servers, unfinished) if servers else []
                for part in parts:
                    copies.load(part.component, unfinished.place, part, str(path))

        words = f"the data of {path} (instance {made.instance}, {ago(made.created_at)} old, {space(made.size)})"
        replace(ctx, Replacement(words, "", names, prepare), yes=yes, backup=backup)


def _converted(ctx: RunContext, found: archive.Archive, names: list[str], unfinished: store.Unfinished) -> list[Part]:
    """Let servers of a throwaway instance read an export, and return what they then have on disk."""
    current = ctx.current
    backend: BackendName = current.backend.name
    host = HostConfig(ctx.settings, {}, ctx.root)
    with open_sandbox(host) as sandbox:
        options = RunOptions(backend=backend, quiet=True, without=tuple(ctx.settings.services))
        scratch = sandbox.instance("import", options)
        try:
            start_infra(scratch)
            await_infra(scratch, ready=True)
        except BaseException:
            scratch.undo()
            raise
        config = scratch.current.config
        for name in names:
            portable(name).load(config, found.manifest.by_component[name], found.members(name))
        scratch.begin().stop()
        scratch.begin().finish()
        return list(copies_of(backend, config).save(names, unfinished))


def _travels(name: str) -> bool:
    return name == PATHS or kind(name).portable() is not None


def _unpacked(found: archive.Archive, unfinished: store.Unfinished) -> Part:
    """Unpack the files of `data.paths`; only what the settings here name is used of them."""
    archived.load(unfinished.place / PATHS, found.members(PATHS))
    return files_part(unfinished.place)


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
    content = writer.content(name)
    return Part(
        component=name,
        server=server,
        facts=facts,
        size=content.size,
        files=content.files,
        digest=content.digest,
    )


class _Shown:
    """Says every few seconds how much is written."""

    SECONDS = 5.0

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._next = time.monotonic() + self.SECONDS

    def __call__(self, size: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.SECONDS
            self._ctx.report.note(f"{space(size)} written")


def _path(file: str) -> Path:
    return Path(os.path.abspath(Path(file).expanduser()))  # noqa: PTH100 - links stay as they are
