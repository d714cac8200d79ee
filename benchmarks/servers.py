"""What the preset redis adds to a warm start of the servers, and its memory."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Line, run, timed
from tests.integration.checkouts import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

ROUNDS = 15
SECONDS_LIMIT, MEMORY_LIMIT = 0.05, 12  # MB


def measure(host: BenchHost) -> Iterator[Line]:
    """Start the servers with and without it in turn, each time with data that is there."""
    infra = {"redis": {"image": f"{IMAGES}/redis:local"} if host.backend == "docker" else {}}
    _start(host, infra)
    memory = next(part["memory_bytes"] for part in _parts(host) if part["name"] == "redis") / 1_000_000
    pairs = [(_start(host, infra), _start(host, {})) for _ in range(ROUNDS)]
    with_it, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(one - other for one, other in pairs)
    figures = f"{with_it:.2f} s : {without:.2f} s, {ROUNDS} rounds in turn"
    limit = f"≤ {SECONDS_LIMIT:g} s"
    yield Line("redis adds to a warm start", limit, f"{added:.3f} s", added <= SECONDS_LIMIT, figures)
    yield Line("memory of redis", f"≤ {MEMORY_LIMIT} MB", f"{memory:.1f} MB", memory <= MEMORY_LIMIT)


def _start(host: BenchHost, infra: dict[str, Any]) -> float:
    """Stop the servers, and return how long starting them takes with these settings."""
    host.main.inv("infra.down")
    file = host.main.path / "invoke.yaml"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["orienter"]["infra"] = infra
    file.write_text(json.dumps(settings), encoding="utf-8")
    return timed(lambda: run([host.inv, "infra.up"], host.main.path, host.environ))


def _parts(host: BenchHost) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = host.main.inv("infra.stats", "--json").json["components"]
    return parts
