"""A crash below a watcher is distinguished from a program that takes long, whatever that prints or waits for."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.processes.activity import below
from orienter_tasks.services.crash import CrashDetector
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LONG = 3.0  # longer than a crash takes to be noticed

CRASH = f"{sys.executable} -S -c 'raise RuntimeError(1)'"
WATCHER = """
import subprocess, sys, time
subprocess.run([sys.executable, "-S", "-c", sys.argv[1]])
while True: time.sleep(float(sys.argv[2]))
"""
WORKER = """
import subprocess, sys, time
subprocess.run([sys.executable, "-S", "-c", "raise RuntimeError(1)"])
while True: sum(range(10000))
"""


PROGRAMS: dict[str, list[str]] = {
    "sleeps": ["sleep", "600"],
    "prints an error": ["sh", "-c", "echo 'Error: boop'; sleep 600"],  # a program that tries again prints the same
    "goes on": ["sh", "-c", f"{CRASH}; sleep 600"],
    "tries again": ["sh", "-c", f"until {CRASH}; do sleep 0.9; done"],
    "a hook": [sys.executable, "-S", "-c", WATCHER, "print('migrated')", "600"],
    "harmless": [sys.executable, "-S", "-c", WATCHER, "import os; os.write(2, b'fatal: not a git repository')", "600"],
    "works": [sys.executable, "-S", "-c", WORKER],
}


@contextmanager
def started(directory: Path, commands: Mapping[str, list[str]]) -> Iterator[dict[str, Callable[[], bool]]]:
    """Start programs; give a function for each that says whether it is found to have crashed."""
    with ExitStack() as stack:
        found: dict[str, Callable[[], bool]] = {}
        for name, command in commands.items():
            log = directory / f"{name}.log"
            with log.open("wb") as out:
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                )
            stack.callback(child.wait)
            stack.callback(os.killpg, child.pid, signal.SIGKILL)
            found[name] = partial(CrashDetector(log).crashed, child.pid)
        yield found


@pytest.mark.parametrize("pause", ["600", "0.05"], ids=["sleeps", "polls"])
def test_a_watcher_whose_program_crashed(tmp_path: Path, pause: str) -> None:
    watcher = [sys.executable, "-S", "-c", WATCHER, "raise RuntimeError('boop')", pause]
    with started(tmp_path, {"watcher": watcher}) as found:
        wait_for(found["watcher"], "the verdict")


def test_programs_that_take_long_are_not_taken_for_it(tmp_path: Path) -> None:
    with started(tmp_path, PROGRAMS) as found:
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            assert [name for name, crashed in found.items() if crashed()] == []
            time.sleep(0.02)


def test_what_listened_before_and_is_silent_now(tmp_path: Path) -> None:
    moments = itertools.count(step=0.1)
    log = tmp_path / "x.log"
    log.write_text("serving\n")

    def crashed(listening: int, looks: int) -> bool:
        detector = CrashDetector(log, clock=lambda: next(moments))
        for _ in range(listening):
            detector.listening()
        return any(detector.crashed(os.getpid()) for _ in range(looks))

    assert not crashed(2, 20)  # it only tried whether the port is free
    with subprocess.Popen(["sleep", "600"]) as idle:
        try:
            detector = CrashDetector(log)
            detector.listening()
            time.sleep(0.6)
            detector.listening()
            wait_for(lambda: detector.crashed(idle.pid), "the verdict")
        finally:
            idle.kill()


def test_the_activity_of_descendants() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 600 & wait"]) as shell:
        try:
            wait_for(lambda: len(below(shell.pid)) == 2, "its child")
            wait_for(lambda: not any(each.busy for each in below(shell.pid).values()), "their sleep")
            assert next(iter(below(shell.pid))) == shell.pid
        finally:
            for pid in reversed(below(shell.pid)):
                os.kill(pid, 9)
    assert below(shell.pid) == {}
