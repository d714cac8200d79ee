"""Waiting for processes to end, told by the kernel and seen by looking."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.processes.ending import await_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = ["sleep", "600"]


@pytest.fixture(params=["told", "seen", "refused"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., psutil.Process]]:
    """Start processes that are ended after the test; the kernel tells of them, or has no such call, or refuses it."""

    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    if request.param == "told" and not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")
    if request.param == "seen":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif request.param == "refused":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    started: list[subprocess.Popen[bytes]] = []

    def make(command: list[str]) -> psutil.Process:
        started.append(subprocess.Popen(command))
        return psutil.Process(started[-1].pid)

    yield make
    for child in started:
        child.kill()
        child.wait()


def test_nothing_to_wait_for() -> None:
    assert await_end([], 60) == []


def test_who_runs_on_is_returned_in_time(start: Callable[..., psutil.Process]) -> None:
    one, other = start(LONG), start(LONG)
    one.kill()
    begun = time.monotonic()
    assert await_end([one, other], 0.3) == [other]
    assert time.monotonic() - begun >= 0.3
    assert await_end([other], 0) == [other]


def test_a_zombie_has_ended(start: Callable[..., psutil.Process]) -> None:
    process = start(["true"])
    assert await_end([process], 60) == []
    assert process.status() == psutil.STATUS_ZOMBIE
    assert await_end([process], 60) == []


def test_an_end_is_noticed(start: Callable[..., psutil.Process]) -> None:
    process = start(LONG)
    threading.Timer(0.2, process.kill).start()
    assert await_end([process], 60) == []


def test_a_pid_that_is_anothers_by_now_is_not_waited_for(start: Callable[..., psutil.Process]) -> None:
    process = start(LONG)
    former = psutil.Process(process.pid)
    former._create_time = 1.0  # type: ignore[attr-defined]
    former._ident = (former.pid, 1.0)  # type: ignore[attr-defined]  # as of one that had this pid before
    assert await_end([former], 60) == []


def test_no_descriptor_is_left_open(start: Callable[..., psutil.Process]) -> None:
    process = start(LONG)
    before = psutil.Process().num_fds()
    assert await_end([process], 0.05) == [process]
    assert psutil.Process().num_fds() == before
