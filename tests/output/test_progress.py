"""The progress of a start, where it is not drawn on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.output.console import Report
from orienter_tasks.output.progress import Progress
from orienter_tasks.stack.component import Event, State

if TYPE_CHECKING:
    import pytest


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
