"""`inv test.run`: one command in a throwaway instance, with its exit code; then everything of it goes away."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from orienter_tasks.commands.env import command_line, environment_of
from orienter_tasks.commands.names import known_services
from orienter_tasks.commands.selftest.command import backends_of
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.commands.start import await_infra, start_all, start_infra
from orienter_tasks.errors import ConfigError, InterruptError, NotFoundError, OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.lifecycle.context import RunOptions
from orienter_tasks.machine.signals import CTRL_C, deferred, run_or_hurry
from orienter_tasks.output.units import megabytes
from orienter_tasks.processes.activity import below
from orienter_tasks.processes.record import COMPONENT_MARKER, TOKEN_MARKER
from orienter_tasks.processes.table import memory
from orienter_tasks.settings import graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import FormerHook, Hook, Service, Settings

FAILED = 125
"""The exit code where the command was not run, or not everything went away afterwards."""
COMPONENT = "test.run"
SAMPLE_SECONDS = 0.2


class Ended(msgspec.Struct, frozen=True):
    """How a command ended: its exit code, and the most memory that it and its children had at once, if known."""

    code: int
    memory: int | None


def run(ctx: RunContext, services: Sequence[str]) -> None:
    """Run the command line's command, and exit with its code."""
    try:
        code = _run(ctx, services)
    except OrienterError as error:
        error.exit_code = FAILED
        raise
    sys.exit(code)


def _run(ctx: RunContext, services: Sequence[str]) -> int:
    command = command_line("test.run")
    known_services(ctx, services)
    ctx.read_pipe()
    backends = backends_of(ctx)
    options = RunOptions(
        backend=backends.general,
        timeout=ctx.options.timeout,
        quiet=True,
        detach=True,
        data=ctx.options.data or "empty",
    )
    begun = time.monotonic()
    settings = choice.kept(chosen(ctx.settings, services, ctx.root), backends)
    with open_sandbox(HostConfig(settings, ctx.dotenv, ctx.root)) as sandbox:
        there = sandbox.instance("run", options)
        _start(there, ctx, services)
        ready = time.monotonic()
        ended = execute(command, there.current.config)
        done = time.monotonic()
    gone = time.monotonic()
    ctx.report.note(
        f"{shlex.join(command)[:60]}: exit code {ended.code} after {done - ready:.1f} s, "
        f"peak memory {megabytes(ended.memory)}; instance {there.current.instance.id} took "
        f"{ready - begun:.1f} s to start, {gone - done:.1f} s to remove"
    )
    return ended.code


def chosen(settings: Settings, services: Sequence[str], root: Path) -> Settings:
    """Return settings with these services and what they need only, which run in a checkout that is not their own."""
    wanted = graph.reachable(graph.needs(settings), services)

    def path(text: str) -> str:
        return text if text.startswith(("/", "${")) else str(root / text)

    def placed(hook: Hook | FormerHook) -> dict[str, object]:
        patterns = {"creates": hook.creates, "sources": hook.sources}
        return {
            "cwd": path(hook.cwd),
            **{
                key: path(value) if isinstance(value, str) and value else tuple(map(path, value))
                for key, value in patterns.items()
            },
        }

    def before(names: Sequence[str] | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(name for name in names if name in wanted)

    kept: dict[str, Service] = {name: it for name, it in settings.services.items() if name in wanted}
    hooks = settings.hooks
    return replace(
        settings,
        services={name: replace(service, cwd=path(service.cwd)) for name, service in kept.items()},
        hooks=replace(
            hooks,
            start=tuple(
                replace(hook, before=before(hook.before), **placed(hook)) for hook in hooks.start if hook.name in wanted
            ),
            before_services=tuple(
                replace(hook, services=before(hook.services), **placed(hook))
                for hook in hooks.before_services
                if hook.name in wanted
            ),
        ),
    )


def _start(there: RunContext, ctx: RunContext, services: Sequence[str]) -> None:
    """Start the throwaway instance.

    Raises:
        OrienterError: it does not start; what was started is stopped.
    """
    try:
        if there.options.data != "empty":
            from orienter_tasks.commands.data.replace import first

            first(there, ctx)
        start_infra(there)
        if services:
            start_all(there)
        else:
            await_infra(there, ready=True)
    except BaseException as error:
        there.undo(error)
        raise
    skipped = there.start.runner.skipped
    for name in services:
        if name in skipped:
            raise ConfigError(f"{name} is not started: {skipped[name]}", hint="see: inv env.show")


def execute(command: Sequence[str], config: InstanceConfig) -> Ended:
    """Run a command with an instance's variables, and wait for it; it gets the signals that this process gets.

    Raises:
        NotFoundError: it cannot be run.
        InterruptError: a signal ended the run; the command has ended too.
    """
    environ = {**environment_of(config), COMPONENT_MARKER: COMPONENT, TOKEN_MARKER: config.instance.token}
    at_terminal = _has_terminal()
    process = None
    try:
        with deferred():  # a signal must not come when the command runs and nobody knows it yet
            # where Ctrl-C comes from a terminal, it reaches the command without us
            process = subprocess.Popen(command, env=environ, preexec_fn=None if at_terminal else os.setpgrp)  # noqa: PLW1509
        with _measuring(process.pid) as peak:
            code = process.wait()
    except OSError as error:
        raise NotFoundError(f"{command[0]!r} cannot be run: {error.strerror}") from error
    except InterruptError as error:
        if process is not None:
            _pass_on(process, error, at_terminal=at_terminal)
        raise
    return Ended(code if code >= 0 else 128 - code, max(peak, default=None))


@contextmanager
def _measuring(pid: int) -> Iterator[list[int]]:
    """Add up the memory of a process and its children now and then; the kernel only knows the largest of them."""
    found: list[int] = []
    ended = threading.Event()

    def measure() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            if total := sum(memory(each) or 0 for each in below(pid)):
                found.append(total)

    with deferred():
        threading.Thread(target=measure, daemon=True).start()
    try:
        yield found
    finally:
        ended.set()


def _pass_on(process: subprocess.Popen[bytes], error: InterruptError, *, at_terminal: bool) -> None:
    """Signal the command too and wait until it has ended; a second signal kills it."""
    if process.poll() is not None:
        return
    number = error.exit_code - 128
    send = process.send_signal if at_terminal else lambda number: os.killpg(process.pid, number)

    def tell() -> None:
        if not (at_terminal and error.exit_code == CTRL_C):
            send(number)
        process.wait()

    def kill() -> None:
        if process.poll() is None:
            send(signal.SIGKILL)
            process.wait()

    run_or_hurry(tell, kill)


def _has_terminal() -> bool:
    """Whether this process is in the foreground of a terminal, whose Ctrl-C its whole group gets."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
