"""What people and agents wait for: a new worktree with main's data, and a command in a throwaway instance."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.measure import Line, at_most, paired, run, timed
from tests.repositories import git

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

ROUNDS = 3
NAME = "measured"
WORKTREE_LIMIT, RUN_LIMIT = 1.25, 1.15
WORKTREE_GOAL, RUN_GOAL = 2.0, 1.2  # seconds, embedded, on two quiet cores


def measure(host: BenchHost) -> Iterator[Line]:
    """Measure them beside a running main checkout with data."""
    host.configure(host.main, worktree={"path": str(host.directory / "wt" / "{name}")})
    host.main.inv("dev", "--detach")
    yield from _throwaway(host)
    yield from _worktrees(host)


def _throwaway(host: BenchHost) -> Iterator[Line]:
    """In turn: a throwaway instance, and the servers of a worktree, started and removed with their data by hand."""
    tree = host.worktree(host.directory / "wt" / "by-hand")

    def by_hand() -> None:
        run([host.inv, "infra.up"], tree.path, host.environ)
        run([host.inv, "infra.down", "--volumes", "--yes"], tree.path, host.environ)

    command = [host.inv, "test.run", "--", "true"]
    a, b, ratio = paired(lambda: run(command, host.main.path, host.environ), by_hand, rounds=ROUNDS)
    yield at_most("test.run -- true ÷ (infra.up + infra.down)", RUN_LIMIT, ratio, f"{a:.2f} s : {b:.2f} s")
    yield _goal("inv test.run -- true", host, RUN_GOAL, a)


def _worktrees(host: BenchHost) -> Iterator[Line]:
    """In turn: all in one command, and git, the clone and the start each alone in a worktree of their own."""
    ours, parts = [], []
    for _ in range(ROUNDS + 1):
        parts.append(_alone(host))
        command = [host.inv, "worktree.new", NAME, "--data", "main"]
        ours.append(timed(lambda: run(command, host.main.path, host.environ)))  # noqa: B023 - it is called at once
        host.main.inv("worktree.rm", NAME, "--yes")
    ours, parts = ours[1:], parts[1:]  # the first round warms up
    ratio = statistics.median(took / sum(each) for took, each in zip(ours, parts, strict=True))
    names = "git worktree add + data.clone + dev"
    figures = " + ".join(f"{statistics.median(each):.2f}" for each in zip(*parts, strict=True))
    yield at_most(f"worktree.new ÷ ({names})", WORKTREE_LIMIT, ratio, f"{statistics.median(ours):.2f} s : {figures} s")
    yield _goal("worktree.new --data main", host, WORKTREE_GOAL, statistics.median(ours))


def _alone(host: BenchHost) -> tuple[float, float, float]:
    """Make a worktree step by step; return the seconds of each step."""
    path = host.directory / "wt" / NAME
    made = timed(lambda: git(host.main.path, "worktree", "add", "--quiet", "-b", NAME, str(path)))
    clone = timed(lambda: run([host.inv, "data.clone", "--yes"], path, host.environ))
    start = timed(lambda: run([host.inv, "dev", "--detach"], path, host.environ))
    host.main.inv("worktree.rm", NAME, "--yes")
    return made, clone, start


def _goal(name: str, host: BenchHost, goal: float, seconds: float, figures: str = "") -> Line:
    """Say how long something took; seconds depend on the machine, so that no goal of seconds is missed."""
    target = f"{goal:g} s" if host.backend == "embedded" else ""
    return Line(f"{name}: goal on two quiet cores", target, f"{seconds:.2f} s", None, figures)
