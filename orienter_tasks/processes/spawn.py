"""Start a process in its own session and group, with a log file and a record."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import CheckError, NotFoundError, OrienterError
from orienter_tasks.machine.state import private_dir
from orienter_tasks.processes import shim
from orienter_tasks.processes.logfile import open_log
from orienter_tasks.processes.program import find_program
from orienter_tasks.processes.record import COMPONENT_MARKER, TOKEN_MARKER, Record, birth_mark, exit_path, load, save

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.program import Program


class Handle(msgspec.Struct):
    """A running process: whose it is, its record, and our own child object where this very run started it."""

    instance: Instance
    record: Record
    child: subprocess.Popen[bytes] | None = None

    def exit_code(self) -> int | None:
        """Return None while it runs, its exit code when it was our child or had a shim (-N: signal N), else -1000."""
        if self.child is None:
            return None if self.record.alive() else ended_with(self.instance, self.record)
        code = self.child.poll()
        return shim.as_child(code) if self.record.has_shim and code is not None else code


UNKNOWN_EXIT = -1000


def ended_with(instance: Instance, record: Record) -> int:
    """Return the exit code of a recorded process that has ended: what its shim wrote (-N: signal N), else -1000."""
    code = shim.exit_code(instance, record)
    return UNKNOWN_EXIT if code is None else shim.as_child(code)


def describe_exit(code: int) -> str:
    if code == UNKNOWN_EXIT:
        return "is gone"
    if code < 0:
        known = -code in signal.Signals._value2member_map_  # real-time signals have no names
        return f"was ended by {signal.Signals(-code).name if known else f'signal {-code}'}"
    return f"exited with code {code}"


def running(instance: Instance, component: str) -> Handle | None:
    """Return the component's process when its record says so and it is alive."""
    record = load(instance, component)
    return Handle(instance, record) if record is not None and record.alive() else None


def spawn(instance: Instance, program: Program) -> Handle:
    """Start a program and write its record.

    Raises:
        NotFoundError: when the program, or the directory to start it in, does not exist.
        CheckError: when it cannot be started.
    """
    private_dir(program.log.parent)
    private_dir(instance.pid_dir)
    with_shim = program.with_shim and shim.can_hand_on(program.env)
    child = _start(instance, program, with_shim=with_shim)
    record = _record(instance, program, child.pid, has_shim=with_shim)
    try:
        save(instance, record)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)  # what is not recorded would be lost
        child.wait()
        raise
    return Handle(instance, record, child)


def _start(instance: Instance, program: Program, *, with_shim: bool) -> subprocess.Popen[bytes]:
    log, stdin, command = open_log(program.log, program.logs), subprocess.DEVNULL, list(program.command)
    try:
        if with_shim:
            if program.cwd.is_dir():  # else no shim can be started there
                find_program(command[0], program.cwd, program.env)  # a shell could only say so in the log
            stdin, command = shim.open_exit_file(instance, program.component), shim.wrap_argv(program)
        return subprocess.Popen(
            command,
            cwd=program.cwd,
            env={**program.env, COMPONENT_MARKER: program.component, TOKEN_MARKER: instance.token},
            stdin=stdin,
            stdout=log if program.stdout is None else program.stdout,
            stderr=log,
            start_new_session=True,
            restore_signals=True,
            pass_fds=() if program.lock is None else (program.lock,),
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL, or a name that no variable can have
        if with_shim:
            exit_path(instance, program.component).unlink(missing_ok=True)
        raise _not_started(instance, program, error) from error
    finally:
        for descriptor in {log, stdin} - {subprocess.DEVNULL}:
            os.close(descriptor)


def _not_started(instance: Instance, program: Program, error: OSError | ValueError) -> OrienterError:
    name, who = program.command[0], f"{program.component} of {instance}"
    change = f"or change orienter.services.{program.component} in invoke.yaml (null drops it)"
    if not program.cwd.exists():
        return NotFoundError(f"{who}: the directory {program.cwd} was not found", hint=f"make it, {change}")
    # a directory of PATH that may not be searched makes «permission denied» of a program that is nowhere
    nowhere = os.sep not in name and shutil.which(name, os.F_OK, program.env.get("PATH")) is None
    if isinstance(error, FileNotFoundError) or (isinstance(error, PermissionError) and nowhere):
        return NotFoundError(f"{who}: {name} was not found", hint=f"install it, {change}")
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    return CheckError(f"{who} cannot be started: {reason}")


def _record(instance: Instance, program: Program, pid: int, *, has_shim: bool) -> Record:
    return Record(
        component=program.component,
        pid=pid,
        mark=birth_mark(pid) or "",
        command=tuple(program.command),
        cwd=str(program.cwd),
        log=str(program.log),
        project=instance.project,
        instance=instance.id,
        root=str(instance.root),
        stop_signal=int(program.stop_signal),
        group=program.group,
        started_at=time.time(),
        needs=tuple(program.needs),
        port=program.port,
        token=instance.token,
        has_shim=has_shim,
    )
