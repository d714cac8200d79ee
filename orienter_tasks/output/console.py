"""Print answers, notes and errors. rich is loaded only for a terminal; pipes and NO_COLOR get plain lines.

Everything leaves through here: without control codes, never as markup, and whatever stdout can take.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from orienter_tasks.errors import CheckError, ConfigError, InterruptError
from orienter_tasks.machine.streams import silence
from orienter_tasks.output import task_names
from orienter_tasks.output.printable import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from orienter_tasks.errors import OrienterError
    from orienter_tasks.output.tables import Column

T = TypeVar("T")
SCHEMA_VERSION = 1


def fancy(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that may be drawn on."""
    return redrawable(stream) and "NO_COLOR" not in os.environ


def redrawable(stream: TextIO) -> bool:
    """Say whether a stream is a terminal on which one can draw over what is there, if perhaps without colours."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def write(text: str) -> None:
    """Write to stdout.

    Raises:
        InterruptError: its reader has gone, as `head` does once it has enough.
        CheckError: it takes nothing, as a file on a full disk.
    """
    with _writing():
        sys.stdout.write(text)


def flush() -> None:
    """Flush stdout; errors as for `write`."""
    with _writing():
        sys.stdout.flush()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        silence(1)  # else Python complains of what is left to flush at its end
        if isinstance(error, BrokenPipeError):
            raise InterruptError("output pipe closed", signal_number=signal.SIGPIPE, expected=True) from error
        raise CheckError(f"cannot write to stdout: {error.strerror}") from error


class Report:
    """Where a task says what it has to say.

    Args:
        quiet: leave notes out; answers and errors stay.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._lock = threading.Lock()
        self._consoles: dict[int, Console] = {}

    def console(self, stream: TextIO) -> Console:
        from orienter_tasks.output.terminal import Terminal

        stream = getattr(stream, "rich_proxied_file", stream)  # while something is drawn, rich has its own in its place
        return self._consoles.setdefault(id(stream), Terminal(stream))

    def answer(self, text: str) -> None:
        """Print what was asked for on stdout."""
        with self._lock:
            write(printable(text) + "\n")
            flush()

    def document(self, text: str) -> None:
        """Print what a program reads, byte for byte; on a terminal as an answer."""
        if sys.stdout.isatty():
            self.answer(text)
            return
        with self._lock, _writing():
            sys.stdout.flush()
            sys.stdout.buffer.write(os.fsencode(text) + b"\n")
            sys.stdout.flush()

    def json(self, document: Mapping[str, Any]) -> None:
        self.answer(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))

    def note(self, text: str) -> None:
        """Tell something worth knowing, on stderr."""
        if not self.quiet:
            self._aside(task_names.rename(text), "dim")

    def warn(self, text: str) -> None:
        """Tell something that the user should look at, on stderr; also when quiet."""
        self._aside(f"note: {task_names.rename(text)}", "yellow")

    def error(self, error: OrienterError | InterruptError) -> None:
        """Print an error's message, its details and its hint, on stderr."""
        self._aside(f"error: {one_line(task_names.rename(str(error)))}", "red")
        for line in error.details:
            self._aside(line, "")
        if error.hint:
            self._aside(f"hint: {one_line(task_names.rename(error.hint))}", "cyan")

    def confirm(
        self,
        question: str,
        *,
        refusal: str,
        hint: str = "add --yes to skip the prompt",
        may_ask: bool = True,
        before: Callable[[], None] | None = None,
        word: str = "",
    ) -> bool:
        """Ask on stderr, and return whether the answer is yes; with `word` only that word counts.

        `before` shows what the question is about; it is called only when the question will be asked.

        Raises:
            ConfigError: `refusal` and `hint`; nobody can be asked because stdin is not a terminal.
        """
        if not (may_ask and sys.stdin.isatty()):
            raise ConfigError(refusal, hint=hint)
        if before is not None:
            before()
        question = printable(question)
        sys.stderr.write(f"{question} " if word else f"{question} [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        return answer == word if word else answer.lower() in ("y", "yes")

    def table(self, columns: Sequence[Column[T]], things: Sequence[T], *, title: str = "") -> None:
        """Print a table on stdout, a row for each of the things; on a terminal such that it fits."""
        from orienter_tasks.output import tables

        if not fancy(sys.stdout):
            self.answer(tables.plain(columns, things, title))
            return
        from rich.text import Text

        console = self.console(sys.stdout)
        if title:
            console.print(Text(title, style="bold"))
        console.print(tables.drawn(columns, things, console.width))

    def box(self, title: str, facts: Sequence[tuple[str, str]]) -> None:
        """Print a few named facts on stdout, framed on a terminal."""
        if not fancy(sys.stdout):
            width = max((len(name) for name, _ in facts), default=0)
            self.answer("\n".join([title, *(f"  {name.ljust(width)}  {value}" for name, value in facts)]))
            return
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in facts:
            grid.add_row(name, Text(value, style="bold cyan" if value.startswith("http") else ""))
        self.console(sys.stdout).print(Panel(grid, title=Text(title, "bold"), border_style="green", expand=False))

    def _aside(self, text: str, style: str) -> None:
        with self._lock:
            try:
                if fancy(sys.stderr):
                    from rich.text import Text

                    self.console(sys.stderr).print(Text(text, style=style), soft_wrap=True)
                else:
                    sys.stderr.write(printable(text) + "\n")
                    sys.stderr.flush()
            except OSError:  # what nobody can read must not keep from stopping
                silence(2)
