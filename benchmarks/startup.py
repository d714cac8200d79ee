"""How long a start takes, beside the longest chain of its components; what stopping takes; what it weighs."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

from benchmarks.measure import Line, at_most, pss, run, timed
from orienter_tasks.claims import Claims
from orienter_tasks.inventory import of_claim
from orienter_tasks.processes.record import load_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.checkouts import Checkout, Host

ROUNDS = 3
CHAIN = ("postgres", "migrate", "dashboard", "opencode")  # the demo's longest chain of needs
_READY = re.compile(r"^(\S+): ready(?: in ([0-9.]+) s)?", re.MULTILINE)


def servers(host: Host, inv: str) -> Iterator[Line]:
    """PostgreSQL, S3 and nginx alone: cold, warm, stop, memory of one and of five."""
    first = timed(lambda: host.main.inv("infra.up"))
    yield at_most("servers ready, cold, first on this machine", first, 3.0, unit="s")
    host.main.inv("infra.down", "--volumes", "--yes")
    cold = timed(lambda: host.main.inv("infra.up"))
    yield at_most("servers ready, cold", cold, 3.0, unit="s")
    stops, warms = [], []
    for _ in range(ROUNDS):
        stops.append(timed(lambda: host.main.inv("infra.down")))
        warms.append(timed(lambda: host.main.inv("infra.up")))
    idle = statistics.median(timed(lambda: run([inv, "--list"], host.main.path, host.environ)) for _ in range(5))
    warm, stop = statistics.median(warms), statistics.median(stops)
    yield at_most("servers ready, warm, whole command", warm, 0.5 + idle, unit="s", detail=f"inv alone {idle:.2f} s")
    yield at_most("servers stopped, whole command", stop, 1.0 + idle, unit="s")
    if host.backend == "embedded":
        yield from _memory(host)
    host.main.inv("infra.down")


def whole(host: Host, inv: str) -> Iterator[Line]:
    """`inv dev --detach` with the demo, beside its longest chain and the interpreter's own start."""
    host.main.inv("dev", "--detach")
    host.main.inv("dev.stop")
    ratios, walls = [], []
    for _ in range(ROUNDS):
        answer: list[str] = []
        wall = timed(lambda answer=answer: answer.append(host.main.inv("dev", "--detach").err))  # type: ignore[misc]
        idle = timed(lambda: run([inv, "--list"], host.main.path, host.environ))
        took = {name: float(seconds or 0) for name, seconds in _READY.findall(answer[0])}
        ratios.append(wall / (sum(took[name] for name in CHAIN) + idle))
        walls.append(wall)
        host.main.inv("dev.stop")
    ratio = statistics.median(ratios)
    yield Line(
        f"inv dev --detach, warm, beside {' → '.join(CHAIN)} + inv",
        "≤ 1.25 ×",
        f"{ratio:.2f} × ({statistics.median(walls):.2f} s)",
        ratio <= 1.25,  # noqa: PLR2004 - the target
    )


def _memory(host: Host) -> Iterator[Line]:
    yield at_most("memory of one instance's servers (PSS)", pss(_pids(host.main)), 100, unit="MB")
    others = [host.worktree(host.directory / "wt" / f"tree-{index}") for index in range(4)]
    for checkout in others:
        checkout.inv("infra.up")
    each = sum(pss(_pids(checkout)) for checkout in (host.main, *others)) / 5
    yield at_most("memory of each of five instances' servers (PSS)", each, 60, unit="MB")
    for checkout in others:
        checkout.inv("infra.down")


def _pids(checkout: Checkout) -> list[int]:
    claim = next(claim for claim in Claims().read() if claim.root == str(checkout.path))
    return [record.pid for record in load_all(of_claim(claim)) if record.alive()]
