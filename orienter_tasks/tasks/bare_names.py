"""A hint where a component's name was given without `-s`: Invoke takes it for a task and has no idea what that is."""

from __future__ import annotations

import sys
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection as Container, Sequence, Sized

    from invoke.collection import Collection


def hint_at_exit(tasks: Collection, ran: Sized) -> None:
    """Print the hint when the process ends; unless a task `ran`: then Invoke understood the command line."""
    if not ran and len(sys.argv) > 2:  # noqa: PLR2004 - a task and a name
        command = with_flag(sys.argv[1:], [name for name in tasks.task_names if "service" in tasks[name].iterable])
        if command:
            print(f"hint: names of components need -s: inv {command}", file=sys.stderr)  # noqa: T201


def with_flag(words: Sequence[str], tasks: Container[str]) -> str:
    """Return the first of these tasks on a command line, with `-s` before each name behind it; "" without names."""
    words = list(takewhile(lambda word: word != "--", words))
    for index, word in enumerate(words):
        names = list(takewhile(lambda word: not word.startswith("-"), words[index + 1 :]))
        if word in tasks and names:
            return " ".join([word, *(f"-s {name}" for name in names)])
    return ""
