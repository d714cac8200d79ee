"""A warm start with the engine on another machine, which is made of namespaces: as root only."""

from __future__ import annotations

import os
import statistics
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from benchmarks import alone
from benchmarks.measure import Line, at_most, run, timed
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine.ports import LOOPBACK
from tests.commands.machines import NAME, Machine
from tests.integration.checkouts import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.hosts import BenchHost

ROUNDS = 7
LIMIT = 1.3


def measure(host: BenchHost, empty: Path, scratch: Path) -> Iterator[Line | str]:
    """Start the servers there in turn with each of their parts alone, in that order."""
    if os.geteuid() != 0:
        raise CheckError("another machine with an engine takes root")
    (scratch / "clusters").mkdir()
    with Machine(scratch / "far", scratch / "clusters") as there:
        there.start_engine(f"{IMAGES}/postgres:local", f"{IMAGES}/s3:local")
        host.environ.update(DOCKER_HOST=f"ssh://{NAME}", PATH=f"{there.directory / 'bin'}:{host.environ['PATH']}")
        try:
            yield from _starting(host, empty)
        finally:
            host.main.inv("dev.stop", "--volumes", "--yes", "--force", code=None)
            for name in ("DOCKER_HOST", "PATH"):
                host.environ[name] = os.environ.get(name, "")


def _ask(host: BenchHost) -> None:
    """Make one round trip to the S3 store, through the forward."""
    port = next(claim.ports["minio_api"] for claim in Claims().read() if claim.root == str(host.main.path))
    connection = HTTPConnection(LOOPBACK, port)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


def _starting(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    alone.starts(host)
    host.main.inv("dev.stop")
    walls, bare, chains, trips, seconds = [], [], [], [], {}
    for _ in range(ROUNDS):
        seconds = alone.starts(host)
        chain, critical = alone.longest_chain(host, seconds)
        trips.append(timed(lambda: _ask(host)) * len(seconds))
        host.main.inv("dev.stop")
        chains.append(critical)
        bare.append(timed(lambda: run([host.inv, "--list"], empty, host.environ)))
        walls.append(timed(lambda: run([host.inv, "dev", "--detach"], host.main.path, host.environ)))
        host.main.inv("dev.stop")
    yield f"  alone: {', '.join(f'{name} {took:.2f}' for name, took in seconds.items())} s; {' → '.join(chain)}"
    allowed = [one + other + trip for one, other, trip in zip(bare, chains, trips, strict=True)]
    ratio = statistics.median(took / limit for took, limit in zip(walls, allowed, strict=True))
    figures = f"{statistics.median(walls):.2f} : {statistics.median(allowed):.2f} s, {ROUNDS} rounds"
    yield at_most("remote engine: start ÷ (bare inv + longest chain + round trips)", LIMIT, ratio, figures)
