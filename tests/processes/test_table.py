"""The table of processes: read from the kernel's files and asked of psutil, it says the same."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.processes import table
from orienter_tasks.processes.record import start_mark
from orienter_tasks.processes.table import Process, ProcessOwner
from tests.processes.conftest import FOREVER, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.processes.conftest import Lab


class Counted:
    """A reader that takes its time and counts."""

    def __init__(self, *, fails: int = 0) -> None:
        self.began: list[float] = []
        self._fails = fails

    def __call__(self) -> dict[int, Process]:
        self.began.append(time.monotonic())
        number = len(self.began)
        time.sleep(0.05)
        if number <= self._fails:
            raise OSError(24, "Too many open files")
        return {number: Process(number, "")}


@pytest.mark.parametrize("fails", [0, 1])
def test_threads_share_a_reading_that_began_after_they_had_asked(monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    counted, turns = Counted(fails=fails), table.CoalescedReader()
    for name in ("read_proc", "read_psutil"):
        monkeypatch.setattr(table, name, counted)
    seen: list[tuple[float, int]] = []
    errors: list[OSError] = []

    def ask() -> None:
        asked = time.monotonic()
        try:
            (number,) = turns.read()
        except OSError as error:
            errors.append(error)
        else:
            seen.append((asked, number))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
        time.sleep(0.004)
    for thread in threads:
        thread.join()
    assert len(errors) == fails
    assert len(seen) == 20 - fails
    assert all(counted.began[number - 1] >= asked for asked, number in seen)
    assert len(counted.began) < 10 + fails, "most shared one"


READERS = [
    pytest.param(
        table.read_proc, marks=pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has such a /proc")
    ),
    table.read_psutil,
]


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable[[], dict[int, Process]]:
    reader: Callable[[], dict[int, Process]] = request.param
    return reader


def test_a_process_with_its_parent_session_and_owner(lab: Lab, read: Callable[[], dict[int, Process]]) -> None:
    handle = lab.spawn("web", FOREVER)
    eventually(lambda: read()[handle.record.pid].owner is not None, "exec")  # its environment is empty for a moment
    entry = read()[handle.record.pid]
    assert (entry.parent, entry.session) == (os.getpid(), handle.record.pid)
    assert entry.owner == ProcessOwner("web", str(lab.instance.root), str(lab.instance.id), token=lab.instance.token)


def test_this_process_is_nobodys(read: Callable[[], dict[int, Process]]) -> None:
    entry = read()[os.getpid()]
    assert (entry.parent, entry.owner) == (os.getppid(), None)


def test_the_mark_is_the_recorded_one() -> None:
    assert table.read()[os.getpid()].mark == start_mark(os.getpid())


def test_a_zombie_is_not_in_it(read: Callable[[], dict[int, Process]]) -> None:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    try:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert child.pid not in read()
    finally:
        child.wait()


def test_a_marker_within_another_variable_is_none(read: Callable[[], dict[int, Process]]) -> None:
    child = subprocess.Popen(FOREVER, env={**os.environ, "NOTE": "say ORIENTER_COMPONENT=web"})
    try:
        assert read()[child.pid].owner is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has such a /proc")
def test_both_readers_say_the_same_of_what_stays(lab: Lab) -> None:
    lab.spawn("web", FOREVER)

    def told(entries: dict[int, Process]) -> dict[int, tuple[int, int, ProcessOwner | None]]:
        return {pid: (it.parent, it.session, it.owner) for pid, it in entries.items()}

    before, asked, after = table.read_proc(), told(table.read_psutil()), told(table.read_proc())
    stayed = {pid: told(before)[pid] for pid in before if told(before)[pid] == after.get(pid)}
    assert stayed
    assert {pid: asked.get(pid, it) for pid, it in stayed.items()} == stayed
