"""What the preset redis adds to a warm start of the servers, and its memory."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.alone import side_by_side
from benchmarks.measure import Line, run, timed
from tests.integration.checkouts import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

ROUNDS = 15
SECONDS_LIMIT, MEMORY_LIMIT = 0.05, 12  # MB


def measure(host: BenchHost) -> Iterator[Line]:
    """Start the servers with and without it in turn, each time with data that is there; and as if nobody had `inv`."""
    infra = {"redis": {"image": f"{IMAGES}/redis:local"} if host.backend == "docker" else {}}
    _start(host, infra)
    memory = next(part["memory_bytes"] for part in _parts(host) if part["name"] == "redis") / 1_000_000
    rounds = [[take(host, each) for take in (_start, _alone) for each in (infra, {})] for _ in range(ROUNDS)]
    with_it, without, alone_with, alone_without = (statistics.median(column) for column in zip(*rounds, strict=True))
    added = statistics.median(one - other for one, other, *_ in rounds)
    bound = statistics.median(one - other for *_, one, other in rounds)
    figures = f"{with_it:.2f} s : {without:.2f} s, {ROUNDS} rounds in turn"
    limit = f"≤ {SECONDS_LIMIT:g} s"
    yield Line("redis adds to a warm start", limit, f"{added:.3f} s", added <= SECONDS_LIMIT, figures)
    figures = f"{alone_with:.2f} s : {alone_without:.2f} s, in the same rounds"
    yield Line("redis adds without our code", "", f"{bound:.3f} s", None, figures)
    yield Line("memory of redis", f"≤ {MEMORY_LIMIT} MB", f"{memory:.1f} MB", memory <= MEMORY_LIMIT)


def _start(host: BenchHost, infra: dict[str, Any]) -> float:
    """Stop the servers, and return how long starting them takes with these settings."""
    prepare(host, infra)
    return timed(lambda: run([host.inv, "infra.up"], host.main.path, host.environ))


def _alone(host: BenchHost, infra: dict[str, Any]) -> float:
    """Likewise, without `inv`: all servers side by side, and nothing else."""
    prepare(host, infra)
    return side_by_side(host)


def prepare(host: BenchHost, infra: dict[str, Any]) -> None:
    """Stop the servers, and change what the settings say of them."""
    host.main.inv("infra.down")
    host.settings = {**host.settings, "infra": infra}
    file = host.main.path / "invoke.yaml"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["orienter"]["infra"] = infra
    file.write_text(json.dumps(settings), encoding="utf-8")


def _parts(host: BenchHost) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = host.main.inv("infra.stats", "--json").json["components"]
    return parts
