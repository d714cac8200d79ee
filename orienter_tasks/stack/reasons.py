"""The line of a log that says why: the last line that looks like an error, not the end of a stack trace.

Programs print more behind it: frames, properties of the error, their version, what npm or a watcher says of the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LINES = 60  # so far from its end is a log searched: a stack trace fits in
LONGEST = 200

_CONTROL = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|.)|[\x00-\x08\x0b-\x1f\x7f]"
_PREFIX = r"\[(?!nodemon)[a-z0-9@:./-]+\] |[@\w./-]+:[a-z][\w-]*: |[\w-]+ \| "  # of turbo and the like
_NPM = r"npm (?:error|ERR!) "
_TRACEBACK = "Traceback (most recent call last):"
_DETAIL = (
    r"\s{4,}|\t|\s+at |\s+File \"|goroutine \d+ \[|Require stack:|- /"  # frames, source
    r"|\s*(?:throw|raise|return)\b|\s*[\d ]*[|│╵╭╰─]|[\s^~})\]]*$"
    r"|\s+\[?'?\w+'?\]?: (?!\w*(?:Error|Exception)\b)"  # properties of the error
    r"|Node\.js v\d|Emitted 'error' event|exit status \d|note: run with `RUST_BACKTRACE"
    r"|During handling of the above exception|The above exception was the direct cause"
    r"|\[nodemon\]|Failed running '|Waiting for (?:file )?changes|\s*ELIFECYCLE|ERR_PNPM_RECURSIVE"
    r"|(?:error )?[Cc]ommand failed|\s*ERROR +run failed"
    r"|npm (?:error|ERR!)(?:$| (?:code|path|errno|syscall|signal|workspace|location|command|A complete log|To see) "
    r"| Lifecycle script)"
)
_ERROR = (
    r"(?i:\b(?:errors?|fatal|panic|panicked|uncaught|unhandled|exception|failed|failure|cannot|can't|could not|couldn't"
    r"|unable|refused|denied|critical|missing|invalid|not found|no such|in use|segmentation fault|out of memory)\b)"
    r"|(?:Error|Exception|_ERROR)\b|\"level\": ?(?:50|60)\b"
)
_FRAME = r"\s+at "
_SEVERE = r"\W*(?:\S+ )?(?:[\w.]*(?:Error|Exception)\b|ERROR\b|error\b|panic:|fatal error|FATAL|Uncaught)"
_CALM = r"(?i)\b(?:0|no) (?:errors?|failures?|problems?)\b|\berror-free\b"


def reason(lines: Iterable[str]) -> str:
    """Return the line that says why, without colours; the last line with words where none looks like an error."""
    found, last, _ = _search(lines)
    return found or last


def crash(lines: Iterable[str]) -> str:
    """Return the error that lines end with, such as an exception's with its stack trace; "" where they do not."""
    found, last, severe = _search(lines)
    return found if found == last and severe else ""


def _search(lines: Iterable[str]) -> tuple[str, str, bool]:
    """Return the last line that looks like an error, the last line of all, and whether that is a program's end."""
    found = last = ""
    in_traceback = severe = False
    for line in map(_plain, lines):
        if in_traceback and not line[:1].isspace():
            found = last = line  # the name of an exception need not look like an error
            in_traceback, severe = False, True
        elif _TRACEBACK in line:
            in_traceback = True
        elif re.match(_DETAIL, line):
            severe = severe or re.match(_FRAME, line) is not None
        else:
            last, severe = line, re.match(_SEVERE, line) is not None
            if re.search(_ERROR, re.sub(_NPM, "", line)) and not re.search(_CALM, line):
                found = line
    return found.strip()[:LONGEST], last.strip()[:LONGEST], severe


def _plain(line: str) -> str:
    """Return a line without control codes and without the name that a runner puts before it."""
    text = re.sub(_CONTROL, "", line).rstrip()
    prefix = re.match(_PREFIX, text)
    return text[prefix.end() :] if prefix else text
