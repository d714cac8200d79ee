"""Tables fit into the terminal that they are drawn for, line by line."""

from __future__ import annotations

import io
from operator import itemgetter

import pytest
from hypothesis import given, strategies
from msgspec.structs import replace
from rich.console import Console

from orienter_tasks.commands import instances
from orienter_tasks.output import tables
from orienter_tasks.output.tables import Column

COLUMNS: list[Column[tuple[str, ...]]] = [
    replace(column, cell=itemgetter(number))  # type: ignore[arg-type]
    for number, column in enumerate(instances.columns(instances.Overview((), ())))
]
"""The table of instances, made of rows of text."""
NAMES = [column.name for column in COLUMNS]
DROPPED = [column.name for column in sorted(COLUMNS, key=lambda column: column.drop) if column.drop]

ROW = (
    *("shop/12", "fix-the-rounding-of-every-last-cent", "feature/fix-the-rounding", "partial, dashboard, vite failed"),
    *("http://localhost:12080", "embedded", "3/5", "1024 MB", "1.2 GB", "120 kB", "59 min", "59 min"),
)
SHORT = (
    "0",
    "orienter",
    "main",
    "running",
    "http://localhost",
    "docker",
    "5/5",
    "85 MB",
    "36 MB",
    "4 kB",
    "2 h",
    "in use",
)


def drawn(width: int, *rows: tuple[str, ...]) -> list[str]:
    """Draw the table of instances; return its lines."""
    out = io.StringIO()
    table = tables.drawn(COLUMNS, rows, width)
    Console(file=out, width=width, force_terminal=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


@given(
    strategies.integers(min_value=64, max_value=260),
    strategies.lists(strategies.sampled_from([ROW, SHORT]), min_size=1),
)
def test_a_row_is_a_line_at_any_width(width: int, rows: list[tuple[str, ...]]) -> None:
    lines = drawn(width, *rows)
    assert len(lines) == len(rows) + 2  # the heading and a rule
    assert max(map(len, lines)) <= width
    for line, row in zip(lines[2:], rows, strict=True):
        assert row[0] in line
        assert row[4] in line  # a page's address is never cut


def test_at_eighty_columns_names_are_cut_before_columns_go() -> None:
    heading, _, first, second = drawn(80, ROW, SHORT)
    assert heading.split() == ["id", "worktree", "state", "url", "services"]
    assert "fix-the-round" in first
    assert "…" in first
    assert "partial" in first
    assert "orienter" in second


def test_with_room_for_all_nothing_is_cut() -> None:
    heading, _, first = drawn(240, ROW)
    assert heading.split() == " ".join(NAMES).split()
    assert all(cell in first for cell in ROW)


def test_columns_go_in_their_order() -> None:
    kept = [list(tables.fitting(COLUMNS, [SHORT], width)) for width in range(40, 200)]
    assert [len(names) for names in kept] == sorted(len(names) for names in kept)
    for names in kept:
        gone = len(COLUMNS) - len(names)
        assert set(names) == set(NAMES) - set(DROPPED[:gone])


LONG, PORT = "http://orienter-with-a-long-name-12.localhost:12080", "http://localhost:12080"


@pytest.mark.parametrize(("width", "seen", "gone"), [(64, PORT, LONG), (80, PORT, LONG), (92, LONG, PORT)])
def test_a_cell_that_leaves_no_room_for_any_choice_has_a_shorter_text(width: int, seen: str, gone: str) -> None:
    row = (*ROW[:4], LONG, *ROW[5:])
    columns = [replace(column, narrow=(lambda _: PORT) if column.name == "url" else None) for column in COLUMNS]
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(tables.drawn(columns, [row], width))
    assert seen in out.getvalue()
    assert gone not in out.getvalue()


def test_a_pipe_gets_everything() -> None:
    text = tables.plain(COLUMNS, [ROW], "all")
    assert text.splitlines()[0] == "all"
    assert all(cell in text for cell in ROW)


def test_a_new_column_is_one_object() -> None:
    table = [*COLUMNS[:2], Column[tuple[str, ...]]("length", lambda row: str(len(row)), right=True)]
    heading, row = tables.plain(table, [SHORT]).splitlines()
    assert heading.split() == ["ID", "WORKTREE", "LENGTH"]
    assert row.split() == ["0", "orienter", "12"]
