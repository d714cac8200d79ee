"""What answers cost while ten instances run, beside a bare `inv --list` of an empty tasks.py and what none can save.

All commands run in turn, so that a slow moment of the machine falls on each of them.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.hosts import TEN
from benchmarks.measure import Line, at_most, run, timed
from orienter_tasks.identity.claims import Claims, of_claim
from orienter_tasks.processes import census

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from orienter_tasks.instance.model import Instance

ROUNDS = 15
BARE = "a bare inv --list"
ANSWER = {"embedded": 1.4, "docker": 1.8}
ASKED: tuple[tuple[str, float | None], ...] = (
    ("instances", None),
    ("instances --json", None),
    ("dev.status", None),
    ("dev.status --json", None),
    ("dev.why", 1.6),
    ("dev.why --json", 1.6),
    ("env.export", 1.2),
    ("dev --detach", 1.7),
)
"""Commands and their limits; None: ANSWER."""

LOAD = """
import invoke.main
import orienter_tasks
from orienter_tasks.settings.load import load_settings
load_settings(None)
"""


def measure(host: BenchHost, empty: Path) -> Iterator[Line | str]:
    """Ask each command in the main checkout, while ten run."""
    host.start_together([host.main, *host.worktrees(TEN - 1)])
    times = _in_turn(_actions(host, empty))
    base = times[BARE]

    def line(name: str, limit: float | None, taken: Sequence[float], title: str = "") -> Line:
        ratio = statistics.median(took / bare for took, bare in zip(taken, base, strict=True))
        figures = f"{statistics.median(taken):.3f} s : {statistics.median(base):.3f} s"
        name = title or f"inv {name} ÷ {BARE}"
        return at_most(name, limit, ratio, figures) if limit else Line(name, "", f"{ratio:.2f} ×", None, figures)

    for name, limit in ASKED:
        yield line(name, limit or ANSWER[host.backend], times[name])
    yield line("", None, times["ours"], "– inv --list of our tasks")
    yield line("", None, times["load"], "– Python with Invoke, our tasks and settings loaded")
    for who in ("all ten", "one"):
        both = [bare + read for bare, read in zip(base, times[who], strict=True)]
        yield line("", None, both, f"– {BARE} + what the kernel says about {who}")
    if host.backend == "docker":
        both = [bare + asked for bare, asked in zip(base, times["engine"], strict=True)]
        yield line("", None, both, f"– {BARE} + one list of containers")
    both = [bare + hook for bare, hook in zip(base, times["hook"], strict=True)]
    yield line("", None, both, f"– {BARE} + the host's own hook, which each inv dev runs")


def _in_turn(actions: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Do all of them in each round, after a round that warms up; return the seconds of each."""
    rounds = [{name: timed(action) for name, action in actions.items()} for _ in range(ROUNDS + 1)][1:]
    return {name: [each[name] for each in rounds] for name in actions}


def _actions(host: BenchHost, empty: Path) -> dict[str, Callable[[], object]]:
    def inv(*words: str, cwd: Path = host.main.path) -> Callable[[], object]:
        return lambda: run([host.inv, *words], cwd, host.environ)

    hook = host.settings["hooks"]["before_services"][0]["command"][1:]
    env = {**host.environ, **host.main.variables}
    instances = [of_claim(claim) for claim in Claims().read()]
    main = [each for each in instances if str(each.root) == str(host.main.path)]
    known: dict[str, Callable[[], object]] = {
        BARE: inv("--list", cwd=empty),
        **{name: inv(*name.split()) for name, _ in ASKED},
        "ours": inv("--list"),
        "load": lambda: run([sys.executable, "-c", LOAD], host.main.path, host.environ),
        "all ten": lambda: _ask_the_kernel(instances),
        "one": lambda: _ask_the_kernel(main),
        "hook": lambda: run([sys.executable, *hook], host.main.path, env),
    }
    if host.backend == "docker":
        known["engine"] = _engine
    return known


def _ask_the_kernel(instances: Sequence[Instance]) -> None:
    """Read what tells whose each process of the machine is, then memory and sockets of those of some instances."""
    seen = census.take()
    for instance in instances:
        for pid in seen.pids(instance):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 - as quick as can be
                file.read()
            with contextlib.suppress(OSError):
                for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                    os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115


def _engine() -> None:
    from orienter_tasks.backends.docker import engine, survey

    survey.containers(engine.shared())
