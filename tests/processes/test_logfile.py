"""Logs are kept below a size, whoever has them open; what is below it loses nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.processes.logfile import limit, open_log, too_large
from orienter_tasks.settings.model import Logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = Logs(max_size="10k")
WRITES = """import os, sys, time
for number in range(10**9):
    os.write(1, b"line %d\\n" % number)
    time.sleep(0.0005)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "api-dev.log"


@pytest.fixture
def writer(log: Path) -> Iterator[None]:
    """A process that writes on and on."""
    with log.open("ab") as file, subprocess.Popen([sys.executable, "-c", WRITES], stdout=file) as process:
        yield
        process.kill()


def numbers(*logs: Path) -> list[int]:
    """Return the numbers of the whole lines in these logs."""
    text = b"".join(log.read_bytes() for log in logs)
    return [int(line.removeprefix(b"line ")) for line in text.split(b"\n")[:-1]]


def former(log: Path, number: int = 1) -> Path:
    return log.with_name(f"{log.name}.{number}")


def test_a_writer_goes_on_and_loses_nothing_of_what_is_kept(log: Path, writer: None) -> None:
    while not too_large(log, SMALL):
        time.sleep(0.01)
    limit(log, SMALL, written=lambda: True)
    assert former(log).stat().st_size <= SMALL.max_bytes + 1000
    while not log.stat().st_size:
        time.sleep(0.01)
    kept = numbers(former(log), log)
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert sorted(path.name for path in log.parent.iterdir()) == [log.name, former(log).name]


def test_a_burst_below_the_limit_stays(log: Path) -> None:
    log.write_bytes(b"x" * SMALL.max_bytes)
    limit(log, SMALL, written=lambda: True)
    assert log.stat().st_size == SMALL.max_bytes
    assert not former(log).exists()


@pytest.mark.parametrize("size", [20_000, 30_000_000])
def test_what_nothing_writes_to_keeps_its_end(log: Path, size: int) -> None:
    log.write_bytes(b"an old line\n" * (size // 12) + b"the end\n")
    limit(log, SMALL, written=lambda: False)
    lines = log.read_bytes().split(b"\n")
    assert log.stat().st_size <= SMALL.max_bytes
    assert {*lines[:-2]} == {b"an old line"}
    assert lines[-2:] == [b"the end", b""]
    assert not former(log).exists()


def test_an_endless_line(log: Path) -> None:
    log.write_bytes(b"x" * 50_000)
    limit(log, SMALL, written=lambda: True)
    assert log.stat().st_size == 0
    assert former(log).stat().st_size <= SMALL.max_bytes


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_so_many_former_logs_are_kept(log: Path, keep: int) -> None:
    logs = Logs(max_size="10k", keep=keep)
    for number in range(5):
        log.write_text(f"{number}\n")
        open_log(log, logs)
    names = [path.name for path in log.parent.iterdir() if path != log]
    assert sorted(names) == [former(log, number).name for number in range(1, keep + 1)]
    for number in range(1, keep + 1):
        assert former(log, number).read_text() == f"{5 - number}\n"
    log.write_bytes(b"x" * 50_000)
    limit(log, logs, written=lambda: True)
    assert log.stat().st_size == 0
    assert len([*log.parent.iterdir()]) == keep + 1


def test_only_files_are_cut(log: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"x" * 50_000)
    log.symlink_to(target)
    limit(log, SMALL, written=lambda: True)
    assert target.stat().st_size == 50_000
