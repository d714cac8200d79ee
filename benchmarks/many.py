"""Ten instances at once, as many as Docker's networks allow, and fifty one after the other."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks import alone
from benchmarks.hosts import HIGHEST_ID, TEN, records
from benchmarks.measure import Line, at_most, paired, pss, run, timed
from benchmarks.timeline import curve, sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from tests.integration.checkouts import Checkout

FIFTY, AT_ONCE = 50, 3
MEMORY_LIMIT = 50
START_LIMIT, STOP_LIMIT = 1.2, 3.0
FLAT = 1.3


def ten(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    """Start ten at once; verify, list and stop them."""
    checkouts = [host.main, *host.worktrees(TEN - 1)]
    host.main.inv("dev", "--detach")
    one = min(timed(lambda: host.main.inv("dev.stop")) for _ in _again(host, 3))
    host.start_together(checkouts)  # each has its data
    host.main.inv("dev.stop", "--all")
    bare = _bare_together(host, empty)
    together = alone.all_side_by_side(host, checkouts)
    host.main.inv("dev.stop", "--all")
    begun = time.perf_counter()
    refused = host.start_together(checkouts)
    wall = time.perf_counter() - begun
    listed = host.main.inv("instances", "--json").json["instances"]
    up = sum(it["state"] == "running" for it in listed)
    yield Line(
        "ten started together: ready", "all", f"{up} of {TEN}", up == TEN, f"in {wall:.1f} s on {os.cpu_count()} cores"
    )
    yield from (f"  {word}" for word in refused)
    figures = f"{wall:.1f} s : {bare:.1f} + {together:.1f} s"
    name = "ten together ÷ (ten bare inv + all side by side)"
    yield at_most(name, START_LIMIT, wall / (bare + together), figures)
    if host.backend == "embedded":
        each = _servers_memory(checkouts)
        yield Line(
            "servers' memory, each of ten", f"≤ {MEMORY_LIMIT} MB", f"{each:.0f} MB", each <= MEMORY_LIMIT, "PSS"
        )
    yield _verified(host, TEN)
    begun = time.perf_counter()
    host.main.inv("dev.stop", "--all")
    all_of_them = time.perf_counter() - begun
    yield at_most("stop of all ten ÷ stop of one", STOP_LIMIT, all_of_them / one, f"{all_of_them:.2f} s : {one:.2f} s")
    yield _least_stop(host, checkouts)


def _bare_together(host: BenchHost, empty: Path) -> float:
    """Run ten of Invoke's own `--list` at once; return the seconds."""
    with ThreadPoolExecutor(max_workers=TEN) as pool:
        return timed(lambda: list(pool.map(lambda _: run([host.inv, "--list"], empty, host.environ), range(TEN))))


def _least_stop(host: BenchHost, checkouts: Sequence[Checkout]) -> Line:
    """Let the kernel, or the engine, end what ten have and what one has, with nothing of ours about it."""
    docker = host.backend == "docker"
    seconds = []
    for some, ids in ((checkouts[:1], "0"), (checkouts, "[0-9]+")):
        host.start_together(some)
        seconds.append(alone.end_containers(host, ids) if docker else alone.end_processes(some))
        host.main.inv("dev.stop", "--all")
    one, all_of_them = seconds
    name = "docker stop, rm alone: ten ÷ one" if docker else "signals alone: ten ÷ one"
    return Line(name, "", f"{all_of_them / one:.2f} ×", None, f"{all_of_them:.2f} s : {one:.2f} s")


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
    figures = f"{statistics.median(took[-10:]):.2f} s : {statistics.median(took[:10]):.2f} s"
    yield at_most("start of the last ten ÷ of the first ten", FLAT, growth, figures)
    yield Line("servers' memory, each of fifty", "", f"{_servers_memory(checkouts):.0f} MB", None, "PSS")
    yield _verified(host, FIFTY)
    yield _listing(host, empty)
    begun = time.perf_counter()
    host.main.inv("dev.stop", "--all")
    yield Line("stop of all fifty", "", f"{time.perf_counter() - begun:.1f} s", None)


def full(host: BenchHost) -> Iterator[Line | str]:
    """Take the networks that Docker has left: the next checkout is refused clearly, until one is given back."""
    following = host.worktree(host.directory / "wt" / "following")
    host.main.inv("infra.up")
    taken: list[str] = []
    try:
        while _docker("network", "create", f"{host.project}-taken-{len(taken)}"):
            taken.append(f"{host.project}-taken-{len(taken)}")
        yield Line("checkouts that Docker's networks allow", "", str(1 + len(taken)), None)
        answer = following.inv("infra.up", code=None)
        yield _told([answer.err] if answer.code else [])
        _docker("network", "rm", taken.pop())
        answer = following.inv("infra.up", code=None)
        yield Line("and when one is given back", "exit 0", f"exit {answer.code}", answer.code == 0)
        host.main.inv("dev.stop", "--all")
    finally:
        if taken:
            _docker("network", "rm", *taken)


def until_full(host: BenchHost) -> Iterator[Line | str]:
    """Start servers in Docker until it has no network left; the refusal must say so, and leave nothing."""
    checkouts = [host.main, *host.worktrees(HIGHEST_ID)]
    started, refusals = 0, []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for begin in range(0, len(checkouts), AT_ONCE):
            some = checkouts[begin : begin + AT_ONCE]
            answers = list(pool.map(lambda it: it.inv("infra.up", "--timeout", "120", code=None), some))
            refusals = [answer.err for answer in answers if answer.code != 0]
            started += len(answers) - len(refusals)
            if refusals:
                break
    yield Line("checkouts whose servers fit", "", f"{started}", None)
    yield _told(refusals)
    host.main.inv("dev.stop", "--all")


def _told(refusals: Sequence[str]) -> Line:
    """Judge the errors of the starts that no longer fit."""
    told = [next((line for line in err.splitlines() if line.startswith("error: ")), err) for err in refusals]
    clear = all("no address range left" in line for line in told)
    words = told[0] if told else "it fits, too"
    return Line("the error of the next start", "clear", "clear" if clear else "unclear", clear, words)


def _docker(*words: str) -> bool:
    return subprocess.run(["docker", *words], capture_output=True, check=False).returncode == 0


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
    figures = f"{last}, in {time.perf_counter() - begun:.1f} s"
    return Line(f"isolation of {count} verified", "exit 0", f"exit {answer.code}", answer.code == 0, figures)


def _listing(host: BenchHost, empty: Path) -> Line:
    a, b, ratio = paired(
        lambda: run([host.inv, "instances"], host.main.path, host.environ),
        lambda: run([host.inv, "--list"], empty, host.environ),
        rounds=5,
    )
    return Line(f"inv instances, {FIFTY} running ÷ bare inv", "", f"{ratio:.2f} ×", None, f"{a:.2f} s : {b:.2f} s")
