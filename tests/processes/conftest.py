"""Real processes, of an instance and of strangers; whatever a test starts ends with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.processes import census
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.spawn import Handle, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.instance.model import Instance
    from tests.conftest import MakeInstance

REPOSITORY = Path(__file__).parent.parent.parent
FAMILY = [sys.executable, "-I", "-S", str(Path(__file__).with_name("family.py"))]
TOKEN = "LAB_TOKEN"


def code(text: str) -> list[str]:
    """A Python that runs this."""
    return [sys.executable, "-I", "-S", "-c", text]


FOREVER = code("import signal\nwhile True: signal.pause()")


def eventually(condition: Any, what: str = "it", seconds: float = 10.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.005)


def lives(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Lab:
    """An instance, and the processes of one test."""

    def __init__(self, instance: Instance, directory: Path) -> None:
        self.instance = instance
        self.directory = directory
        self.token = secrets.token_hex(8)
        self.children: list[subprocess.Popen[bytes]] = []
        self.pids: set[int] = set()

    def environ(self, instance: Instance | None = None, **others: str) -> dict[str, str]:
        it = instance or self.instance
        ids = {"AI_INSTANCE_ID": str(it.id), "AI_INSTANCE_ROOT": str(it.root)}
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), TOKEN: self.token, **ids, **others}

    def program(self, component: str, command: list[str], **fields: Any) -> Program:
        known: dict[str, Any] = {
            "cwd": self.instance.root,
            "env": self.environ(),
            "log": self.instance.log_dir / f"{component}-dev.log",
        }
        return Program(component=component, command=command, **{**known, **fields})

    def spawn(self, component: str, command: list[str], **fields: Any) -> Handle:
        handle = spawn(fields.pop("instance", self.instance), self.program(component, command, **fields))
        assert handle.child is not None
        self.children.append(handle.child)
        return handle

    def family(self, component: str, *words: str, **fields: Any) -> tuple[Handle, dict[str, int]]:
        """Start a family and wait until it is complete; return the pids by role."""
        directory = self.directory / component
        directory.mkdir()
        handle = self.spawn(component, [*FAMILY, str(directory), *words], **fields)
        roles = {"leader", *words} - {"stubborn", "polite", "heir", "leaves"}
        eventually(lambda: roles <= {path.name for path in directory.iterdir()}, f"the family of {component}")
        pids = {role: int((directory / role).read_text(encoding="ascii")) for role in roles}
        self.pids |= set(pids.values())
        for role in roles & {"cleared", "worker"}:
            eventually(lambda role=role: self.token not in psutil.Process(pids[role]).environ().values(), "exec")
        return handle, pids

    def stranger(self, command: list[str] = FOREVER, **environ: str) -> subprocess.Popen[bytes]:
        """Start a process that is nobody's."""
        env = {**os.environ, TOKEN: self.token, **environ}
        child = subprocess.Popen(command, env=env, cwd=self.instance.root, start_new_session=True)
        self.children.append(child)
        eventually(lambda: psutil.Process(child.pid).cmdline() == command, "exec")
        return child

    def close(self) -> None:
        left = self.pids | {child.pid for child in self.children if child.poll() is None} | self._marked()
        while left:  # a shim may have been about to start its service
            for pid in left:
                if lives(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            left = self._marked()
        for child in self.children:
            child.wait(10)

    def _marked(self) -> set[int]:
        found = set()
        for process in psutil.process_iter():
            try:
                if process.environ().get(TOKEN) == self.token:
                    found.add(process.pid)
            except (psutil.Error, OSError):
                continue
        return found - {os.getpid()}


@pytest.fixture
def lab(make_instance: MakeInstance, tmp_path: Path) -> Iterator[Lab]:
    directory = tmp_path / "lab"
    directory.mkdir()
    it = Lab(make_instance(3), directory)
    yield it
    it.close()


def pids_of(instance: Instance, component: str | None = None) -> set[int]:
    return set(census.take().pids(instance, component))
