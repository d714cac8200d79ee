"""The start as people see it: a live table on a terminal, plain lines otherwise. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.machine.signals import deferred
from orienter_tasks.output.console import fancy
from orienter_tasks.output.printable import one_line
from orienter_tasks.output.units import space
from orienter_tasks.stack.component import Event, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.console import RenderableType
    from rich.live import Live

    from orienter_tasks.output.console import Report

MARKS = {
    State.WAITING: ("·", "dim"),
    State.STARTING: ("•", "yellow"),
    State.READY: ("✓", "green"),
    State.FAILED: ("✗", "bold red"),
    State.SKIPPED: ("–", "dim"),
    State.STOPPING: ("•", "yellow"),
    State.STOPPED: ("■", "dim"),
}
WORTH_SAYING = 0.05
SAMPLE_SECONDS = 0.3
REMINDER_SECONDS = 5.0  # without a terminal: so often at most is it printed why something takes long
FINAL = (State.READY, State.FAILED, State.SKIPPED, State.STOPPED)


class _Row(msgspec.Struct):
    state: State
    detail: str
    since: float
    until: float | None = None
    told: str = ""
    told_at: float = 0.0


class Progress:
    """Shows events as they come; a context manager. Told from any thread."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._line = [""]

    def __enter__(self) -> Progress:
        if fancy(sys.stderr) and not self._report.quiet:
            from rich.live import Live

            console = self._report.console(sys.stderr)
            self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=10, transient=False)
            with deferred():
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(OSError):  # the terminal was closed
                live.stop()

    def show(self, event: Event) -> None:
        """Take in what happened to a component."""
        with self._lock:
            row = self._rows.get(event.component)
            changed = row is None or row.state is not event.state
            if row is None or (changed and row.state in (State.WAITING, *FINAL)):
                row = self._rows[event.component] = _Row(event.state, event.detail, event.at)
            row.state, row.detail = event.state, event.detail
            row.until = event.at if event.state in FINAL else None
            due = changed or (event.at - row.told_at > REMINDER_SECONDS and row.detail != row.told)
            if due:
                row.told, row.told_at = row.detail, event.at
        if self._live is None and due and not self._report.quiet:
            self._plain(event, row)

    @contextlib.contextmanager
    def copying(self, copied: Callable[[], int], total: int) -> Iterator[None]:
        """Meanwhile show on a terminal, below the rest, how many bytes are copied; `total`: about, 0 if unknown."""
        if self._live is None:
            yield
            return
        ended, of = threading.Event(), f" of about {space(total)}" if total else ""
        line = self._line = [f"{space(0)}{of} copied"]

        def follow() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                with contextlib.suppress(OrienterError, OSError, ValueError):  # it is just beginning, or at its end
                    line[0] = f"{space(copied())}{of} copied"

        with deferred():
            self._live.refresh()
            threading.Thread(target=follow, name="copying", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            self._line = [""]

    def _plain(self, event: Event, row: _Row) -> None:
        if event.state is State.WAITING:
            return
        took = event.at - row.since
        seconds = f" in {took:.1f} s" if event.state is State.READY and took > WORTH_SAYING else ""
        detail = f" ({one_line(event.detail)})" if event.detail else ""
        self._report.note(f"{event.component}: {event.state.value}{seconds}{detail}")

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column()  # on a narrow terminal, only this column shrinks
        now = time.monotonic()
        with self._lock:
            for name, row in self._rows.items():
                mark, style = MARKS[row.state]
                idle = row.state in (State.WAITING, State.SKIPPED)
                seconds = "" if idle else f"{(row.until or now) - row.since:.1f} s"
                detail = f"for {row.detail}" if row.state is State.WAITING and row.detail else one_line(row.detail)
                cut = Text(detail, "dim", overflow="ellipsis", no_wrap=True)
                grid.add_row(Text(mark, style), name, Text(row.state.value, style), Text(seconds, "dim"), cut)
        (copied,) = self._line
        return Group(grid, Text(copied, "dim")) if copied else grid
