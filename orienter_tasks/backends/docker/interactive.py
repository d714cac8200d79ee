"""Run a command in a component's container with this process's terminal, or its pipes, as `docker exec` does."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import threading
import tty
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker.oneoff import running_id
from orienter_tasks.errors import OrienterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig

CHUNK = 65536
HEADER = 8  # of each frame of an output without a terminal: the stream, three zeros, the length


def run_attached(
    engine: Engine, config: InstanceConfig, component: str, command: Sequence[str], environment: Mapping[str, str]
) -> int | None:
    """Run a command in a component's container until it ends; return its exit code, or None if that does not run."""
    container = running_id(engine, config, component)
    if container is None:
        return None
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with engine.talking(f"run {command[0]} in {component}"), ExitStack() as opened:
        started = engine.api.exec_create(
            container, list(command), stdin=True, tty=terminal, environment=dict(environment)
        )["Id"]
        stream = engine.api.exec_start(started, tty=terminal, socket=True)
        opened.callback(stream.close)
        connection: Any = getattr(stream, "_sock", stream)
        connection.settimeout(None)  # people think for longer than a request may take
        if terminal:
            opened.enter_context(_raw_terminal(engine, started))
        threading.Thread(target=_send_input, args=(connection,), daemon=True).start()
        _print_output(connection, terminal=terminal)
        return int(engine.api.exec_inspect(started)["ExitCode"])


def _send_input(connection: Any) -> None:
    with suppress(OSError):
        while data := os.read(0, CHUNK):
            connection.sendall(data)
    with suppress(OSError):
        connection.shutdown(1)  # SHUT_WR: the end of the input


def _print_output(connection: Any, *, terminal: bool) -> None:
    waiting = b""
    while data := connection.recv(CHUNK):
        if terminal:
            _write(1, data)
            continue
        waiting += data
        while len(waiting) >= HEADER and len(waiting) >= (end := HEADER + int.from_bytes(waiting[4:HEADER], "big")):
            _write(waiting[0], waiting[HEADER:end])
            waiting = waiting[end:]


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _raw_terminal(engine: Engine, started: str) -> Iterator[None]:
    """Hand every key to the program, Ctrl-C too, and tell it how large the terminal is."""

    def resize(*_: object) -> None:
        columns, rows = shutil.get_terminal_size()
        with suppress(OrienterError), engine.talking("resize a terminal"):
            engine.api.exec_resize(started, height=rows, width=columns)

    before, former = termios.tcgetattr(0), signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(0)
        resize()
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, former)
