"""What our tasks cost before they do anything, beside an empty tasks.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import at_most, paired, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.hosts import BenchHost
    from benchmarks.measure import Line

ROUNDS = 15
EMPTY = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"
CASES = (
    ("inv --list", ["--list"], ["--list"], 1.3),
    ("tab completion", ["--complete", "--", "inv dev"], ["--complete", "--", "inv no"], 1.3),
)


def empty_tasks(scratch: Path) -> Path:
    """Make a directory with nothing but an empty tasks.py."""
    empty = scratch / "empty"
    empty.mkdir(exist_ok=True)
    (empty / "tasks.py").write_text(EMPTY)
    return empty


def measure(host: BenchHost, empty: Path) -> Iterator[Line]:
    """Measure listing and completion."""
    host.main.inv("env.export")
    for name, ours, theirs, limit in CASES:
        a, b, ratio = paired(
            lambda words=ours: run([host.inv, *words], host.main.path, host.environ),  # type: ignore[misc]
            lambda words=theirs: run([host.inv, *words], empty, host.environ),  # type: ignore[misc]
            rounds=ROUNDS,
        )
        yield at_most(f"{name} ÷ an empty tasks.py's", limit, ratio, f"{a:.3f} s : {b:.3f} s")
