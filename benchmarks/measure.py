"""Time commands in pairs, so that a slow moment of the machine falls on both."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Line:
    """One claim: what was measured, and what was to be reached.

    Attributes:
        name: the claim.
        target: for people; "" where there is none.
        measured: for people, in the target's unit.
        met: whether the target is reached; None where there is none.
        figures: what that was made of.
    """

    name: str
    target: str
    measured: str
    met: bool | None
    figures: str = ""

    def __str__(self) -> str:
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        line = f"  {self.name:<40} {self.target:>9} {self.measured:>10}  {verdict:<6}  {self.figures}"
        return line.rstrip()


def table(found: Sequence[tuple[str, Line]]) -> list[str]:
    """Return the rows of a Markdown table: a row for each claim, a column for each backend; what is missed, is bold."""
    rows: dict[str, dict[str, Line]] = {}
    for backend, line in found:
        rows.setdefault(line.name, {})[backend] = line
    return ["| what | target | embedded | Docker |", "|---|---|---|---|"] + [
        f"| {name} | {_targets(of)} | {_cell(of.get('embedded'))} | {_cell(of.get('docker'))} |"
        for name, of in rows.items()
    ]


def _targets(of: Mapping[str, Line]) -> str:
    return ", ".join(dict.fromkeys(line.target for line in of.values())) or "–"


def _cell(line: Line | None) -> str:
    if line is None:
        return "–"
    measured = f"**{line.measured}**" if line.met is False else line.measured
    return f"{measured} ({line.figures})" if line.figures else measured


def at_most(name: str, limit: float, ratio: float, figures: str) -> Line:
    """Claim that a ratio is at most a limit."""
    return Line(name, f"≤ {limit:.3g} ×", f"{ratio:.2f} ×", ratio <= limit, figures)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckError(f"{' '.join(command)} in {cwd}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def paired(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """Run two actions in turn; return the median seconds of each and the median of their ratios."""
    ours(), theirs()  # warm up both
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def peak(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """Run a command that must succeed; return its seconds, and the most memory in MB that its process had."""
    most, begun = 0, time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        ) as process,
    ):
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
                most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))  # in kiB
            time.sleep(POLL_SECONDS)
        took = time.perf_counter() - begun
        said.seek(0)
        if process.returncode != 0:
            raise CheckError(f"{' '.join(command)} in {cwd}: exit {process.returncode}\n{said.read()}")
    return took, most * 1024 / 1e6


def pss_of(process: psutil.Process) -> float:
    """Return the memory of one process in MB, shared pages divided among their users; where not told, its RSS."""
    full = process.memory_full_info()
    return float(getattr(full, "pss", full.rss)) / 1e6


def pss(pids: Sequence[int]) -> float:
    """Return the memory of processes and their descendants in MB."""
    leaders = [psutil.Process(pid) for pid in pids]
    family = {process for leader in leaders for process in (leader, *leader.children(recursive=True))}
    return sum(pss_of(process) for process in family)
