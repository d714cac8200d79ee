"""Reading log files: the last lines, those since a time, and what is written while one reads."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from orienter_tasks.stack import logfiles
from orienter_tasks.stack.component import TAIL_CHARACTERS, LogRequest, last
from orienter_tasks.stack.logfiles import read, time_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)


def at(minute: int, text: str) -> str:
    return f"{(NOON + timedelta(minutes=minute)).strftime('%Y-%m-%d %H:%M:%S.%f')[:-3]} UTC [7] {text}\n"


def since(minute: float) -> float:
    return (NOON + timedelta(minutes=minute)).timestamp()


def lines(path: Path, count: int = 100, since_time: float | None = None) -> list[str]:
    return list(read(path, LogRequest(lines=count, since=since_time)))


def words(found: list[str]) -> list[str]:
    return [line.split()[-1] for line in found]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "service.log"


@pytest.fixture
def follow(log: Path) -> Iterator[Callable[[LogRequest], list[str]]]:
    """Follow the log in a thread; return the list that its lines go into."""
    stops: list[threading.Event] = []
    threads: list[threading.Thread] = []

    def begin(request: LogRequest) -> list[str]:
        heard: list[str] = []
        assert request.follow is not None
        stops.append(request.follow)
        thread = threading.Thread(target=lambda: heard.extend(read(log, request)))
        thread.start()
        threads.append(thread)
        time.sleep(0.15)
        return heard

    yield begin
    for stop in stops:
        stop.set()
    for thread in threads:
        thread.join(2)
        assert not thread.is_alive()


def finish(stop: threading.Event) -> None:
    """Give the reader the time to see what was written, and end it."""
    time.sleep(0.25)
    stop.set()
    time.sleep(0.15)


def test_a_log_that_is_not_there_has_no_lines(log: Path) -> None:
    assert lines(log) == []
    log.write_bytes(b"")
    assert lines(log) == []
    log.unlink()
    log.mkdir()
    assert lines(log) == []


@pytest.mark.parametrize(
    ("content", "count", "expected"),
    [
        (b"one\ntwo\nthree\n", 2, ["two", "three"]),
        (b"one\ntwo\nthree", 2, ["two", "three"]),
        (b"one\ntwo\n", 9, ["one", "two"]),
        (b"one\ntwo\n", 0, []),
        (b"\n\n\n", 2, ["", ""]),
        (b"one\r\ntwo\r\n", 9, ["one", "two"]),
        (b"gr\xc3\xbc\xc3\x9fe \xff\n", 1, ["grüße \N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_the_last_lines(log: Path, content: bytes, count: int, expected: list[str]) -> None:
    log.write_bytes(content)
    assert lines(log, count) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=30)), st.integers(0, 12))
def test_the_last_lines_of_anything(tmp_path: Path, content: list[str], count: int) -> None:
    log = tmp_path / "any.log"
    log.write_text("".join(f"{line}\n" for line in content), encoding="utf-8", newline="")
    block, logfiles.BLOCK = logfiles.BLOCK, 7
    try:
        assert lines(log, count) == (content[-count:] if count else [])
    finally:
        logfiles.BLOCK = block


def test_a_large_log_is_read_from_its_end(log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(2 << 30)  # two gigabytes of nothing take no room on the disk
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nlast\n")
    begun = time.monotonic()
    assert lines(log, 2) == ["last but one", "last"]
    assert time.monotonic() - begun < 0.5


def test_a_line_without_end_is_cut(log: Path) -> None:
    log.write_bytes(b"x" * (3 * logfiles.LONGEST_LINE))
    found = lines(log, 3)
    assert "".join(found) == "x" * (3 * logfiles.LONGEST_LINE)
    assert max(map(len, found)) <= logfiles.LONGEST_LINE + logfiles.BLOCK
    assert lines(log, 1) == found[-1:]


def bytes_read() -> int:
    """Return how many bytes this process has read so far; 0 where the kernel does not say."""
    counters = Path("/proc/self/io")
    return int(counters.read_text().split()[1]) if counters.exists() else 0


@pytest.mark.parametrize("since_time", [None, 1.0])
def test_gigabytes_without_a_line_end_are_read_from_their_end(log: Path, since_time: float | None) -> None:
    log.write_bytes(b"begin\n")
    os.truncate(log, 800 << 20)
    with log.open("ab") as file:
        file.write(b"end")
    tracemalloc.start()
    before = bytes_read()
    found = lines(log, 3, since_time)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[-1].endswith("end")
    assert len(found) <= 4
    assert peak < 2 << 20
    assert since_time or bytes_read() - before < 4 << 20  # a time is looked for in all of it
    shown = last(found)
    assert sum(map(len, shown)) <= TAIL_CHARACTERS
    assert shown[-1].endswith("end")


def test_the_last_of_many_lines_are_shown() -> None:
    assert last(["one", "two"]) == ["one", "two"]
    assert last(["a" * TAIL_CHARACTERS, "b", "c"]) == ["b", "c"]


def test_only_what_was_written_since(log: Path) -> None:
    log.write_text(at(0, "old") + at(5, "edge") + at(6, "new"))
    assert words(lines(log, since_time=since(5))) == ["edge", "new"]
    assert words(lines(log, 1, since_time=since(5))) == ["new"]
    assert words(lines(log, since_time=since(-1))) == ["old", "edge", "new"]
    assert lines(log, since_time=time.time() + 60) == []


def test_lines_without_a_time_belong_to_the_one_before(log: Path) -> None:
    trace = "  in a\n  in b\n"
    log.write_text(at(0, "old") + trace + at(6, "new") + trace)
    assert words(lines(log, since_time=since(5))) == ["new", "a", "b"]
    assert words(lines(log, 1, since_time=since(5))) == ["b"]
    log.write_text(at(6, "new") + at(0, "old") + trace)
    assert lines(log, 2, since_time=since(5)) == [], "these two are of an old message"


def test_without_any_times_the_files_own_counts(log: Path) -> None:
    log.write_text("one\ntwo\n")
    os.utime(log, (since(5), since(5)))
    assert lines(log, since_time=since(4)) == ["one", "two"]
    assert lines(log, since_time=since(6)) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-05-04 12:00:00.250 UTC [17] LOG: x", since(0) + 0.25),
        ("2026-05-04T12:00:00Z x", since(0)),
        ("2026-05-04T12:00:00.5+00:00 x", since(0) + 0.5),
        ("2026-05-04T14:00:00+0200 x", since(0)),
        ("2026-05-04 06:30:00 -05:30 x", since(0)),
        ("[2026-05-04T12:00:00.000Z] INFO x", since(0)),
        ("\x1b[32m2026-05-04T12:00:00Z\x1b[0m x", since(0)),
        ("2026-05-04 12:00:00,123 GMT x", since(0) + 0.123),
        ("2026/05/04 12:00:00 NOTICE: x", datetime(2026, 5, 4, 12).timestamp()),  # noqa: DTZ001 - local time is meant
        ("12:00:00 x", None),
        ("seen on 2026-05-04 12:00:00", None),
        ("2026-13-44 12:00:00 x", None),
        ("0000-00-00 00:00:00 x", None),
        ("2026-05-04T12:00:00+99:00 x", datetime(2026, 5, 4, 12).timestamp()),  # noqa: DTZ001 - no such zone
        ("", None),
    ],
)
def test_times_at_the_start_of_lines(line: str, expected: float | None) -> None:
    assert time_of(line) == (pytest.approx(expected, abs=0.001) if expected is not None else None)


def test_following_gives_what_is_written_from_now_on(log: Path, follow: Callable[[LogRequest], list[str]]) -> None:
    log.write_text("old\nlast\n")
    stop = threading.Event()
    heard = follow(LogRequest(lines=1, follow=stop))
    with log.open("a") as file:
        file.write("new\nhalf")
        file.flush()
        time.sleep(0.25)
        file.write(" and half\n")
    finish(stop)
    assert heard == ["last", "new", "half and half"]


def test_an_unfinished_line_is_given_at_the_end(log: Path, follow: Callable[[LogRequest], list[str]]) -> None:
    log.write_text("whole\nbroken o")
    stop = threading.Event()
    heard = follow(LogRequest(lines=9, follow=stop))
    finish(stop)
    assert heard == ["whole", "broken o"]


def test_following_waits_for_a_log_that_is_made_later(log: Path, follow: Callable[[LogRequest], list[str]]) -> None:
    stop = threading.Event()
    heard = follow(LogRequest(lines=0, follow=stop))
    log.write_text("first\n")
    finish(stop)
    assert heard == ["first"]


def test_following_goes_on_when_another_file_takes_the_name(
    log: Path, follow: Callable[[LogRequest], list[str]]
) -> None:
    log.write_text("before\n")
    stop = threading.Event()
    heard = follow(LogRequest(lines=0, follow=stop))
    with log.open("a") as file:
        file.write("last words\nunfinished")
    log.rename(log.with_name("service.log.1"))
    log.write_text("next run\n")
    finish(stop)
    assert heard == ["last words", "unfinished", "next run"]


def test_following_goes_on_when_the_log_is_truncated(log: Path, follow: Callable[[LogRequest], list[str]]) -> None:
    log.write_text("a long line that was there\n")
    stop = threading.Event()
    heard = follow(LogRequest(lines=0, follow=stop))
    log.write_text("short\n")
    finish(stop)
    assert heard == ["short"]


def test_following_outlives_the_logs_removal(log: Path, follow: Callable[[LogRequest], list[str]]) -> None:
    log.write_text("one\n")
    stop = threading.Event()
    heard = follow(LogRequest(lines=1, follow=stop))
    log.unlink()
    time.sleep(0.25)
    log.write_text("again\n")
    finish(stop)
    assert heard == ["one", "again"]


def test_an_event_that_is_set_already_ends_at_once(log: Path) -> None:
    log.write_text("one\n")
    stop = threading.Event()
    stop.set()
    assert list(read(log, LogRequest(lines=5, follow=stop))) == ["one"]
