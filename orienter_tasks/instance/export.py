"""Variables in the syntax of a shell, a `.env` file or JSON, and read as a shell reads them."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Format = Literal["sh", "fish", "dotenv", "json"]
_ASSIGNMENT = r"(?:(?:export|declare[ \t]+-x)[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)="
_PIECE = r"""(?s)'(?P<single>[^']*)'|"(?P<double>(?:[^"\\$`]|\\.)*)"|\\(?P<escaped>.)|(?P<plain>[^\s'"\\$`;&|<>()]+)"""
_END = r"[ \t\r]*(?:;|(?:(?<=\s)#[^\n]*)?(?:\n|\Z))"  # of a command
_BLANK = r"(?:\s|#[^\n]*)*"

FORMATS: tuple[Format, ...] = ("sh", "fish", "dotenv", "json")


def render(values: Mapping[str, str], format_: Format, *, unset: Sequence[str] = ()) -> str:
    """Format variables for a shell (`sh`, `fish`), as a `.env` file, or as JSON; no trailing newline.

    A shell unsets those in `unset` first.
    """
    if format_ == "json":
        return json.dumps(dict(values), indent=2, ensure_ascii=False)
    forget = {"sh": "unset", "fish": "set -e"}.get(format_)
    lines = [f"{forget} {' '.join(unset)}"] if forget and unset else []
    return "\n".join([*lines, *(_line(name, value, format_) for name, value in values.items())])


class NotAssignmentError(Exception):
    """Text that assigns nothing: `line` is its number, from 1, and `name` the variable's, as far as it has one."""

    def __init__(self, line: int, name: str) -> None:
        super().__init__(f"line {line}" + (f" ({name}=…)" if name else ""))
        self.line = line
        self.name = name


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Yield the variables that lines `NAME=value` or `export NAME=value` set in a shell, where nothing is expanded.

    Raises:
        NotAssignmentError: a line is something else, or holds what a shell would replace.
    """
    at = _after_blank(text, 0)
    while at < len(text):
        start, found = at, re.compile(_ASSIGNMENT).match(text, at)
        value, at = _word(text, found.end()) if found else ("", at)
        end = re.compile(_END).match(text, at)
        if found is None or end is None or "\0" in value:
            raise NotAssignmentError(text.count("\n", 0, start) + 1, found["name"] if found else "")
        yield found["name"], value
        at = _after_blank(text, end.end())


def _after_blank(text: str, at: int) -> int:
    """Return where the next command begins, after blank lines and comments."""
    found = re.compile(_BLANK).match(text, at)
    return found.end() if found else at


def _word(text: str, at: int) -> tuple[str, int]:
    """Return the word of a shell that begins there, without its quotes, and where it ends."""
    pieces = []
    while (found := re.compile(_PIECE).match(text, at)) is not None:
        if found["double"] is not None:
            pieces.append(re.sub(r'\\([$`"\\])|\\\n', r"\1", found["double"]))
        elif found["escaped"] != "\n":
            pieces.append(found[found.lastgroup or 0])
        at = found.end()
    return "".join(pieces), at


def _line(name: str, value: str, format_: Format) -> str:
    if format_ == "fish":
        return f"set -gx {name} {fish_quote(value)}"
    if format_ == "dotenv":
        return f"{name}={_dotenv_quote(value)}"
    return f"export {name}={shlex.quote(value)}"


def fish_quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv_quote(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", value):
        return value
    escaped = value.replace("\\", "\\\\")
    if "\r" in value:  # reading a text file would turn it into a line feed
        return '"' + escaped.replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n") + '"'
    return "'" + escaped.replace("'", "\\'") + "'"
