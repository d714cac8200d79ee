"""Where data comes from that replaces an instance's: a snapshot, or another instance; and which way it goes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.data.carrying import carry, left_out, needs, throwaway, travels
from orienter_tasks.commands.data.snapshot import require_data, resting, services_of
from orienter_tasks.data import store
from orienter_tasks.data.files import PATHS
from orienter_tasks.errors import BackendError, ConflictError, NotFoundError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.resolve import parse_id
from orienter_tasks.infra import choice
from orienter_tasks.infra.copies import copies_of, settings_to_read
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine import worktree
from orienter_tasks.machine.state import locked
from orienter_tasks.output.units import ago, space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.manifest import Manifest
    from orienter_tasks.data.room import Need
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.infra.copies import InstanceCopies
    from orienter_tasks.lifecycle.context import CurrentInstance, RunContext
    from orienter_tasks.settings.model import Settings

PASSES = 3  # into a file, from it into servers, and these servers' own files
ELSEWHERE = "on a machine that has it: inv data.restore NAME, inv data.export FILE; then here: inv data.import FILE"


class Replacement(msgspec.Struct, frozen=True):
    """Where data comes from.

    Attributes:
        words: the source, for people.
        names: the components whose data it has.
        prepare: copies it; None for no data.
        backend: the only backend for which it can be prepared; "" for any.
        how: the way that it goes and why, in words; "" where its files are copied.
        snapshot: the named snapshot that it is; "" if it is none.
        meanwhile: what else happens to its source, in words.
        sizes: its bytes by component, as far as they are known.
        passes: how often its bytes are written or read until they are where they belong.
        needs: what its copy needs.
    """

    words: str
    names: Sequence[str]
    prepare: Callable[[InstanceCopies], None] | None = None
    backend: str = ""
    how: str = ""
    snapshot: str = ""
    meanwhile: str = ""
    sizes: Mapping[str, int] = {}
    passes: int = 1
    needs: Callable[[InstanceCopies], Sequence[Need]] = lambda _: ()

    @property
    def total(self) -> int:
        """About how many bytes are copied."""
        return sum(self.sizes.values()) * self.passes


class Origin(msgspec.Struct, frozen=True):
    """What is known of data that is to be copied.

    Attributes:
        words: for people.
        backend: where it was made; "" where it consists of files only.
        names: the components that it has.
        image: returns the image of a component's server, if it is known.
        server: returns which server has written a component's data.
    """

    words: str
    backend: str
    names: Sequence[str]
    image: Callable[[str], str]
    server: Callable[[str], str]

    @property
    def servers(self) -> list[str]:
        return [name for name in self.names if name != PATHS]


def of_snapshot(ctx: RunContext, target: CurrentInstance, name: str) -> Replacement:
    """Return a snapshot of the project as what replaces an instance's data."""
    project = ctx.settings.project
    found, what = store.load(project, name), f"snapshot {name}"
    if found.project != project:
        raise ConflictError(f"{what} is of project {found.project}, not of {project}", hint="see: inv data.list")
    known = {*target.instance.infra, *([PATHS] if target.settings.data.paths else [])}
    parts = {part.component: part for part in found.parts if part.component in known}
    origin = Origin(
        words=f"{what} ({_described(found)})",
        backend=found.backend,
        names=[*parts],
        image=lambda component: parts[component].image,
        server=lambda component: parts[component].server,
    )
    why = _why_carried(origin, target)
    names = [each for each in origin.names if not why or travels(each)]
    sizes = {component: parts[component].size for component in names}
    settings = _settings_to_read(ctx, target, origin, what) if why else ctx.settings

    def load(copies: InstanceCopies) -> None:
        with store.reading(project, name) as (place, manifest):
            copies.load_all(names, place, manifest, what)

    def prepare(copies: InstanceCopies) -> None:
        if why:
            carry(ctx, copies, names, throwaway(ctx, settings, found.backend, before=load))
        else:
            load(copies)

    return Replacement(
        words=origin.words,
        names=names,
        prepare=prepare,
        backend=backend_of(target) if origin.servers else "",
        how=_how(why, names),
        snapshot="" if found.automatic else name,
        sizes=sizes,
        passes=PASSES if why else 1,
        needs=lambda copies: (
            needs(copies, sizes) if why else copies.needs_to_load(sizes, store.place_of(project, name))
        ),
    )


