"""What is looked at again and again: drawn in place on a terminal, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.machine.signals import until_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType

    from orienter_tasks.output.console import Report

T = TypeVar("T")


def follow(report: Report, drawings: Iterable[RenderableType]) -> None:
    """Draw each over the one before on stdout, until there are no more or Ctrl-C is pressed; the last one stays."""
    from rich.live import Live

    with Live(console=report.console(sys.stdout), auto_refresh=False) as screen, until_ctrl_c():
        for drawing in drawings:
            screen.update(drawing, refresh=True)


def every(seconds: float, read: Callable[[], T], *, first: T | None = None) -> Iterator[T]:
    """Read without end, at most once in that many seconds; `first` is what was read just now, if something was."""
    if first is not None:
        yield first
        time.sleep(seconds)
    while True:
        begun = time.monotonic()
        yield read()
        time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
