"""The progress of a start or a copy: lines of its own, and drawn on a terminal."""

from __future__ import annotations

import io
import re
import sys
import time
from typing import TYPE_CHECKING

from orienter_tasks.output.console import Report
from orienter_tasks.output.progress import Progress
from orienter_tasks.stack.component import Event, State

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """Takes what is drawn."""

    def isatty(self) -> bool:
        return True


def drawn_on(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let stderr be a terminal, within a test: pytest puts its own there before it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_what_takes_long_says_why_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Report()) as progress:
        progress.show(Event("web", State.STARTING, 0.0))
        for tenth in range(10, 130):
            why = "nothing listens yet" if tenth < 120 else "answers 503"
            progress.show(Event("web", State.STARTING, tenth / 10, why))
        progress.show(Event("web", State.READY, 13.0))
    assert capsys.readouterr().err.splitlines() == [
        "web: starting",
        "web: starting (nothing listens yet)",
        "web: starting (answers 503)",
        "web: ready in 13.0 s",
    ]


def test_a_note_is_printed_above_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = drawn_on(monkeypatch)
    report = Report()
    with Progress(report) as progress:
        for name in ("postgres", "minio"):
            progress.show(Event(name, State.STOPPED, 0.0))
        deadline = time.monotonic() + 10
        while "minio" not in screen.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        report.note("what was kept")
    drawn = screen.getvalue()
    assert drawn[: drawn.index("what was kept")].removesuffix("\x1b[2m").endswith("\x1b[1A\x1b[2K")


def test_how_much_is_copied_is_shown_in_one_line_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = drawn_on(monkeypatch)
    with Progress(Report()) as progress:
        with progress.copying(lambda: 5_000_000, 20_000_000):
            deadline = time.monotonic() + 10
            while "5 MB of about 20 MB copied" not in screen.getvalue():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert "0 kB of about 20 MB copied" in screen.getvalue()
    assert "\n" not in screen.getvalue()


def test_on_a_narrow_terminal_only_the_reason_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = drawn_on(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    with Progress(Report()) as progress:
        progress.show(Event("whatsapp", State.SKIPPED, 0.0, "a reason that is longer than the terminal is wide"))
    lines = [
        line for line in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue()).splitlines() if "whatsapp" in line
    ]
    assert lines[-1].split()[:4] == ["–", "whatsapp", "skipped", "a"]
    assert lines[-1].rstrip().endswith("…")
