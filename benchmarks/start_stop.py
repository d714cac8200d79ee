"""`inv dev --detach` beside its longest chain of needs, `inv dev.stop` beside its slowest part."""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

from benchmarks import alone, timeline
from benchmarks.measure import Line, run, timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from benchmarks.timeline import Timeline

ROUNDS = 5
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
    ratios, seen, bare = [], [], []
    for _ in range(ROUNDS if kind == "warm" else 3):
        seconds = alone.starts(host)
        chain, critical = alone.longest_chain(host, seconds)
        _stop(host, kind)
        bare.append(timed(lambda: run([host.inv, "--list"], host.main.path, host.environ)))
        seen.append(timeline.record(f"inv dev --detach, {kind}, {host.backend}", command, host.main.path, host.environ))
        ratios.append((seen[-1].total / (critical + bare[-1]), critical))
        _stop(host, kind)
    ratio = statistics.median(ratio for ratio, _ in ratios)
    critical = statistics.median(critical for _, critical in ratios)
    typical = sorted(seen, key=lambda it: it.total)[len(seen) // 2]
    yield from timeline.chart(typical)
    if pictures is not None:
        (pictures / f"start-{host.backend}-{kind}.svg").write_text(timeline.svg(typical), encoding="utf-8")
    yield f"  alone: {', '.join(f'{name} {took:.2f}' for name, took in seconds.items())} s"
    yield _verdict(host, kind, typical, chain, critical, statistics.median(bare), ratio)


def _verdict(
    host: BenchHost, kind: str, typical: Timeline, chain: list[str], critical: float, bare: float, ratio: float
) -> Line:
    return Line(
        f"{host.backend}: inv dev --detach, {kind}, ÷ (inv itself + {' → '.join(chain)})",
        f"≤ {START_LIMIT:g} ×",
        f"{ratio:.2f} × ({typical.total:.2f} s : {bare:.2f} + {critical:.2f} s; inv's CPU {typical.cpu:.2f} s)",
        ratio <= START_LIMIT,
    )


def _stop(host: BenchHost, kind: str) -> None:
    host.main.inv("dev.stop", *(["--volumes", "--yes"] if kind == "cold" else []))


def _stopping(host: BenchHost) -> Iterator[Line | str]:
    alone.starts(host)
    ratios, walls, parts = [], [], {}
    for _ in range(ROUNDS):
        host.main.inv("dev", "--detach")
        parts = alone.stops(host)
        bare = timed(lambda: run([host.inv, "--list"], host.main.path, host.environ))
        host.main.inv("dev", "--detach")
        walls.append(timed(lambda: host.main.inv("dev.stop")))
        ratios.append(walls[-1] / (max(parts.values()) + bare))
    ratio = statistics.median(ratios)
    slowest = max(parts, key=lambda name: parts[name])
    yield f"  stopped alone: {', '.join(f'{name} {took:.2f}' for name, took in parts.items())} s"
    yield Line(
        f"{host.backend}: inv dev.stop ÷ (inv itself + slowest part: {slowest})",
        f"≤ {STOP_LIMIT:g} ×",
        f"{ratio:.2f} × ({statistics.median(walls):.2f} s; {os.cpu_count()} cores)",
        ratio <= STOP_LIMIT,
    )
