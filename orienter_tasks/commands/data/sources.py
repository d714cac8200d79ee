"""Where data comes from that replaces an instance's: a snapshot, or another instance; and which way it goes."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import groupby
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
from orienter_tasks.infra.choice import NONE
from orienter_tasks.infra.copies import InstanceCopies, settings_to_read
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine import worktree
from orienter_tasks.machine.state import locked
from orienter_tasks.output.units import ago, space

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.manifest import Manifest
    from orienter_tasks.data.room import Need
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.backends import Backends
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
        backends: the only ones for which it can be prepared; none for any.
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
    backends: Backends = NONE
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
        backends: where it was made; none where it consists of files only.
        names: the components that it has.
        image: returns the image of a component's server, if it is known.
        server: returns which server has written a component's data.
    """

    words: str
    backends: Backends
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
        backends=found.backends,
        names=[*parts],
        image=lambda component: parts[component].image,
        server=lambda component: parts[component].server,
    )
    why = _why_carried(origin, target)
    names = [each for each in origin.names if each not in why or travels(each)]
    sizes = {component: parts[component].size for component in names}
    settings = _settings_to_read(ctx, target, origin, why, what)

    def load(copies: InstanceCopies, names: Sequence[str]) -> None:
        with store.reading(project, name) as (place, manifest):
            copies.load_all(names, place, manifest, what)

    def prepare(copies: InstanceCopies) -> None:
        for carried, group in _ways(names, why):
            if carried:
                before = partial(load, names=group)
                carry(ctx, copies, group, throwaway(ctx, settings, origin.backends, before=before))
            else:
                load(copies, group)

    return Replacement(
        words=origin.words,
        names=names,
        prepare=prepare,
        backends=backends_of(target) if origin.servers else NONE,
        how=_how(why, names),
        snapshot="" if found.automatic else name,
        sizes=sizes,
        passes=PASSES if why else 1,
        needs=lambda copies: [
            *needs(copies, _of(why, sizes)),
            *copies.needs_to_load(_of({*names} - {*why}, sizes), store.place_of(project, name)),
        ],
    )


def of_instance(ctx: RunContext, target: CurrentInstance, source: str, *, quiesce: bool = False) -> Replacement:
    """Return the data of another instance of the project as what replaces an instance's data."""
    claim = _claim_of(ctx, source, target)
    config = config_of(claim, ctx.settings, {})
    backend = choice.of(claim.backends, config)
    copies = InstanceCopies(backend.backends if backend is not None else NONE, config)
    if not ctx.options.dry:
        copies.servers.get_ready()
    origin = Origin(
        words=f"the data of {config.instance}",
        backends=copies.servers.backends,
        names=[name for name in require_data(config, backend).names if name == PATHS or name in target.instance.infra],
        image=lambda component: copies.servers.of(component).image_of(component),
        server=lambda component: copies.servers.of(component).server(component),
    )
    why = _why_carried(origin, target)
    names = [each for each in origin.names if each not in why or travels(each)]
    sizes = copies.sizes(names)
    idle = why.keys() - {*copies.running()} if why else ()
    settings = _settings_to_read(ctx, target, origin, idle, f"the data of {config.instance}")

    @contextmanager
    def served(group: Sequence[str]) -> Iterator[InstanceConfig]:
        """Yield the instance while its servers run, else a throwaway one with a copy of its data."""
        if {*group} - {PATHS} <= {*copies.running()}:
            yield config
            return
        before = lambda scratch: scratch.clone(group, copies)  # noqa: E731 - an argument
        with throwaway(ctx, settings, origin.backends, before=before) as scratch:
            yield scratch

    def prepare(prepared: InstanceCopies) -> None:
        with _locked(ctx, config, quiesce=quiesce):
            for carried, group in _ways(names, why):
                if carried:
                    carry(ctx, prepared, group, served(group))
                else:
                    prepared.clone(group, copies)

    return Replacement(
        words=origin.words,
        names=names,
        prepare=prepare,
        backends=backends_of(target) if origin.servers else NONE,
        how=_how(why, names),
        meanwhile=f"stop the services of {config.instance} meanwhile: {services_of(config.instance)}"
        if quiesce
        else "",
        sizes=sizes,
        passes=PASSES if why else 1,
        needs=lambda prepared: [
            *needs(prepared, _of(why, sizes)),
            *copies.needs(_of({*names} - {*why}, sizes), prepared),
        ],
    )


def _ways(names: Sequence[str], carried: Container[str]) -> list[tuple[bool, list[str]]]:
    """Split components where the way changes, and say which are carried: each is copied after those before it."""
    return [(way, [*group]) for way, group in groupby(names, lambda name: name in carried)]


def _of(names: Container[str], sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if name in names}


@contextmanager
def _locked(ctx: RunContext, config: InstanceConfig, *, quiesce: bool) -> Iterator[None]:
    """Let nobody start or stop an instance meanwhile."""
    waiting = lambda holder: ctx.report.warn(f"waiting for {holder}")  # noqa: E731 - an argument
    with locked(config.instance.lock, timeout=ctx.settings.timeouts.lock, on_wait=waiting):
        replacing.settle(config.instance)
        with resting(ctx, config, quiesce=quiesce):
            yield


def _why_carried(origin: Origin, target: CurrentInstance) -> dict[str, str]:
    """Say of each component why the instance's server cannot use its files, where it cannot."""
    if not origin.servers:
        return {}
    own = backends_of(target)
    servers = InstanceCopies(own, target.config).servers
    found = {}
    for name in origin.servers:
        if origin.backends.of(name) != own.of(name):
            found[name] = f"it is of the {origin.backends.of(name)} backend, not of {own.of(name)}"
            continue
        image = origin.image(name)
        if image and image == servers.of(name).image_for(name):
            continue
        readable = servers.of(name).reader(name)
        if readable and (written := origin.server(name)) != readable:
            found[name] = f"it is of {written}, not of {readable}"
    return found


def _how(why: Mapping[str, str], names: Sequence[str]) -> str:
    if not why:
        return ""
    carried = [name for name in names if name in why]
    whose = f"{', '.join(carried)} " if len(carried) < len([name for name in names if name != PATHS]) else ""
    reasons = "; ".join(dict.fromkeys(why.values()))
    return f" {whose}the portable way ({reasons}), left out: {'; '.join(left_out(carried))}"


def _settings_to_read(
    ctx: RunContext, target: CurrentInstance, origin: Origin, names: Collection[str], what: str
) -> Settings:
    """Return settings whose servers can read the files of these components.

    Raises:
        BackendError: this machine does not have them.
    """
    for backend, group in groupby(sorted(names, key=origin.backends.of), origin.backends.of):
        if backend and not choice.available(backend, ctx.settings, [*group]):
            raise BackendError(f"{what} is of the {backend} backend, which is not available here", hint=ELSEWHERE)
    settings = ctx.settings
    for name in names:
        settings = settings_to_read(origin.backends.of(name), settings, name, origin.server(name), origin.image(name))
    servers = InstanceCopies(origin.backends, msgspec.structs.replace(target.config, settings=settings)).servers
    for name in names:
        readable = servers.of(name).reader(name)
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


def backends_of(current: CurrentInstance) -> Backends:
    """Return the backends that an instance has, or would get."""
    settled = current.settled_backend
    return settled.backends if settled is not None else current.decide_backends()


def _described(found: Manifest) -> str:
    branch = f", branch {found.branch}" if found.branch else ""
    return f"instance {found.instance}{branch}, {ago(found.created_at)} old, {space(found.size)}"
