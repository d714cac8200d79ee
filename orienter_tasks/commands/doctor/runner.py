"""Run all checks at once, and tell their findings in one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor import checks_services as programs
from orienter_tasks.commands.doctor.checks_backend import backend, embedded, engine
from orienter_tasks.commands.doctor.checks_env import ignored_by_git, keys, lines, present, secrets
from orienter_tasks.commands.doctor.checks_identity import checkouts, doubles, inherited, provenance
from orienter_tasks.commands.doctor.checks_machine import disk, git, python
from orienter_tasks.commands.doctor.checks_ports import exposed, held
from orienter_tasks.commands.doctor.checks_running import orphans, servers, stale_records, throwaways
from orienter_tasks.commands.doctor.finding import Finding
from orienter_tasks.errors import OrienterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orienter_tasks.commands.cleanup.model import Snapshot
    from orienter_tasks.commands.doctor.context import Situation

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
        yield from checkouts(situation, reality)
        yield from orphans(reality)


def _reality(situation: Situation) -> Snapshot | None:
    from orienter_tasks.backends.docker.engine import shared
    from orienter_tasks.commands.cleanup.scope import Scope
    from orienter_tasks.commands.cleanup.snapshot import Viewpoint, read

    if situation.settings is None:
        return None
    view = Viewpoint(situation.settings.project, situation.book, situation.root, shared())
    return read(view, Scope("weekly"))


CHECKS: tuple[Callable[[Situation], Iterable[Finding]], ...] = (
    python,
    git,
    disk,
    provenance,
    inherited,
    doubles,
    checkouts_and_orphans,
    present,
    lines,
    keys,
    secrets,
    ignored_by_git,
    backend,
    engine,
    embedded,
    held,
    exposed,
    servers,
    stale_records,
    throwaways,
    programs.found,
    programs.node,
    programs.skipped,
    programs.leases,
)
