"""Replace an instance's data: by a snapshot, by another instance's data, or by nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orienter_tasks.backends.protocol import DataVolume
from orienter_tasks.commands.data.snapshot import files_of, require_data, take
from orienter_tasks.commands.data.sources import Replacement, backends_of, of_instance, of_snapshot
from orienter_tasks.data import room, store
from orienter_tasks.data.files import PATHS
from orienter_tasks.errors import ConfigError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.copies import InstanceCopies
from orienter_tasks.machine import worktree
from orienter_tasks.output.units import space
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.lifecycle.start import Start

MAIN, EMPTY = "main", "empty"


def restore(ctx: RunContext, name: str, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Replace this instance's data by a snapshot."""
    replace(ctx, of_snapshot(ctx, ctx.current, name), yes=yes, backup=backup, as_json=as_json)


def clone(ctx: RunContext, source: str, *, quiesce: bool, yes: bool, backup: bool, as_json: bool) -> None:
    """Replace this instance's data by that of another instance, which may run."""
    replace(ctx, of_instance(ctx, ctx.current, source, quiesce=quiesce), yes=yes, backup=backup, as_json=as_json)


def reset(ctx: RunContext, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Go back to the last named snapshot that was taken or restored here, else to no data."""
    name = volumes.snapshot_of(ctx.current.instance)
    replace(
        ctx,
        of_snapshot(ctx, ctx.current, name) if name else Replacement("no data", ()),
        yes=yes,
        backup=backup,
        as_json=as_json,
    )


def replace(ctx: RunContext, by: Replacement, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Stop what runs, replace the data, and start again what ran; the plan is shown, and asked about, before."""
    ctx.read_pipe()
    present = _present(ctx, sizes=True)
    _require_room(ctx, by, keep=bool(present) and backup)
    plan = _plan(ctx, by, present, backup=backup)
    if ctx.options.dry:
        for line in plan:
            ctx.report.answer(f"would {line}")
        return
    _agree(ctx, plan, ask=bool(present) and not yes)
    start = ctx.begin()
    start.check([])
    current = ctx.current
    _require_backend(ctx, by)
    kept, begun, copies = "", time.monotonic(), InstanceCopies(current.backend.backends, current.config)
    try:
        if by.prepare is not None:
            ctx.report.note(f"copying {by.words}{by.how}")
            with start.copying(copies.copied, by.total):
                by.prepare(copies)
        start.require_removable()
        start.show_progress()
        ran = start.stop()
        try:
            if present and backup:
                kept = _back_up(ctx, start)
            if by.prepare is not None:
                copies.swap()
            elif present:
                current.backend.remove_data()
                copies.remove_files()
        except OrienterError:
            with _reported(ctx):
                _start_again(ctx, start, ran)
            raise
    finally:
        copies.discard()
    volumes.remember_snapshot(current.instance, by.snapshot)
    ctx.claims.mark_used(current.claim.token)
    seconds = time.monotonic() - begun
    ctx.report.note(f"{current.instance} has {by.words} now, after {seconds:.1f} s")
    _start_again(ctx, start, ran)
    if as_json:
        facts = {"instance": current.instance.id, "data": by.words, "snapshot": by.snapshot or None}
        facts |= {
            "way": "portable" if by.how else "physical",
            "components": list(by.names),
            "kept": kept or None,
            "seconds": round(seconds, 3),
        }
        ctx.report.json({"replaced": facts})


def first(ctx: RunContext, source: RunContext | None = None) -> None:
    """Before a start: copy what `--data` or the settings say, if the instance has no data yet.

    Args:
        ctx: the run that starts it.
        source: a run of the project whose main checkout and snapshots are meant, if that is another one.

    Raises:
        ConflictError: it has, and the command line asks for other data.
    """
    ctx.begin().check([])
    current, wanted = ctx.current, ctx.options.data
    present = bool(_present(ctx))
    if present and wanted:
        hint = {MAIN: "inv data.clone", EMPTY: "inv dev.stop --volumes"}.get(wanted, f"inv data.restore {wanted}")
        raise ConflictError(f"{current.instance} has data already", hint=f"to replace it: {hint}")
    what = wanted or ctx.settings.data.initial
    by = None if present else _first(ctx, source or ctx, what, given=bool(wanted))
    if by is None or by.prepare is None:
        return
    _require_room(ctx, by, keep=False)
    copies = InstanceCopies(current.backend.backends, current.config)
    if by.how:
        ctx.report.note(f"copying {by.words}{by.how}")
    try:
        with ctx.start.copying(copies.copied, by.total):
            by.prepare(copies)
        copies.swap()
    except BaseException:
        copies.discard()
        current.backend.remove_data()  # so that the next start begins in the same way
        raise
    copies.discard()
    volumes.remember_snapshot(current.instance, by.snapshot)
    ctx.report.note(f"{current.instance} begins with {by.words}")


def _first(ctx: RunContext, source: RunContext, what: str, *, given: bool) -> Replacement | None:
    if what == EMPTY:
        return None
    if what != MAIN:
        return of_snapshot(source, ctx.current, what)
    tree = worktree.read(ctx.root)
    if not given and tree.main_root == tree.root:
        return None
    try:
        return of_instance(source, ctx.current, "")
    except NotFoundError as error:
        if given:
            raise
        ctx.report.warn(f"{ctx.current.instance} begins without data: {error}")
        return None


def _require_room(ctx: RunContext, by: Replacement, *, keep: bool) -> None:
    """Require room for the copy, and for the automatic snapshot if there will be one, as far as sizes are known."""
    current = ctx.current
    copies = InstanceCopies(backends_of(current), current.config)
    needs = [*by.needs(copies)]
    if keep:
        names = require_data(current.config, current.settled_backend).names
        needs += copies.needs(copies.sizes(names))
    room.require(f"giving {current.instance} {by.words}", needs)


def _require_backend(ctx: RunContext, by: Replacement) -> None:
    """Require that the instance has got no other backend than the data is prepared for."""
    present = ctx.current.backend.backends
    if by.backends and any(by.backends.of(name) != present.of(name) for name in by.names):
        raise ConflictError(
            f"{ctx.current.instance} was started on another backend meanwhile ({present})",
            hint="run this again",
        )


def _present(ctx: RunContext, *, sizes: bool = False) -> list[DataVolume]:
    backend, found = ctx.current.settled_backend, files_of(ctx.current.config)
    volumes_ = backend.data_volumes(sizes=sizes) if backend is not None else ()
    return [*volumes_, *([DataVolume(f"{found.files} files of {PATHS}", found.size)] if found.files else [])]


def _plan(ctx: RunContext, by: Replacement, present: Sequence[DataVolume], *, backup: bool) -> list[str]:
    """Say what happens, each line behind "would" or "will"."""
    instance = ctx.current.instance
    lines = []
    if present:
        volumes_ = ", ".join(f"{volume.name} ({space(volume.size)})" for volume in present)
        lines.append(f"replace the data of {instance}: {volumes_}")
        lines.append("keep it as an automatic snapshot" if backup else "keep nothing of it")
    kept = [name for name in catalog.with_data() if name in instance.infra and name not in by.names]
    kept += [PATHS] if ctx.settings.data.paths and PATHS not in by.names else []
    if by.prepare is not None and kept:
        lines.append(f"leave as it is: {', '.join(kept)}, whose data is not part of the copy")
    return [*lines, f"give {instance} {by.words}{by.how}", *([by.meanwhile] if by.meanwhile else [])]


def _agree(ctx: RunContext, plan: Sequence[str], *, ask: bool) -> None:
    def tell() -> None:
        for line in plan:
            ctx.report.warn(f"this will {line}")

    if ask and not ctx.report.confirm("do it?", refusal=f"this will {'; '.join(plan)}", before=tell):
        raise ConfigError("nothing was changed")


def _back_up(ctx: RunContext, start: Start) -> str:
    """Take an automatic snapshot; return its name."""
    current = ctx.current
    name = store.free_name(ctx.settings.project, f"{store.AUTOMATIC}{current.instance.id}-")
    made = take(current.claim, current.config, current.backend, name, start)
    ctx.report.note(f"what {current.instance} had is kept: inv data.restore {name} ({space(made.size)})")
    return name


def _start_again(ctx: RunContext, start: Start, ran: Sequence[str]) -> None:
    """Start the servers, and if any ran the hooks and services too."""
    from orienter_tasks.commands.start import await_infra, start_all, start_infra

    if not ran:
        start.finish()
        return
    start_infra(ctx)
    if any(not catalog.component_of(name) for name in ran):
        start_all(ctx)
        start.foreground = False
    else:
        await_infra(ctx, ready=True)


@contextmanager
def _reported(ctx: RunContext) -> Iterator[None]:
    """Report an error on the way out of another one, which ends the run."""
    try:
        yield
    except OrienterError as error:
        ctx.report.error(error)
