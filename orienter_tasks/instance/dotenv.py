"""A checkout's `.env`: read, and made when there is none; an existing one is never rewritten.

A new one comes from the main checkout's, from `.env.example`, or is made of generated secrets.
"""

from __future__ import annotations

import io
import os
import re
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct

from orienter_tasks.errors import ConfigError
from orienter_tasks.instance.variables import is_secret
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import hand_over
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.machine.worktree import Worktree

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"^(?P<head>\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*)(?P<value>.*?)(?P<tail>\s*)$")
_PLACEHOLDER = re.compile(
    r"(change|replace|your|placeholder|example|generate|secret[-_ ]?here|todo|fixme|xxx|<.*>|\.\.\.)", re.IGNORECASE
)


class NewEnvFile(Struct, frozen=True):
    """A `.env` to be written; `source` says where it came from, `generated` which secrets were made up."""

    content: str
    source: str
    generated: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.source}, with generated {', '.join(self.generated)}" if self.generated else self.source


def read_dotenv(path: Path) -> tuple[dict[str, str], list[int]]:
    """Read a `.env` file: its variables, and the numbers of lines that have none. A missing file is empty.

    Raises:
        ConfigError: it cannot be read.
    """
    if not path.exists() or path.is_dir():  # some call their Python environment `.env`
        return {}, []
    from dotenv import parser

    values: dict[str, str] = {}
    broken: list[int] = []
    for binding in parser.parse_stream(io.StringIO(_read(path), newline=None)):
        if binding.key is None and not binding.error:
            continue  # a comment, or nothing
        if binding.error or binding.value is None or not _VARIABLE.fullmatch(binding.key or ""):
            text = binding.original.string
            broken.append(binding.original.line + text[: len(text) - len(text.lstrip())].count("\n"))
        else:
            values[str(binding.key)] = binding.value
    return values, broken


def plan(tree: Worktree) -> NewEnvFile | None:
    """Return what a checkout's `.env` should hold; None if it has one."""
    if os.path.lexists(tree.root / ".env"):
        return None
    main = tree.main_root / ".env"
    if tree.linked and main.is_file():
        kept = [line for line in _read(main).splitlines() if _name(line) not in ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT")]
        return NewEnvFile("\n".join(kept) + "\n", f"a copy of {main}")
    example = tree.root / ".env.example"
    if example.is_file():
        return from_example(_read(example))
    generated = catalog.secrets()
    lines = [f"{name}={secrets.token_urlsafe(24)}" for name in generated]
    return NewEnvFile("\n".join(lines) + "\n", "new", tuple(generated))


def from_example(text: str) -> NewEnvFile:
    """Copy an example, with its placeholder secrets replaced by generated ones."""
    lines, generated = [], []
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match and needs_secret(match["name"], match["value"]):
            generated.append(match["name"])
            line = f"{match['head']}{secrets.token_urlsafe(24)}"  # noqa: PLW2901 - the line as it will be
        lines.append(line)
    return NewEnvFile("\n".join(lines) + "\n", "made from .env.example", tuple(generated))


def needs_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret that was left a placeholder.

    An empty token of another service (such as Slack's) stays empty: it means that the service is not used.
    """
    bare = value.strip().strip("\"'")
    if not is_secret(name):
        return False
    return bool(_PLACEHOLDER.search(bare)) or (not bare and name in catalog.secrets())


def create(tree: Worktree) -> NewEnvFile | None:
    """Write a checkout's `.env` (mode 0600) if it has none; return what was written."""
    new = plan(tree)
    if new is None:
        return None
    path = tree.root / ".env"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return None  # another start was faster
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="make the folder writable, or write .env yourself"
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(new.content)
    hand_over(path)
    return new


def _read(path: Path) -> str:
    try:
        return read_small(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path}: {reason}", hint="make it a text file that you may read") from error


def _name(line: str) -> str:
    match = _ASSIGNMENT.match(line)
    return match["name"] if match else ""
