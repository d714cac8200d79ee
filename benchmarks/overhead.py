"""What our tasks cost before they do anything, beside an empty tasks.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Line, paired, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Host

ROUNDS = 9
EMPTY = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"
CASES = (
    ("inv --list", ["--list"], ["--list"], 1.3),
    ("tab completion", ["--complete", "--", "inv dev"], ["--complete", "--", "inv no"], 1.3),
    ("inv env.export", ["env.export"], ["--list"], 1.6),
    ("inv instances", ["instances"], ["--list"], 2.2),
)


def measure(host: Host, inv: str, scratch: Path) -> Iterator[Line]:
    """Measure listing, completion, export and the table of instances."""
    empty = scratch / "empty"
    empty.mkdir()
    (empty / "tasks.py").write_text(EMPTY)
    host.main.inv("env.export")
    for name, ours, theirs, limit in CASES:
        a, b, ratio = paired(
            lambda words=ours: run([inv, *words], host.main.path, host.environ),  # type: ignore[misc]
            lambda words=theirs: run([inv, *words], empty, host.environ),  # type: ignore[misc]
            rounds=ROUNDS,
        )
        yield Line(
            f"{name} beside an empty tasks.py",
            f"≤ {limit:g} ×",
            f"{ratio:.2f} × ({a:.2f} s : {b:.2f} s)",
            ratio <= limit,
        )
