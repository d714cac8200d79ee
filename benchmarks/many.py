"""Ten instances at once, as many as Docker's networks allow, and fifty one after the other."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.hosts import HIGHEST_ID, records
from benchmarks.measure import Line, paired, pss, run, timed
from benchmarks.timeline import curve, sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from tests.integration.checkouts import Checkout

TEN, FIFTY = 10, 50
MEMORY_LIMIT = 50
LISTING_LIMIT = 0.35 / 0.16
STOP_LIMIT = 3.0
FLAT = 1.3


def ten(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    """Start ten at once; verify, list and stop them."""
    checkouts = [host.main, *host.worktrees(TEN - 1)]
    host.main.inv("dev", "--detach")
    one = min(timed(lambda: host.main.inv("dev.stop")) for _ in _again(host, 3))
    begun = time.perf_counter()
    with ThreadPoolExecutor(max_workers=TEN) as pool:
        list(pool.map(lambda checkout: checkout.inv("dev", "--detach", "--timeout", "120"), checkouts))
    wall = time.perf_counter() - begun
    listed = host.main.inv("instances", "--json").json["instances"]
    up = sum(it["state"] == "running" for it in listed)
    yield Line(
        f"{host.backend}: ten checkouts start inv dev --detach together",
        "all ready",
        f"{up} of {TEN} in {wall:.1f} s ({os.cpu_count()} cores)",
        up == TEN,
    )
    if host.backend == "embedded":
        each = _servers_memory(checkouts)
        yield Line(
            "embedded: memory of the servers of each of ten (PSS)",
            f"≤ {MEMORY_LIMIT} MB",
            f"{each:.0f} MB",
            each <= MEMORY_LIMIT,
        )
    yield _verified(host, TEN)
    yield _listing(host, empty, TEN)
    begun = time.perf_counter()
    host.main.inv("dev.stop", "--all")
    all_of_them = time.perf_counter() - begun
    yield Line(
        f"{host.backend}: inv dev.stop --all of ten ÷ inv dev.stop of one",
        f"≤ {STOP_LIMIT:g} ×",
        f"{all_of_them / one:.2f} × ({all_of_them:.2f} s : {one:.2f} s)",
        all_of_them <= STOP_LIMIT * one,
    )


def fifty(host: BenchHost, empty: Path, pictures: Path | None) -> Iterator[Line | str]:
    """Start the servers of fifty checkouts one after the other."""
    checkouts = [host.main, *host.worktrees(FIFTY - 1)]
    host.main.inv("infra.up")
    took = [timed(lambda it=checkout: it.inv("infra.up")) for checkout in checkouts[1:]]  # type: ignore[misc]
    growth = statistics.median(took[-10:]) / statistics.median(took[:10])
    yield f"  seconds for each next one: {sparkline(took)}  {min(took):.2f} to {max(took):.2f} s"
    if pictures is not None:
        title = "inv infra.up of each next checkout, seconds (embedded, servers only)"
        (pictures / "fifty.svg").write_text(curve(title, took, "s"), encoding="utf-8")
    yield Line(
        "embedded: fifty, one after the other: last ten ÷ first ten",
        f"≤ {FLAT:g} ×",
        f"{growth:.2f} × ({statistics.median(took):.2f} s each)",
        growth <= FLAT,
    )
    yield Line(
        "embedded: memory of the servers of each of fifty (PSS)", "", f"{_servers_memory(checkouts):.0f} MB", None
    )
    yield _verified(host, FIFTY)
    yield _listing(host, empty, FIFTY, limit=None)
    begun = time.perf_counter()
    host.main.inv("dev.stop", "--all")
    yield Line("embedded: inv dev.stop --all of fifty", "", f"{time.perf_counter() - begun:.1f} s", None)


def until_full(host: BenchHost) -> Iterator[Line | str]:
    """Start servers in Docker until it has no network left; the refusal must say so, and leave nothing."""
    checkouts = [host.main, *host.worktrees(HIGHEST_ID)]
    started, refusal = 0, ""
    for checkout in checkouts:
        answer = checkout.inv("infra.up", "--timeout", "120", code=None)
        if answer.code != 0:
            refusal = next((line for line in answer.err.splitlines() if line.startswith("error: ")), answer.err)
            break
        started += 1
    clear = not refusal or "no address range left" in refusal
    yield Line("docker: servers of so many checkouts beside each other", "", f"{started}", None)
    yield Line("docker: what the next one is told", "clear", refusal or "it fits, too", clear)
    host.main.inv("dev.stop", "--all")


def _again(host: BenchHost, rounds: int) -> Iterator[int]:
    for number in range(rounds):
        if number:
            host.main.inv("dev", "--detach")
        yield number


def _servers_memory(checkouts: Sequence[Checkout]) -> float:
    total = sum(pss([record.pid for record in records(checkout, servers=True)]) for checkout in checkouts)
    return total / len(checkouts)


def _verified(host: BenchHost, count: int) -> Line:
    begun = time.perf_counter()
    answer = host.main.inv("infra.verify", code=None)
    last = (answer.out + answer.err).strip().splitlines()[-1] if answer.code else "nothing is shared"
    return Line(
        f"{host.backend}: isolation of {count} verified (inv infra.verify)",
        "exit 0",
        f"{last}, in {time.perf_counter() - begun:.1f} s",
        answer.code == 0,
    )


def _listing(host: BenchHost, empty: Path, count: int, limit: float | None = LISTING_LIMIT) -> Line:
    a, b, ratio = paired(
        lambda: run([host.inv, "instances"], host.main.path, host.environ),
        lambda: run([host.inv, "--list"], empty, host.environ),
        rounds=7,
    )
    return Line(
        f"{host.backend}: inv instances with {count} running ÷ inv --list of an empty tasks.py",
        f"≤ {limit:.2f} ×" if limit else "",
        f"{ratio:.2f} × ({a:.2f} s : {b:.2f} s)",
        ratio <= limit if limit else None,
    )
