"""`inv dev --detach` beside its longest chain of needs, `inv dev.stop` beside its slowest part."""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

from benchmarks import alone, timeline
from benchmarks.measure import Line, at_most, run, timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.hosts import BenchHost

ROUNDS = 3
START_LIMIT, STOP_LIMIT = 1.15, 1.2


def measure(host: BenchHost, pictures: Path | None) -> Iterator[Line | str]:
    """Measure starting cold and warm, and stopping."""
    host.main.inv("dev", "--detach")  # compiled modules, the cluster's template, images
    host.main.inv("dev.stop")
    yield from _starting(host, "warm", pictures)
    yield from _starting(host, "cold", pictures)
    yield from _stopping(host)


def _starting(host: BenchHost, kind: str, pictures: Path | None) -> Iterator[Line | str]:
    command = [host.inv, "dev", "--detach"]
    alone.starts(host)  # this process has imported everything from here on
    _stop(host, kind)
    ratios, seen, bare, together = [], [], [], []
    for _ in range(ROUNDS):
        seconds = alone.starts(host)
        chain, critical = alone.longest_chain(host, seconds)
        _stop(host, kind)
        together.append(alone.side_by_side(host))
        _stop(host, kind)
        bare.append(timed(lambda: run([host.inv, "--list"], host.main.path, host.environ)))
        seen.append(timeline.record(f"inv dev --detach, {kind}, {host.backend}", command, host.main.path, host.environ))
        goal = critical + bare[-1]
        ratios.append((seen[-1].total / goal, (together[-1] + bare[-1]) / goal, critical))
        _stop(host, kind)
    ratio, least, critical = (statistics.median(column) for column in zip(*ratios, strict=True))
    typical = sorted(seen, key=lambda it: it.total)[len(seen) // 2]
    yield from timeline.chart(typical)
    if pictures is not None:
        (pictures / f"start-{host.backend}-{kind}.svg").write_text(timeline.svg(typical), encoding="utf-8")
    yield f"  alone: {', '.join(f'{name} {took:.2f}' for name, took in seconds.items())} s"
    yield f"  longest chain: {' → '.join(chain)}"
    busy, cores = min(it.busy for it in seen), os.cpu_count() or 1
    yield f"  CPU of all cores {busy:.2f} s, {typical.cpu:.2f} of it inv's: at least {busy / cores:.2f} s on {cores}"
    alone_with = f"{statistics.median(bare):.2f} + {critical:.2f} s"
    figures = f"{statistics.median(bare):.2f} + {statistics.median(together):.2f} s : {alone_with}"
    yield Line(f"{kind}: inv + all side by side ÷ the same", "", f"{least:.2f} ×", None, figures)
    figures = f"{typical.total:.2f} s : {alone_with}"
    yield at_most(f"{kind} start ÷ (inv + longest chain)", START_LIMIT, ratio, figures)


def _stop(host: BenchHost, kind: str) -> None:
    host.main.inv("dev.stop", *(["--volumes", "--yes"] if kind == "cold" else []))


def _stopping(host: BenchHost) -> Iterator[Line | str]:
    alone.starts(host)
    ratios, walls, bare, chains, ordered, parts = [], [], [], [], [], {}
    for _ in range(ROUNDS):
        host.main.inv("dev", "--detach")
        parts = alone.stops(host)
        bare.append(timed(lambda: run([host.inv, "--list"], host.main.path, host.environ)))
        host.main.inv("dev", "--detach")
        walls.append(timed(lambda: host.main.inv("dev.stop")))
        host.main.inv("dev", "--detach")
        ordered.append(alone.stop_in_order(host))
        ratios.append(walls[-1] / (max(parts.values()) + bare[-1]))
        chain, critical = alone.longest_chain(host, parts)
        goal = critical + bare[-1]
        chains.append((walls[-1] / goal, (ordered[-1] + bare[-1]) / goal, critical))
    ratio = statistics.median(ratios)
    slowest = max(parts, key=lambda name: parts[name])
    yield f"  stopped alone: {', '.join(f'{name} {took:.2f}' for name, took in parts.items())} s"
    figures = f"{statistics.median(walls):.2f} s : {statistics.median(bare):.2f} + {parts[slowest]:.2f} s ({slowest})"
    yield at_most("stop ÷ (inv + slowest part)", STOP_LIMIT, ratio, figures)
    ratio, least, critical = (statistics.median(column) for column in zip(*chains, strict=True))
    chain_alone = f"{statistics.median(bare):.2f} + {critical:.2f} s ({' ← '.join(chain)})"
    figures = f"{statistics.median(bare):.2f} + {statistics.median(ordered):.2f} s : {chain_alone}"
    yield Line("inv + all stopped in order ÷ (inv + chain)", "", f"{least:.2f} ×", None, figures)
    yield at_most(
        "stop ÷ (inv + longest chain)", STOP_LIMIT, ratio, f"{statistics.median(walls):.2f} s : {chain_alone}"
    )
