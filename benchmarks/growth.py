"""What one instance's start, stop and status cost beside many others, and with very much data of its own.

All are divided by a bare `inv --list` of the same round: a machine that has become slower meanwhile does not count.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

from msgspec.structs import replace

from benchmarks.measure import Line, at_most, run, timed
from orienter_tasks.identity.claims import Claims, of_claim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.hosts import BenchHost

ROUNDS = 7
LIMIT = 1.2
INSTANCES, CLAIMS, IDS = 50, 500, 50
LOG_BYTES, OBJECTS, ROWS = 2 * 2**30, 100_000, 2_700_000  # 5 GB of rows, four on a page
BLOCK = b"".join(b"2026-01-01 00:00:00,000 GET /api/notes/%d answered 200 in 3 ms\n" % n for n in range(16_384))
BARE = "inv --list"
ASKED = (
    ("stop", ("dev.stop",)),
    ("start", ("dev", "--detach")),
    ("status", ("dev.status",)),
    ("why", ("dev.why",)),
    ("the last lines of all logs", ("dev.logs", "--no-follow", "--lines", "10")),
)


def measure(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    """Measure the main checkout alone, then beside fifty instances and five hundred claims, then with much data."""
    host.configure(host.main, logs={"max_size": "4g"})
    host.main.inv("dev", "--detach")
    alone = _rounds(host, empty)
    real = _crowd(host)
    crowded = _rounds(host, empty)
    yield from _compared(f"{INSTANCES} instances and {CLAIMS} claims", crowded, alone)
    with Claims().changing() as book:
        book[:] = [claim for claim in book if claim.token in real]
    host.main.inv("dev.stop", "--all")
    yield f"  a database of {_fill(host) / 2**30:.1f} GB, {OBJECTS:,} objects, a log of {LOG_BYTES / 2**30:.0f} GB"
    host.main.inv("dev", "--detach")
    yield from _compared("much data", _rounds(host, empty), alone)


def _compared(name: str, now: Mapping[str, float], alone: Mapping[str, float]) -> Iterator[Line]:
    for what, _ in ASKED:
        figures = f"{now[what]:.2f} : {alone[what]:.2f} bare inv"
        yield at_most(f"{what} with {name} ÷ without", LIMIT, now[what] / alone[what], figures)


def _rounds(host: BenchHost, empty: Path) -> dict[str, float]:
    """Return the median of each, in units of a bare `inv --list`."""
    found: dict[str, list[float]] = {what: [] for what, _ in ASKED}
    for number in range(ROUNDS + 1):
        bare = timed(lambda: run([host.inv, "--list"], empty, host.environ))
        for what, words in ASKED:
            took = timed(lambda: run([host.inv, *words], host.main.path, host.environ))  # noqa: B023 - called at once
            if number:  # the first round warms up
                found[what].append(took / bare)
    return {what: statistics.median(ratios) for what, ratios in found.items()}


def _crowd(host: BenchHost) -> set[str]:
    """Start the servers of other checkouts, and make claims of other projects; return the tokens of the real ones."""
    for checkout in host.worktrees(INSTANCES - 1):
        checkout.inv("infra.up")
    with Claims().changing() as book:
        real, first = {claim.token for claim in book}, book[0]
        for number in range(CLAIMS - len(book)):
            root = host.directory / "claimed" / str(number)
            root.mkdir(parents=True)
            ports = {name: 100_000 + number * len(first.ports) + place for place, name in enumerate(first.ports)}
            book.append(
                replace(
                    first,
                    token=f"{number:032x}",
                    project=f"{host.project}-{number // IDS}",
                    id=number % IDS,
                    root=str(root),
                    main_root=str(root),
                    worktree=root.name,
                    git_dir="",
                    ports=ports,
                )
            )
    return real


def _fill(host: BenchHost) -> int:
    """Give the stopped main checkout a long log, many objects and many rows; return the bytes of its database."""
    main, known = host.main, host.main.variables
    (claim,) = [each for each in Claims().read() if each.root == str(main.path)]
    with (of_claim(claim).log_dir / "dashboard-dev.log").open("ab") as log:
        for _ in range(LOG_BYTES // len(BLOCK)):
            log.write(BLOCK)
    bucket = main.works_in("minio") / "data" / known["S3_BUCKET"]
    for number in range(OBJECTS):
        place = bucket / f"{number % 100:02}"
        if number < 100:  # noqa: PLR2004 - each once
            place.mkdir()
        (place / str(number)).write_bytes(b"x")
    main.inv("infra.up")
    rows = f"SELECT n, repeat(md5(n::text), 59) AS text FROM generate_series(1, {ROWS}) n"
    table = f"CREATE UNLOGGED TABLE filled WITH (autovacuum_enabled = off) AS {rows}"
    run([host.inv, "infra.psql", "--", "-qc", table, "-c", "CHECKPOINT"], main.path, host.environ)  # a minute or more
    size = main.inv("infra.psql", "--", "-Atc", "SELECT pg_database_size(current_database())").out
    os.sync()
    return int(size)
