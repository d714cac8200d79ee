"""Run all checks in parallel; their findings have one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor import (
    checks_backend as backends,
    checks_env as env,
    checks_identity as identity,
    checks_machine as machine,
    checks_ports as ports,
    checks_running as running,
    checks_services as services,
)
from orienter_tasks.commands.doctor.context import read
from orienter_tasks.output.checks import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Check

    Look = Callable[[RunContext], Iterable[Check]]

THREADS = 6
FIRST = ("python", "git", "disk", "settings", "instance", "shell", "claims", ".env", "variables", "backend")
"""The first topics in order; the others follow as they are found."""
CHECKS: tuple[tuple[str, Look], ...] = (
    ("python", machine.python),
    ("git", machine.git),
    ("disk", machine.disk),
    ("instance", identity.provenance),
    ("shell", identity.inherited),
    ("claims", identity.doubles),
    ("orphans", running.checkouts_and_orphans),
    (".env", env.present),
    (".env", env.lines),
    (".env", env.keys),
    (".env", env.secrets),
    (".env", env.ignored_by_git),
    ("backend", backends.backend),
    ("engine", backends.engine),
    ("embedded", backends.embedded),
    ("ports", ports.held),
    ("exposed", ports.exposed),
    ("servers", running.servers),
    ("records", running.stale_records),
    ("orphans", running.throwaways),
    ("programs", services.found),
    ("programs", services.node),
    ("services", services.skipped),
    ("services", services.leases),
)
"""Each check, with the topic of an error that ends it."""


def examine(ctx: RunContext) -> list[Check]:
    """Return what all checks find, in the order of topics; nothing is claimed or changed."""
    about, found = read(ctx)
    told = {check.text for check in found}
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        answers = pool.map(lambda check: collect(check[0], partial(check[1], about)), CHECKS)
        found += [check for answer in answers for check in answer if check.text not in told]
    order = {topic: number for number, topic in enumerate(dict.fromkeys([*FIRST, *(one.topic for one in found)]))}
    return sorted(found, key=lambda check: order[check.topic])
