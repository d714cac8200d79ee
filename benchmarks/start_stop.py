"""`inv dev --detach` and `inv dev.stop` beside the same without us, and beside the longest chain of needs."""

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
START_LIMIT = {"warm": {"embedded": 1.15, "docker": 1.25}, "cold": {"embedded": 1.1, "docker": 1.1}}
STOP_LIMIT = 1.25


def measure(host: BenchHost, empty: Path, pictures: Path | None) -> Iterator[Line | str]:
    """Measure starting cold and warm, and stopping."""
    host.main.inv("dev", "--detach")  # compiled modules, the cluster's template, images
    host.main.inv("dev.stop")
    yield from _starting(host, empty, "warm", pictures)
    yield from _starting(host, empty, "cold", pictures)
    yield from _stopping(host, empty)


def _starting(host: BenchHost, empty: Path, kind: str, pictures: Path | None) -> Iterator[Line | str]:
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
        bare.append(timed(lambda: run([host.inv, "--list"], empty, host.environ)))
        seen.append(timeline.record(f"inv dev --detach, {kind}, {host.backend}", command, host.main.path, host.environ))
        total = seen[-1].total
        ratios.append((total / (together[-1] + bare[-1]), total / (critical + bare[-1]), critical))
        _stop(host, kind)
    ratio, of_chain, critical = (statistics.median(column) for column in zip(*ratios, strict=True))
    typical = sorted(seen, key=lambda it: it.total)[len(seen) // 2]
    yield from timeline.chart(typical)
    if pictures is not None:
        (pictures / f"start-{host.backend}-{kind}.svg").write_text(timeline.svg(typical), encoding="utf-8")
    yield f"  alone: {', '.join(f'{name} {took:.2f}' for name, took in seconds.items())} s"
    yield f"  longest chain: {' → '.join(chain)}"
    busy, cores = min(it.busy for it in seen), os.cpu_count() or 1
    yield f"  CPU of all cores {busy:.2f} s, {typical.cpu:.2f} of it inv's: at least {busy / cores:.2f} s on {cores}"
    start, inv = f"{typical.total:.2f} s", f"{statistics.median(bare):.2f}"
    figures = f"{start} : {inv} + {statistics.median(together):.2f} s"
    yield at_most(f"{kind} start ÷ (bare inv + all side by side)", START_LIMIT[kind][host.backend], ratio, figures)
    name, figures = f"– {kind} start ÷ (bare inv + longest chain)", f"{start} : {inv} + {critical:.2f} s"
    yield Line(name, "", f"{of_chain:.2f} ×", None, figures)


def _stop(host: BenchHost, kind: str) -> None:
    host.main.inv("dev.stop", *(["--volumes", "--yes"] if kind == "cold" else []))


def _stopping(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    alone.starts(host)
    walls, bare, ordered, chains, parts = [], [], [], [], {}
    for _ in range(ROUNDS):
        host.main.inv("dev", "--detach")
        parts = alone.stops(host)
        bare.append(timed(lambda: run([host.inv, "--list"], empty, host.environ)))
        host.main.inv("dev", "--detach")
        walls.append(timed(lambda: run([host.inv, "dev.stop"], host.main.path, host.environ)))
        host.main.inv("dev", "--detach")
        ordered.append(alone.stop_in_order(host))
        chain, critical = alone.longest_chain(host, parts)
        chains.append(critical)
    yield f"  stopped alone: {', '.join(f'{name} {took:.2f}' for name, took in parts.items())} s"
    yield f"  longest chain: {' ← '.join(chain)}"
    wall, inv = f"{statistics.median(walls):.2f} s", f"{statistics.median(bare):.2f}"
    ratio = statistics.median(took / (one + other) for took, one, other in zip(walls, bare, ordered, strict=True))
    figures = f"{wall} : {inv} + {statistics.median(ordered):.2f} s"
    yield at_most("stop ÷ (bare inv + all in order)", STOP_LIMIT, ratio, figures)
    ratio = statistics.median(took / (one + other) for took, one, other in zip(walls, bare, chains, strict=True))
    figures = f"{wall} : {inv} + {statistics.median(chains):.2f} s"
    yield Line("– stop ÷ (bare inv + longest chain)", "", f"{ratio:.2f} ×", None, figures)
