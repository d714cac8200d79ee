"""`worktree.new` and `worktree.rm` are killed with SIGKILL before each of their state changes: the next run clears."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import FULL, FaultHost, say
from tests.faults.test_crashes import HARMLESS
from tests.integration.left import processes_of
from tests.repositories import git

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost

pytestmark = pytest.mark.embedded
KILLS = 2  # of each command, where not all are tried
NO_SERVERS = {"postgres": None, "minio": None}
NEW, RM = ("worktree.new", "one"), ("worktree.rm", "one", "--yes")
NOT_STARTED = () if FULL else ("--no-start",)


class Trees:
    """A repository in which one worktree comes and goes."""

    def __init__(self, host: FaultHost, trees: Path, dice: random.Random) -> None:
        self.host, self.main, self.trees, self.dice = host, host.main, trees, dice
        self.new, self.rm = (*NEW, "--quiet", *NOT_STARTED), RM
        self.reached: collections.Counter[bool] = collections.Counter()

    def at(self, point: str, words: tuple[str, ...]) -> None:
        """Kill a command at a fault point (`N:NAME`); whichever command comes next, all can be taken away."""
        code = self.host.kill_at(self.main, point, *words)
        self.reached[code == -9] += 1
        following = self.dice.choice((self.new, self.rm, ("worktree.new", "two", "--quiet", "--no-start")))
        say(f"{words[0]} killed at {point!r} ({code}), then {' '.join(following)}")
        answer = self.main.inv(*following, code=None)
        complete = (self.trees / "one" / ".env").exists()  # a kill before the first change, or after the last
        refused = 4 if complete and "is checked out at" in answer.err else 3 if "no worktree" in answer.err else 0
        assert answer.code == refused, str(answer)
        for name in ("one", "two"):
            self.main.inv("worktree.rm", name, "--yes", code=None)
        assert self.left() == [], f"{words[0]} killed at {point!r}, then {following}"

    def left(self) -> list[str]:
        """Name what there is of worktrees."""
        common = self.main.path / ".git"
        places = [self.trees, common / "worktrees", common / "orienter" / "unfinished"]
        found = [str(path) for place in places for path in place.glob("*")]
        branches = {*git(self.main.path, "branch", "--format=%(refname:short)").split()} - {"main"}
        claims = [each["root"] for each in self.host.claims() if each["root"] != str(self.main.path)]
        return [*found, *branches, *claims, *processes_of(self.main)]


def moments(trace: list[str]) -> list[str]:
    """Return every state change of a run as a fault point: the Nth of its name."""
    seen: collections.Counter[str] = collections.Counter()
    found = []
    for name in trace:
        seen[name] += 1
        if not name.startswith(HARMLESS):
            found.append(f"{seen[name]}:{name}")
    return found


def test_killed_before_a_state_change(make_host: MakeFaultHost, tmp_path: Path, dice: random.Random) -> None:
    place = {"path": str(tmp_path / "trees" / "{name}")}
    host = make_host(infra=NO_SERVERS, services={"web": None}, worktree=place)
    trees = Trees(host, tmp_path / "trees", dice)
    points = {words: moments(host.trace(host.main, *words)) for words in (trees.new, trees.rm)}
    assert trees.left() == []
    chosen = {words: each if FULL else dice.sample(each, KILLS) for words, each in points.items()}
    for point in chosen[trees.new]:
        trees.at(point, trees.new)
    for point in chosen[trees.rm]:
        host.main.inv(*trees.new)
        trees.at(point, trees.rm)
    say(f"{trees.reached[True]} kills at {sum(map(len, chosen.values()))} points")
    assert trees.reached[True] >= trees.reached[False] * 4  # a few depend on who comes first
