"""Tables: plain columns for pipes, and drawn ones that fit into the terminal that they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from orienter_tasks.output.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table

T = TypeVar("T")

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
    "unknown": "yellow",
    "stopped": "dim",
    "skipped": "dim",
    "orphaned": "red",
    "conflict": "red",
    "failed": "red",
}
BETWEEN = 3  # what rich puts between two columns
EDGES = 2


class Column(Struct, Generic[T], frozen=True):
    """A column of a table of things.

    Attributes:
        name: its heading.
        cell: its text for one of the things; a state gets a colour.
        least: how short its cells may be cut before any column is left out; 0: never cut.
        drop: its place among those that are left out where there is no room for all; 0: it always stays.
        right: whether it has figures.
        wrap: whether its cells may take several lines.
        narrow: a shorter text for its cells, where the table would not fit even with the fewest columns.
    """

    name: str
    cell: Callable[[T], str]
    least: int = 0
    drop: int = 0
    right: bool = False
    wrap: bool = False
    narrow: Callable[[T], str] | None = None


def plain(columns: Sequence[Column[T]], things: Sequence[T], title: str = "") -> str:
    """Write a table as lines of text, in full width."""
    widths = _widths(columns, things)
    rows = [[_text(column, one) for column in columns] for one in things]
    lines = [[column.name.upper() for column in columns], *rows]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths.values(), strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in ([title] if title else []) + text)


def drawn(columns: Sequence[Column[T]], things: Sequence[T], available: int) -> Table:
    """Draw a table for a terminal of that width."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim")
    widths = fitting(columns, things, available)
    if _total(widths) > available:
        columns = [replace(column, cell=column.narrow or column.cell) for column in columns]
        widths = fitting(columns, things, available)
    kept = [column for column in columns if column.name in widths]
    for column in kept:
        table.add_column(
            column.name,
            width=widths[column.name] if column.least else None,
            overflow="fold" if column.wrap else "ellipsis",
            no_wrap=not column.wrap,
            justify="right" if column.right else "left",
        )
    for thing in things:
        cells = [_text(column, thing) for column in kept]
        table.add_row(*(Text(cell, style=STYLES.get(cell.partition(" ")[0].rstrip(","), "")) for cell in cells))
    return table


def fitting(columns: Sequence[Column[T]], things: Sequence[T], available: int) -> dict[str, int]:
    """Return the columns that fit into a width, each with its own: some cut short first, then some left out."""
    widths = _widths(columns, things)
    short = {column.name: max(column.least, len(column.name)) for column in columns if column.least}
    room = widths | {name: min(widths[name], least) for name, least in short.items()}
    for column in sorted((column for column in columns if column.drop), key=lambda column: column.drop):
        if _total(room) <= available:
            break
        del room[column.name], widths[column.name]
    excess = _total(widths) - available
    while excess > 0:
        widest = max(widths, key=lambda name: widths[name] - room[name])
        if widths[widest] == room[widest]:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _text(column: Column[T], thing: T) -> str:
    return printable(column.cell(thing))


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + BETWEEN * (len(widths) - 1) + EDGES


def _widths(columns: Sequence[Column[T]], things: Sequence[T]) -> dict[str, int]:
    return {column.name: max([len(column.name), *(len(_text(column, one)) for one in things)]) for column in columns}
