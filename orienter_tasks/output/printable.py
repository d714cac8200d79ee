"""Text from outside without control codes: names, arguments and log lines must not operate the terminal."""

from __future__ import annotations

import re
from functools import cache

# ECMA-48: \x9b is ESC [ as one character, \x9d ESC ], \x9c ESC \, and so on
_DIRTY = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
_COLOUR = r"\x1b\[[0-9;:]*m"
_RESET = "\x1b[0m"


@cache
def _codes() -> re.Pattern[str]:
    """Return what matches one code; most commands need none, and it takes 2 ms to compile."""
    return re.compile(
        rf"(?P<colour>{_COLOUR})"
        r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: clear, move, modes
        r"|(?:\x1b[]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS: a text
        r"|\x1b[ -/]*[0-~]?"
        r"|(?P<line>\r\n?)"
        r"|(?P<byte>[\ud800-\udfff])"
        r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]+|[\x80-\x9f]"
    )


def printable(text: str, *, colours: bool = False) -> str:
    """Return a text without control codes, apart from line ends and tabs; `colours` keeps those of colours (SGR)."""
    if text.isprintable() or re.search(_DIRTY, text) is None:
        return text
    return _codes().sub(_kept if colours else _plain, text)


def in_colour(line: str) -> str:
    """Return a log's line with its colours alone, which end with it."""
    line = printable(line, colours=True)
    return line + _RESET if re.search(_COLOUR, line) else line


def one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _kept(code: re.Match[str]) -> str:
    return code["colour"] or _plain(code)


def _plain(code: re.Match[str]) -> str:
    if code["line"]:
        return "\n" if code["line"] == "\r\n" else " "
    return "\ufffd" if code["byte"] else ""
