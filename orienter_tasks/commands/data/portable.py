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

from orienter_tasks.commands.data.carrying import fill, left_out, needs, travels, written
from orienter_tasks.commands.data.replace import replace
from orienter_tasks.commands.data.snapshot import manifest_of, require_data, resting, services_of
from orienter_tasks.commands.data.sources import PASSES, Replacement
from orienter_tasks.data import archive
from orienter_tasks.data.files import PATHS
from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.infra.choice import NONE
from orienter_tasks.infra.copies import InstanceCopies
from orienter_tasks.output.units import ago, space

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


def export(ctx: RunContext, file: str, *, quiesce: bool, as_json: bool) -> None:
    """Write the data of this instance, whose servers run, into a file."""
    path = _path(file)
    ctx.read_pipe()
    current = ctx.current
    backend = current.settled_backend
    config = current.config
    names = [name for name in require_data(config, backend).names if travels(name)]
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
        copies = InstanceCopies(backend.backends if backend is not None else NONE, config)
        idle = servers - {*(copies.running() if servers else ())}
        if idle:
            raise NotFoundError(
                f"{', '.join(sorted(idle))} of {current.instance} does not run", hint="start it: inv infra.up"
            )
        with ctx.start.copying(writer.position, sum(copies.sizes(names).values())):
            made = manifest_of(current.claim, "portable", written(config, names, writer), left_out(names))
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
        names = [part.component for part in made.parts if part.component in known and travels(part.component)]
        if not names:
            raise ConflictError(f"{path} has no data for {ctx.current.instance}", hint="see: inv infra.status")
        if made.project != ctx.settings.project:
            ctx.report.warn(f"{path} is of project {made.project}, not of {ctx.settings.project}")
        for text in made.left_out:
            ctx.report.note(f"not in {path.name}: {text}")

        sizes = {name: made.by_component[name].size for name in names}
        by = Replacement(
            words=f"the data of {path} (instance {made.instance}, {ago(made.created_at)} old, {space(made.size)})",
            names=names,
            prepare=lambda copies: fill(ctx, copies, found, names),
            sizes=sizes,
            passes=PASSES - 1,
            needs=lambda copies: needs(copies, sizes),
        )
        replace(ctx, by, yes=yes, backup=backup, as_json=as_json)


def _path(file: str) -> Path:
    return Path(os.path.abspath(Path(file).expanduser()))  # noqa: PTH100 - links stay as they are
