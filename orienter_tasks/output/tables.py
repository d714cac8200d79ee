"""Tables: plain columns for pipes, and drawn ones that fit into the terminal that they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

STYLES = {
    "running": "green",
    "ready": "green",
    "ok": "green",
    "partial": "yellow",
    "starting": "yellow",
    "moved": "yellow",
    "unmounted": "yellow",
    "locked": "yellow",
    "uncertain": "yellow",
    "stopped": "dim",
    "skipped": "dim",
    "orphaned": "red",
    "conflict": "red",
    "failed": "red",
}
BETWEEN = 3  # what rich puts between two columns
EDGES = 2


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Write a table as lines of text, in full width."""
    widths = _widths(columns, rows)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    head = "  ".join(cell.upper().ljust(width) for cell, width in zip(columns, widths, strict=True))
    return "\n".join(line.rstrip() for line in ([title] if title else []) + [head, *lines])


def drawn(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    available: int,
    *,
    wrapping: str = "",
    droppable: Sequence[str] = (),
    least: Mapping[str, int] | None = None,
    right: Sequence[str] = (),
) -> Table:
    """Draw a table for a terminal.

    Args:
        columns: their names.
        rows: their cells; one that is a state is coloured.
        available: the terminal's width.
        wrapping: the one column whose cells may take several lines.
        droppable: columns that are left out, in this order, where there is no room for all.
        least: columns whose cells may be cut short, down to this many characters, before any is left out.
        right: columns of figures.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim")
    widths = fitting(columns, rows, available, droppable=droppable, least=least or {})
    kept = [columns.index(name) for name in widths]
    for name, width in widths.items():
        table.add_column(
            name,
            width=width if name in (least or {}) else None,
            overflow="fold" if name == wrapping else "ellipsis",
            no_wrap=name != wrapping,
            justify="right" if name in right else "left",
        )
    for row in rows:
        table.add_row(*(Text(row[i], style=STYLES.get(row[i].partition(" ")[0].rstrip(","), "")) for i in kept))
    return table


def fitting(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    available: int,
    *,
    droppable: Sequence[str],
    least: Mapping[str, int],
) -> dict[str, int]:
    """Return the columns that fit into a width, each with its own: some cut short first, then some left out."""
    widths = dict(zip(columns, _widths(columns, rows), strict=True))
    room = {name: min(width, max(least[name], len(name))) if name in least else width for name, width in widths.items()}
    for name in droppable:
        if _total(room) <= available:
            break
        del room[name], widths[name]
    excess = _total(widths) - available
    while excess > 0:
        widest = max(widths, key=lambda name: widths[name] - room[name])
        if widths[widest] == room[widest]:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + BETWEEN * (len(widths) - 1) + EDGES


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
