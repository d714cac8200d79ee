"""A hint where words were given without `-s` or `--`: Invoke takes them for tasks and has no idea what they are."""

from __future__ import annotations

import shlex
import sys
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence, Sized

    from invoke.collection import Collection


def hint_at_exit(tasks: Collection, ran: Sized) -> None:
    """Print the hint when the process ends; unless a task `ran`: then Invoke understood the command line."""
    words = list(takewhile(lambda word: word != "--", sys.argv[1:]))
    if ran or len(words) < 2:  # noqa: PLR2004 - a task and a word
        return
    named = [name for name in tasks.task_names if "service" in tasks[name].iterable]
    taking = {name: len(list(tasks[name].positional)) for name in tasks.task_names if getattr(tasks[name], "words", 0)}
    if command := _corrected(words, named, lambda _, names: [f"-s {name}" for name in names]):
        print(f"hint: names of components need -s: inv {command}", file=sys.stderr)  # noqa: T201
    elif command := _corrected(words, taking, lambda task, them: _behind_dashes(them, taking[task])):
        print(f"hint: its words stand behind two dashes: inv {command}", file=sys.stderr)  # noqa: T201


def _corrected(words: Sequence[str], tasks: Container[str], correct: Callable[[str, Sequence[str]], list[str]]) -> str:
    """Return the first of these tasks with the words behind it corrected; "" without such a task or words."""
    for index, word in enumerate(words):
        names = list(takewhile(lambda word: not word.startswith("-"), words[index + 1 :]))
        if word in tasks and names:
            return " ".join([word, *correct(word, names)])
    return ""


def _behind_dashes(words: Sequence[str], positional: int) -> list[str]:
    return [*words[:positional], "--", *map(shlex.quote, words[positional:])]
