"""What `python -m benchmarks` prints for docs/performance.md, and that the page names its sections."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.__main__ import ALL_SECTIONS
from benchmarks.measure import Line, at_most, table
from orienter_tasks.machine import flock

PAGE = (Path(__file__).parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")


def test_a_table_has_a_row_for_each_claim_and_a_column_for_each_backend() -> None:
    found = [
        ("embedded", at_most("start ÷ bare", 1.15, 1.1, "1.1 s : 1 s")),
        ("docker", at_most("start ÷ bare", 1.25, 1.3, "")),
        ("docker", Line("– alone", "", "2 s", None)),
    ]
    assert table(found)[2:] == [
        "| start ÷ bare | ≤ 1.15 ×, ≤ 1.25 × | 1.10 × (1.1 s : 1 s) | **1.30 ×** |",
        "| – alone | – | – | 2 s |",
    ]


@pytest.mark.parametrize("section", ALL_SECTIONS)
def test_the_page_names_each_section(section: str) -> None:
    assert re.search(rf"`{section}`", PAGE)


def test_a_second_run_is_refused_while_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with flock.hold(Path(tempfile.gettempdir()) / "orienter-bench.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "embedded", "overhead"], check=False, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert "another run has the ports of its hosts" in done.stderr
