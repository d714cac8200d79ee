"""Checks: what was examined, its state, and what to do about it; listed for people or written as JSON."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.output import task_names
from orienter_tasks.output.console import fancy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orienter_tasks.output.console import Report

Verdict = Literal["ok", "warning", "problem", "unseen", "absent"]
SIGNS: dict[Verdict, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
    "unseen": ("?", "yellow"),
    "absent": ("–", "dim"),
}


class Fix(msgspec.Struct, frozen=True):
    """What `--fix` would do, in words and as a function that may run twice."""

    text: str
    apply: Callable[[], object]


class Check(msgspec.Struct, frozen=True):
    """One thing that was examined.

    Attributes:
        topic: what was examined, in a word or two.
        verdict: ok; warning: works, but needs attention; problem; unseen: could not be examined; absent: not there.
        text: what was found.
        remedy: what to do, as a command; "" when there is nothing to do.
        fix: what `--fix` does about it; None where only the user can act.
        instances: the ids of the instances it concerns, in lists that cover several.
    """

    topic: str
    verdict: Verdict
    text: str
    remedy: str = ""
    fix: Fix | None = None
    instances: tuple[int, ...] = ()

    @property
    def hint(self) -> str:
        """The remedy, with the names by which our tasks can be called here."""
        return task_names.rename(self.remedy)


def failed(topic: str, error: OrienterError, verdict: Verdict = "problem", *, details: Sequence[str] = ()) -> Check:
    """Turn an error into a check; `details` are further lines of its text."""
    return Check(topic, verdict, "\n".join([" ".join(str(error).split()), *details]), error.hint)


@contextmanager
def caught(handle: Callable[[OrienterError], object]) -> Iterator[None]:
    """Pass an error in the block to `handle` and continue after the block."""
    try:
        yield
    except OrienterError as error:
        handle(error)


def collect(topic: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what a check finds; an error that ends it is added as a problem."""
    found: list[Check] = []
    with caught(lambda error: found.append(failed(topic, error))):
        found.extend(look())
    return found


def prove(topic: str, proof: Callable[[], str]) -> Check:
    """Run a proof, which returns what it examined or raises what is wrong; the error's details are kept."""
    found: list[Check] = []
    with caught(lambda error: found.append(failed(topic, error, details=error.details))):
        found.append(Check(topic, "ok", proof()))
    return found[0]


def documents(found: Iterable[Check], **keys: str | Callable[[Check], object]) -> list[dict[str, object]]:
    """Return checks for a JSON document; each key names an attribute or gives a function of the check."""
    readers = {key: attrgetter(read) if isinstance(read, str) else read for key, read in keys.items()}
    return [{key: read(check) for key, read in readers.items()} for check in found]


def show(report: Report, found: Sequence[Check], *, title: str = "") -> None:
    """Print a list of checks on stdout."""
    if fancy(sys.stdout):
        _draw(report, found, title)
        return
    width = max((len(check.topic) for check in found), default=0)
    rows = [title] if title else []
    for check in found:
        rows.append(f"{SIGNS[check.verdict][0]} {check.topic.ljust(width)}  {check.text}".rstrip())
        if check.remedy:
            rows.append(f"  {' ' * width}  → {check.hint}")
    report.answer("\n".join(rows))


def _draw(report: Report, found: Sequence[Check], title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.title, grid.title_justify = title or None, "left"
    grid.add_column(width=1)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for check in found:
        sign, style = SIGNS[check.verdict]
        text = Text(check.text, "dim" if check.verdict == "absent" else "")
        if check.remedy:
            text.append(f"\n→ {check.hint}", "cyan")
        grid.add_row(Text(sign, style), check.topic, text)
    report.console(sys.stdout).print(grid)
