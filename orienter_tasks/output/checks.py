"""Check marks: what was looked at, how it stands, and what to do about it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orienter_tasks.output.console import fancy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.output.console import Report

Mark = Literal["ok", "warning", "problem", "unseen", "absent"]
SIGNS: dict[Mark, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
    "unseen": ("?", "yellow"),
    "absent": ("–", "dim"),
}


@dataclass(frozen=True)
class Line:
    """One line of the list.

    Attributes:
        mark: how it stands.
        topic: what was looked at, in a word or two.
        text: what was found.
        remedy: what to do, as a command; "" when there is nothing to do.
    """

    mark: Mark
    topic: str
    text: str
    remedy: str = ""


def show(report: Report, lines: Sequence[Line], *, title: str = "") -> None:
    """Print a list of checks on stdout."""
    if fancy(sys.stdout):
        _draw(report, lines, title)
        return
    width = max((len(line.topic) for line in lines), default=0)
    rows = [title] if title else []
    for line in lines:
        rows.append(f"{SIGNS[line.mark][0]} {line.topic.ljust(width)}  {line.text}".rstrip())
        if line.remedy:
            rows.append(f"  {' ' * width}  → {line.remedy}")
    report.answer("\n".join(rows))


def _draw(report: Report, lines: Sequence[Line], title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.title, grid.title_justify = title or None, "left"
    grid.add_column(width=1)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for line in lines:
        sign, style = SIGNS[line.mark]
        found = Text(line.text, "dim" if line.mark == "absent" else "")
        if line.remedy:
            found.append(f"\n→ {line.remedy}", "cyan")
        grid.add_row(Text(sign, style), line.topic, found)
    report.console(sys.stdout).print(grid)
