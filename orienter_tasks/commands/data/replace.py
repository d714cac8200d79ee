"""Replace an instance's data: by a snapshot, by another instance's data, or by nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.protocol import DataVolume
from orienter_tasks.commands.data.snapshot import files_of, require_data, resting, services_of, take
from orienter_tasks.data import room, store
from orienter_tasks.data.files import PATHS
from orienter_tasks.errors import ConfigError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.resolve import parse_id
from orienter_tasks.infra import choice
from orienter_tasks.infra.copies import copies_of
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine import worktree
from orienter_tasks.machine.state import locked
from orienter_tasks.output.units import ago, space
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.data.manifest import Manifest
    from orienter_tasks.data.room import Need
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.infra.copies import InstanceCopies
    from orienter_tasks.lifecycle.context import CurrentInstance, RunContext
    from orienter_tasks.lifecycle.start import Start

MAIN, EMPTY = "main", "empty"


class Replacement(msgspec.Struct, frozen=True):
    """Where data comes from.

    Attributes:
        words: the source, for people.
        backend: the only backend that can use it; "" for any.
        names: the components whose data it has.
        prepare: copies it; None for no data.
        meanwhile: what else happens to its source, in words.
        snapshot: the named snapshot that it is; "" if it is none.
        sizes: its bytes by component, as far as they are known.
        needs: what its copy needs.
    """

    words: str
    backend: str
    names: Sequence[str]
    prepare: Callable[[InstanceCopies], None] | None = None
    snapshot: str = ""
    meanwhile: str = ""
    sizes: Mapping[str, int] = {}
    needs: Callable[[InstanceCopies], Sequence[Need]] = lambda _: ()


def restore(ctx: RunContext, name: str, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Replace this instance's data by a snapshot."""
    replace(ctx, _of_snapshot(ctx, name), yes=yes, backup=backup, as_json=as_json)


def clone(ctx: RunContext, source: str, *, quiesce: bool, yes: bool, backup: bool, as_json: bool) -> None:
    """Replace this instance's data by that of another instance, which may run."""
    replace(ctx, _of_instance(ctx, source, quiesce=quiesce), yes=yes, backup=backup, as_json=as_json)


