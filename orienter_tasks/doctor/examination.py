"""Run all checks at once, and tell their findings in one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orienter_tasks.doctor import dotenv, engines, identities, listeners, machine, programs, running
from orienter_tasks.doctor.finding import Finding
from orienter_tasks.errors import OrienterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orienter_tasks.cleanup.things import Reality
    from orienter_tasks.doctor.situation import Situation

THREADS = 6


def examine(situation: Situation) -> list[Finding]:
    """Return every finding."""
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        answers = pool.map(lambda check: _findings(check, situation), CHECKS)
        return [finding for findings in answers for finding in findings]


def _findings(check: Callable[[Situation], Iterable[Finding]], situation: Situation) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(situation))
    except OrienterError as error:
        found.append(Finding("problem", check.__name__, str(error), error.hint))
    return found


def checkouts_and_orphans(situation: Situation) -> Iterator[Finding]:
    """Compare the claims with the checkouts, and both with what there is; read once for all of them."""
    reality = _reality(situation)
    if reality is not None:
        yield from identities.checkouts(situation, reality)
        yield from running.orphans(reality)


def _reality(situation: Situation) -> Reality | None:
    from orienter_tasks.backends.docker import engine as engine_access
    from orienter_tasks.cleanup import collect
    from orienter_tasks.cleanup.scope import Scope

    if situation.settings is None:
        return None
    view = collect.Viewpoint(situation.settings.project, situation.book, situation.root, engine_access.shared())
    return collect.read(view, Scope("weekly"))


CHECKS: tuple[Callable[[Situation], Iterable[Finding]], ...] = (
    machine.python,
    machine.git,
    machine.disk,
    identities.provenance,
    identities.inherited,
    identities.doubles,
    checkouts_and_orphans,
    dotenv.present,
    dotenv.lines,
    dotenv.keys,
    dotenv.secrets,
    dotenv.ignored_by_git,
    engines.backend,
    engines.engine,
    engines.embedded,
    listeners.held,
    listeners.exposed,
    running.servers,
    running.stale_records,
    running.throwaways,
    programs.found,
    programs.node,
    programs.skipped,
    programs.leases,
)