def of_instance(ctx: RunContext, target: CurrentInstance, source: str, *, quiesce: bool = False) -> Replacement:
    """Return the data of another instance of the project as what replaces an instance's data."""
    claim = _claim_of(ctx, source, target)
    config = config_of(claim, ctx.settings, {})
    backend = choice.of(claim.backend, config)
    copies = copies_of(backend.name if backend is not None else "", config)
    if not ctx.options.dry:
        copies.servers.get_ready()
    origin = Origin(
        words=f"the data of {config.instance}",
        backend=copies.backend,
        names=[name for name in require_data(config, backend).names if name == PATHS or name in target.instance.infra],
        image=copies.servers.image_of,
        server=copies.servers.server,
    )
    why = _why_carried(origin, target)
    names = [each for each in origin.names if not why or travels(each)]
    sizes = copies.sizes(names)
    runs = {*origin.servers} <= {*copies.running()} if why else True
    settings = ctx.settings if runs else _settings_to_read(ctx, target, origin, f"the data of {config.instance}")

    @contextmanager
    def served() -> Iterator[InstanceConfig]:
        """Yield the instance while its servers run, else a throwaway one with a copy of its data."""
        with ExitStack() as stack:
            stack.enter_context(_locked(ctx, config, quiesce=quiesce))
            if {*origin.servers} <= {*copies.running()}:
                yield config
                return
            before = lambda scratch: scratch.clone(names, copies)  # noqa: E731 - an argument
            yield stack.enter_context(throwaway(ctx, settings, origin.backend, before=before))

    def prepare(prepared: InstanceCopies) -> None:
        if why:
            carry(ctx, prepared, names, served())
            return
        with _locked(ctx, config, quiesce=quiesce):
            prepared.clone(names, copies)

    return Replacement(
        words=origin.words,
        names=names,
        prepare=prepare,
        backend=backend_of(target) if origin.servers else "",
        how=_how(why, names),
        meanwhile=f"stop the services of {config.instance} meanwhile: {services_of(config.instance)}"
        if quiesce
        else "",
        sizes=sizes,
        passes=PASSES if why else 1,
        needs=lambda prepared: needs(prepared, sizes) if why else copies.needs(sizes, prepared),
    )


@contextmanager
def _locked(ctx: RunContext, config: InstanceConfig, *, quiesce: bool) -> Iterator[None]:
    """Let nobody start or stop an instance meanwhile."""
    waiting = lambda holder: ctx.report.warn(f"waiting for {holder}")  # noqa: E731 - an argument
    with locked(config.instance.lock, timeout=ctx.settings.timeouts.lock, on_wait=waiting):
        replacing.settle(config.instance)
        with resting(ctx, config, quiesce=quiesce):
            yield


def _why_carried(origin: Origin, target: CurrentInstance) -> str:
    """Say why servers of the instance cannot use the data's files; "" if they can."""
    if not origin.servers:
        return ""
    own = backend_of(target)
    if origin.backend != own:
        return f"it is of the {origin.backend} backend, not of {own}"
    servers = copies_of(own, target.config).servers
    for name in origin.servers:
        image = origin.image(name)
        if image and image == servers.image_for(name):
            continue
        readable = servers.reader(name)
        if readable and (written := origin.server(name)) != readable:
            return f"it is of {written}, not of {readable}"
    return ""


def _how(why: str, names: Sequence[str]) -> str:
    return f" the portable way ({why}), left out: {'; '.join(left_out(names))}" if why else ""


def _settings_to_read(ctx: RunContext, target: CurrentInstance, origin: Origin, what: str) -> Settings:
    """Return settings whose servers can read the data's files.

    Raises:
        BackendError: this machine does not have them.
    """
    if not choice.available(choice.named(origin.backend), ctx.settings):
        raise BackendError(f"{what} is of the {origin.backend} backend, which is not available here", hint=ELSEWHERE)
    settings = ctx.settings
    for name in origin.servers:
        settings = settings_to_read(origin.backend, settings, name, origin.server(name), origin.image(name))
    servers = copies_of(origin.backend, msgspec.structs.replace(target.config, settings=settings)).servers
    for name in origin.servers:
        readable = servers.reader(name)
        if readable and (written := origin.server(name)) != readable:
            raise BackendError(f"{what} is of {written}, which is not available here", hint=ELSEWHERE)
    return settings


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


def backend_of(current: CurrentInstance) -> str:
    """Return the backend that an instance has, or would get."""
    settled = current.settled_backend
    return settled.name if settled is not None else current.decide_backend()


def _described(found: Manifest) -> str:
    branch = f", branch {found.branch}" if found.branch else ""
    return f"instance {found.instance}{branch}, {ago(found.created_at)} old, {space(found.size)}"
