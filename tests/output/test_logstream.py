"""Lines of logs that are searched: the last hits, however far back they are, and those that come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from orienter_tasks.output.logstream import LogStream
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from orienter_tasks.stack.component import Component, LogRequest


@dataclass
class Logged:
    """What has a log file."""

    path: Path
    name: str = "web"

    def logs(self, request: LogRequest) -> Iterator[str]:
        return read(self.path, request)


def stream(path: Path, **options: Any) -> LogStream:
    return LogStream([cast("Component", Logged(path))], **options)


def test_the_last_hits_and_not_hits_in_the_last_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"Error {number}\nfine\nfine\nfine\n" for number in range(5)))
    stream(log, lines=3, grep="Error").show()
    assert capsys.readouterr().out.splitlines() == [f"web | Error {number}" for number in (2, 3, 4)]
    stream(log, lines=0, grep="Error").show()
    assert capsys.readouterr().out == ""


def test_hits_are_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, seen = tmp_path / "x.log", ""
    log.write_text("Error 1\nError 2\nfine\n")
    written = False

    def tick() -> bool:
        nonlocal seen, written
        seen += capsys.readouterr().out
        if "Error 2" in seen and not written:
            written = True
            with log.open("a") as file:
                file.write("fine\nError 3\n")
        return "Error 3" not in seen

    stream(log, lines=1, grep="Error").follow(tick, every=0.02)
    assert seen.splitlines() == ["web | Error 2", "web | Error 3"]
