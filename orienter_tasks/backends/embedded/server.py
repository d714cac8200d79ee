"""A native process of this backend: clean environment, found by its record, explained when it exits."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.spawn import UNKNOWN_EXIT, describe_exit, running, spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import LogRequest, last
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.errors import OrienterError
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.spawn import Handle
    from orienter_tasks.settings.model import Logs

TAIL_LINES = 15
LEFTOVER_SECONDS = 2.0
ENDING_SECONDS = 2.0
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

PORT_TAKEN = ("Address already in use", "address already in use", "Address in use")  # glibc, Go, musl
DISK_FULL = ("No space left on device", "no space left on device")


class Launch(msgspec.Struct, frozen=True):
    """What to start.

    Attributes:
        version: the arguments that make `binary` print its version; None if that cannot be asked.
        command: argv; it may begin with another program that executes `binary`.
        env: variables in addition to those that every server gets.
    """

    binary: Path
    version: tuple[str, ...] | None
    command: Sequence[str]
    env: Mapping[str, str]


class Server:
    """One process of an instance; its record and its log have its name."""

    def __init__(self, instance: Instance, name: str, directory: Path, logs: Logs) -> None:
        self.name = name
        self.directory = directory
        self.log = instance.log_dir / f"{name}.log"
        self._instance = instance
        self._logs = logs
        self._handle: Handle | None = None
        self._launch: Launch | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, also if another run started it."""
        handle = self._current()
        return handle.record.pid if handle is not None and _exit_code(handle) is None else None

    def launch(self, launch: Launch, lock: int | None = None) -> None:
        """Start it, with a lock that it is to hold; what a crashed run left must be gone."""
        self._launch = launch
        program = Program(
            component=self.name,
            command=launch.command,
            cwd=self.directory,
            env={**_environment(self._instance), **launch.env},
            log=self.log,
            logs=self._logs,
            stop_signal=catalog.entry_of(catalog.component_of(self.name)).stop_signal,
            group=False,
            lock=lock,
        )
        try:
            self._handle = spawn(self._instance, program)
        except (NotFoundError, CheckError) as error:  # its own program, or another that hands over to it
            _require_runnable(launch)
            raise CheckError(str(error)) from error

    def relaunch(self, lock: int | None = None) -> None:
        """Start it again as it was launched by this object."""
        if self._launch is not None:
            self.launch(self._launch, lock)

    def require_alive(self) -> None:
        """Require that it runs; else the error has its exit and the last lines of its log."""
        handle = self._current()
        code = UNKNOWN_EXIT if handle is None else _exit_code(handle)
        if code is not None:
            raise self._failure(code)

    def stop(self, grace: float) -> None:
        """End it with its children, if it runs."""
        stop_component(self._instance, self.name, grace)
        if self._handle is not None:
            _exit_code(self._handle)
            self._handle = None

    def lines(self, request: LogRequest) -> Iterator[str]:
        return read(self.log, request)

    def _current(self) -> Handle | None:
        """Our own child, or the process that another run has started since."""
        if self._handle is None or _exit_code(self._handle) is not None:
            self._handle = running(self._instance, self.name) or self._handle
        return self._handle

    def _failure(self, code: int) -> OrienterError:
        details = last(self.lines(LogRequest(lines=TAIL_LINES)))
        text = "\n".join(details)
        what = f"{self.name} of {self._instance} {describe_exit(code)}"
        if any(words in text for words in PORT_TAKEN):
            return ConflictError(
                f"{what}: its port is in use", hint="see which process uses it: inv doctor", details=details
            )
        if any(words in text for words in DISK_FULL):
            return CheckError(f"{what}: no space is left on its disk", hint="free some space", details=details)
        if self._launch is not None:
            try:
                _require_runnable(self._launch)
            except BackendError as error:
                return error
        return CheckError(what, hint=f"its log: {self.log}", details=details)


def _require_runnable(launch: Launch) -> None:
    """Require that a program can run on this machine at all, as far as it can be asked."""
    if launch.version is not None:
        version_of(launch.binary, *launch.version)


def _exit_code(handle: Handle) -> int | None:
    """Return the handle's exit code; a killed program with threads is a zombie for a moment before it can be read."""
    code = handle.exit_code()
    if code is None and handle.child is not None and not handle.record.alive():
        try:
            return handle.child.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return UNKNOWN_EXIT
    return code


def _environment(instance: Instance) -> dict[str, str]:
    """What every server gets: not the user's PGPORT or RCLONE_CONFIG, and no secret of the services."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # PostgreSQL on macOS needs LC_ALL; the other two mark the process as ours
    return {**inherited, "LC_ALL": "C", "AI_INSTANCE_ID": str(instance.id), "AI_INSTANCE_ROOT": str(instance.root)}
