"""Read a log file: its last lines, those since a time, and what is written from now on.

Only as much is read as was asked for, from the end, however large the file is and however long its lines are.
"""

from __future__ import annotations

import math
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from orienter_tasks.machine.files import open_regular
from orienter_tasks.stack.component import EVERY_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.stack.component import LogRequest

BLOCK = 65536
LONGEST_LINE = 65536
STAMP_BYTES = 128
POLL_SECONDS = 0.25

_COLOUR = r"\x1b\[[0-9;]*m"
_STAMP = (
    r"\W{0,3}(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?"
    r"(?: ?(?:(Z|UTC|GMT)|([+-](?:[01]\d|2[0-3])):?([0-5]\d)))?"
)


def has_room(directory: Path) -> bool:
    """Say whether a log in a directory could grow; also where the system does not tell."""
    try:
        return os.statvfs(directory).f_bavail > 0
    except OSError:
        return True


def read(path: Path, request: LogRequest) -> Iterator[str]:
    """Give the lines of a log that were asked for, without line ends; nothing when there is no log.

    A line without a time counts as written with the one before it; in a file without any times, the file's own counts
    for all. A stream goes on when the file is truncated, when another takes its name, and when it is made only later.
    """
    lines = Lines()
    file = _open(path)
    try:
        if file is not None:
            file.seek(_start(file, request))
            yield from _new(file, lines)
        while request.follow is not None and not request.follow.wait(POLL_SECONDS):
            if _replaced(path, file):
                if file is not None:
                    yield from _new(file, lines)
                    yield from lines.rest()
                    file.close()
                file = _open(path)
            elif file is not None and os.fstat(file.fileno()).st_size < file.tell():
                yield from lines.rest()
                file.seek(0)
            if file is not None:
                yield from _new(file, lines)
        if request.follow is not None and file is not None:
            yield from _new(file, lines)
        yield from lines.rest()
    finally:
        if file is not None:
            file.close()


def time_of(line: str) -> float | None:
    """Return the time at a line's start in seconds since the epoch, None without one; no zone means local time."""
    match = re.match(_STAMP, re.sub(_COLOUR, "", line))
    if match is None:
        return None
    year, month, day, clock, fraction, utc, hours, minutes = match.groups()
    zone = "+00:00" if utc else f"{hours}:{minutes}" if hours else ""
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{zone}").timestamp() + float(f"0.{fraction or 0}")
    except (ValueError, OverflowError):
        return None


class Lines:
    """Cuts what is read into lines, and keeps an unfinished one until its end comes or it has become too long."""

    def __init__(self) -> None:
        self._unfinished = b""

    def of(self, block: bytes) -> Iterator[str]:
        *whole, self._unfinished = (self._unfinished + block).split(b"\n")
        yield from map(_text, whole)
        if len(self._unfinished) >= LONGEST_LINE:
            yield from self.rest()

    def rest(self) -> Iterator[str]:
        unfinished, self._unfinished = self._unfinished, b""
        if unfinished:
            yield _text(unfinished)


def _new(file: BinaryIO, lines: Lines) -> Iterator[str]:
    while block := file.read(BLOCK):
        yield from lines.of(block)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")


def _open(path: Path) -> BinaryIO | None:
    try:
        return open_regular(path)
    except OSError:
        return None


def _replaced(path: Path, file: BinaryIO | None) -> bool:
    """Whether another file has the name now; while none has, the old one is kept."""
    try:
        now = path.stat()
    except OSError:
        return False
    return file is None or not os.path.samestat(now, os.fstat(file.fileno()))


def _start(file: BinaryIO, request: LogRequest) -> int:
    """Return where the first line begins that was asked for."""
    status, since = os.fstat(file.fileno()), request.since if request.since is not None else -math.inf
    first = new = status.st_size
    if request.lines < 1 or status.st_mtime < since:
        return first
    if request.lines == EVERY_LINE and request.since is None:
        return 0
    for count, (offset, beginning) in enumerate(_backwards(file, status.st_size), 1):
        if count <= request.lines:
            first = offset
        written = time_of(beginning) if request.since is not None else math.inf
        if written is None:
            continue  # it belongs to the line before it
        if written < since:
            return max(first, new)
        if count >= request.lines:
            return first
        new = offset
    return first


def _backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, str]]:
    """Give the offset and the beginning of each line, the last one first; an endless one counts as several."""
    position, after, endless = end, b"", 0
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        known, cut = block + after, len(block)
        while (cut := block.rfind(b"\n", 0, cut)) >= 0:
            if position + cut + 1 < end:
                yield position + cut + 1, _text(known[cut + 1 : cut + 1 + STAMP_BYTES])
        after = known[:STAMP_BYTES]
        first = block.find(b"\n")
        endless = endless + size if first < 0 else first
        if endless >= LONGEST_LINE and position > 0:
            endless = 0
            yield position, ""
    if end > 0:
        yield 0, _text(after)