def reset(ctx: RunContext, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Go back to the last named snapshot that was taken or restored here, else to no data."""
    name = volumes.snapshot_of(ctx.current.instance)
    replace(
        ctx,
        _of_snapshot(ctx, name) if name else Replacement("no data", "", ()),
        yes=yes,
        backup=backup,
        as_json=as_json,
    )


def replace(ctx: RunContext, by: Replacement, *, yes: bool, backup: bool, as_json: bool) -> None:
    """Stop what runs, replace the data, and start again what ran; the plan is shown, and asked about, before."""
    ctx.read_pipe()
    present = _present(ctx, sizes=True)
    _require_backend(ctx, by)
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
    kept, begun, copies = "", time.monotonic(), copies_of(current.backend.name, current.config)
    try:
        if by.prepare is not None:
            ctx.report.note(f"copying {by.words}")
            with start.copying(copies.copied, by.sizes.values()):
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
        facts |= {"components": list(by.names), "kept": kept or None, "seconds": round(seconds, 3)}
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
    _require_backend(ctx, by)
    _require_room(ctx, by, keep=False)
    copies = copies_of(current.backend.name, current.config)
    try:
        with ctx.start.copying(copies.copied, by.sizes.values()):
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
        return _of_snapshot(source, what)
    tree = worktree.read(ctx.root)
    if not given and tree.main_root == tree.root:
        return None
    try:
        return _of_instance(ctx, "", source)
    except NotFoundError as error:
        if given:
            raise
        ctx.report.warn(f"{ctx.current.instance} begins without data: {error}")
        return None


def _of_snapshot(ctx: RunContext, name: str) -> Replacement:
    project = ctx.settings.project
    found, what = store.load(project, name), f"snapshot {name}"
    if found.project != project:
        raise ConflictError(f"{what} is of project {found.project}, not of {project}", hint="see: inv data.list")
    known = {*ctx.current.instance.infra, *([PATHS] if ctx.settings.data.paths else [])}
    names = [part.component for part in found.parts if part.component in known]

    def prepare(copies: InstanceCopies) -> None:
        with store.reading(project, name) as (place, manifest):
            for component in names:
                copies.load(component, place, manifest.by_component[component], what)

    sizes = {component: found.by_component[component].size for component in names}
    return Replacement(
        words=f"{what} ({_described(found)})",
        backend=_only_on(found.backend, names),
        names=names,
        prepare=prepare,
        snapshot="" if found.automatic else name,
        sizes=sizes,
        needs=lambda copies: copies.needs_to_load(sizes, store.place_of(project, name)),
    )


def _of_instance(
    ctx: RunContext, source: str, project: RunContext | None = None, *, quiesce: bool = False
) -> Replacement:
    claim = _claim_of(project or ctx, source, ctx.current)
    config = config_of(claim, ctx.settings, {})
    backend = choice.of(claim.backend, config)
    claim = msgspec.structs.replace(claim, backend=backend.name if backend is not None else "")
    names = [
        name for name in require_data(config, backend).names if name == PATHS or name in ctx.current.instance.infra
    ]

    origin = copies_of(claim.backend, config)

    def prepare(copies: InstanceCopies) -> None:
        waiting = lambda holder: ctx.report.warn(f"waiting for {holder}")  # noqa: E731 - an argument
        with locked(config.instance.lock, timeout=ctx.settings.timeouts.lock, on_wait=waiting):
            replacing.settle(config.instance)
            with resting(ctx, config, quiesce=quiesce):
                copies.clone(names, origin)

    sizes = origin.sizes(names)
    return Replacement(
        words=f"the data of {config.instance}",
        backend=_only_on(claim.backend, names),
        names=names,
        prepare=prepare,
        meanwhile=f"stop the services of {config.instance} meanwhile: {services_of(config.instance)}"
        if quiesce
        else "",
        sizes=sizes,
        needs=lambda copies: origin.needs(sizes, copies),
    )


def _only_on(backend: str, names: Sequence[str]) -> str:
    """Return the only backend that can use a copy; "" for any, where it has nothing but files."""
    return "" if [*names] == [PATHS] else backend


def _claim_of(ctx: RunContext, source: str, own: CurrentInstance) -> Claim:
    """Return the claim of an instance of this project by its id, also of a checkout that is gone; by default main's."""
    project = ctx.settings.project
    claims = [claim for claim in ctx.claims.read() if claim.project == project]
    if source:
        number = parse_id(source, ctx.settings.instances.max, "--source")
        found = [claim for claim in (*claims, *volumes.parked(project, claims)) if claim.id == number]
        missing = NotFoundError(f"{project} has no instance {number}", hint="inv instances")
    else:
        main = str(worktree.read(ctx.root).main_root)
        found = [claim for claim in claims if claim.root == main]
        missing = NotFoundError(f"the main checkout {main} has no instance", hint="name another one with --source")
    if not found:
        raise missing
    if found[0].token == own.claim.token:
        raise ConflictError(f"{own.instance} is this checkout's own", hint="name another one with --source")
    return found[0]


def _require_room(ctx: RunContext, by: Replacement, *, keep: bool) -> None:
    """Require room for the copy, and for the automatic snapshot if there will be one, as far as sizes are known."""
    current = ctx.current
    copies = copies_of(_backend_of(current), current.config)
    needs = [*by.needs(copies)]
    if keep:
        names = require_data(current.config, current.settled_backend).names
        needs += copies.needs(copies.sizes(names))
    room.require(f"giving {current.instance} {by.words}", needs)


def _backend_of(current: CurrentInstance) -> str:
    settled = current.settled_backend
    return settled.name if settled is not None else current.decide_backend()


def _require_backend(ctx: RunContext, by: Replacement) -> None:
    current = ctx.current
    own = _backend_of(current)
    if by.backend not in ("", own):
        raise ConflictError(
            f"{by.words} is of the {by.backend} backend, and {current.instance} is on {own}",
            hint=f"start over there: inv dev.stop --volumes, then inv dev --backend {by.backend}",
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
    return [*lines, f"give {instance} {by.words}", *([by.meanwhile] if by.meanwhile else [])]


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


def _described(found: Manifest) -> str:
    branch = f", branch {found.branch}" if found.branch else ""
    return f"instance {found.instance}{branch}, {ago(found.created_at)} old, {space(found.size)}"
