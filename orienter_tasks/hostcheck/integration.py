"""`inv test.integration`: two throwaway instances side by side, each with its row and its object, and nothing left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orienter_tasks import nginx, ports, shutdown
from orienter_tasks.backends import login
from orienter_tasks.errors import CheckError
from orienter_tasks.hostcheck import throwaway
from orienter_tasks.hostcheck.outcome import Outcome, prove
from orienter_tasks.processes import tree
from orienter_tasks.settings import INFRA, INFRA_PORTS
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.verify.judgement import judge
from orienter_tasks.verify.look import look_at_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.backend import Site
    from orienter_tasks.claims import Claim
    from orienter_tasks.context import InstanceContext
    from orienter_tasks.settings import BackendName, Settings

NAMES = ("one", "two")
TABLE = "orienter_throwaway"


def checks(
    root: Path, settings: Settings, claims: Sequence[Claim], backend: Callable[[], BackendName]
) -> Iterator[Outcome]:
    """Start two instances, try whether they see each other, and take them away.

    Args:
        root: the checkout whose configuration is checked.
        settings: its settings.
        claims: of all checkouts: their ids and ports are left alone.
        backend: says on which backend.
    """
    sites: list[Site] = []
    outcomes: list[Outcome] = []

    def run() -> str:
        name = backend()
        with throwaway.ground(root, settings) as ground:
            numbers = throwaway.free_ids(settings, claims, len(NAMES))
            contexts = [ground.context(ground.checkout(*pair), name) for pair in zip(NAMES, numbers, strict=True)]
            begun = time.monotonic()
            start_all(contexts)
            seconds = time.monotonic() - begun
            sites.extend(ctx.site for ctx in contexts)
            outcomes.extend(_proofs(contexts))
        return f"ids {' and '.join(map(str, numbers))} on {name} in {seconds:.1f} s"

    yield prove("two instances start side by side", run)
    yield from outcomes
    if sites:
        yield prove("nothing is left", lambda: nothing_left(sites))


def start_all(contexts: Sequence[InstanceContext]) -> None:
    """Start the infrastructure of several instances at once, as `inv infra.up` does.

    Raises:
        OrienterError: the first failure; what was started is stopped again.
    """
    try:
        for ctx in contexts:
            startup = ctx.begin()
            nginx.apply(ctx.site, ctx.backend)
            startup.check(INFRA)
            startup.runner.add(ctx.plan.infra)  # it starts in threads of its own
        for ctx in contexts:
            ctx.begin().runner.wait(INFRA)
            ctx.finish()
    except BaseException:
        for ctx in contexts:
            ctx.abort()
        raise


def _proofs(contexts: Sequence[InstanceContext]) -> Iterator[Outcome]:
    sites = [ctx.site for ctx in contexts]
    yield prove("each page answers as its own", lambda: pages(sites))
    yield prove("a row is seen by its own only", lambda: rows(sites))
    yield prove("an object is seen by its own only", lambda: objects(sites))
    yield prove("they share nothing", lambda: nothing_shared(contexts))
    yield prove("one stops, the other goes on", lambda: one_stops(contexts))


def pages(sites: Sequence[Site]) -> str:
    """Require that each nginx says whose it is."""
    for site in sites:
        try:
            nginx.probe(site)
        except NotReadyError as error:
            raise CheckError(str(error)) from error
    return ", ".join(site.instance.url for site in sites)


def rows(sites: Sequence[Site]) -> str:
    """Write a row into each database and read them all."""
    for site in sites:
        with login.database(site) as database:
            database.rows(f"CREATE TABLE {TABLE} (instance integer NOT NULL)")
            database.rows(f"INSERT INTO {TABLE} VALUES (:number)", number=site.instance.id)  # noqa: S608 - our own name
    for site in sites:
        _require_only_own(site, _numbers(site), "row")
    return ", ".join(site.variables["POSTGRES_DB"] for site in sites)


def objects(sites: Sequence[Site]) -> str:
    """Put an object into each bucket and list them all."""
    for site in sites:
        with login.store(site) as store:
            store.put(str(site.instance.id), str(site.instance.root).encode())
    for site in sites:
        with login.store(site) as store:
            _require_only_own(site, [int(name) for name in store.objects()], "object")
            if store.get(str(site.instance.id)) != str(site.instance.root).encode():
                raise CheckError(f"the object of {site.instance} has changed")
            alien = {other.variables["S3_BUCKET"] for other in sites if other is not site} & set(store.buckets())
            if alien:
                raise CheckError(f"the store of {site.instance} has {', '.join(sorted(alien))}")
    return ", ".join(site.variables["S3_BUCKET"] for site in sites)


def nothing_shared(contexts: Sequence[InstanceContext]) -> str:
    """Let `infra.verify` look at them."""
    found = judge(look_at_all([(ctx.site, ctx.backend_name) for ctx in contexts]))
    wrong = [check for check in found if check.verdict in ("shared", "unseen")]
    if wrong:
        raise CheckError(f"{wrong[0].topic}: {wrong[0].detail}")
    return f"{sum(check.verdict == 'ok' for check in found)} checks of infra.verify"


def one_stops(contexts: Sequence[InstanceContext]) -> str:
    """Stop one with its data; the other must not notice."""
    first, *others = contexts
    shutdown.stop_instance(first.instance, first.backend, first.grace, lambda _: None)
    first.backend.remove_data()
    for ctx in others:
        _require_only_own(ctx.site, _numbers(ctx.site), "row")
    stayed = ", ".join(str(ctx.instance.id) for ctx in others)
    return f"instance {first.instance.id} and its data went, and {stayed} stayed"


def nothing_left(sites: Sequence[Site]) -> str:
    """Require that no process, port, container, volume, network or directory of them is left."""
    left = []
    for site in sites:
        left += [tree.describe(process) for process in tree.members(site.instance)]
        held = {name: site.instance.ports[name] for name in INFRA_PORTS}
        left += [f"port {port} ({name})" for name, port in held.items() if not ports.is_free(port)]
        left += [str(path) for path in (site.instance.root,) if path.exists()]
        left += _resources(site)
    if left:
        raise CheckError(f"left: {', '.join(left)}", hint="inv doctor")
    return "no process, port, container, volume, network or directory"


def _resources(site: Site) -> list[str]:
    from orienter_tasks.backends.docker import engine, survey

    if not engine.answers():
        return []
    found = survey.read(engine.shared(), project=site.instance.project)
    return [f"{one.kind} {one.name}" for one in found]


def _numbers(site: Site) -> list[int]:
    with login.database(site) as database:
        return [int(number) for (number,) in database.rows(f"SELECT instance FROM {TABLE}")]  # noqa: S608 - our own name


def _require_only_own(site: Site, seen: Sequence[int], what: str) -> None:
    if list(seen) != [site.instance.id]:
        raise CheckError(f"{site.instance} should see its own {what}, and sees those of {list(seen)}")
