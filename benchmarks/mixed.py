"""How soon an instance with servers on both backends is ready, beside the slowest of these servers alone."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks import alone
from benchmarks.measure import at_most, run, timed
from benchmarks.servers import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from benchmarks.measure import Line

ROUNDS = 7
LIMIT = 1.3
NATIVE = {"postgres in Docker": ("minio", "nginx"), "postgres native": ("postgres",)}


def measure(host: BenchHost, empty: Path) -> Iterator[Line]:
    """Start the servers with data that is there, in turn with each of them alone, on either backend."""
    for words, native in NATIVE.items():
        host.main.inv("infra.down", "--volumes", "--yes")
        prepare(host, {name: {"backend": "embedded"} for name in native})
        host.main.inv("infra.up")
        found = []
        for _ in range(ROUNDS):
            host.main.inv("infra.down")
            slowest = max(alone.starts(host).values())
            host.main.inv("infra.down")
            bare = timed(lambda: run([host.inv, "--list"], empty, host.environ))
            found.append((timed(lambda: run([host.inv, "infra.up"], host.main.path, host.environ)), bare, slowest))
        took, bare, slowest = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(total / (inv + part) for total, inv, part in found)
        figures = f"{took:.2f} s : {bare:.2f} + {slowest:.2f} s"
        yield at_most(f"warm start, {words} ÷ (bare inv + slowest part)", LIMIT, ratio, figures)
