"""`inv` without its imports, which take longer than most of its tasks: the real program, forked when they are done."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests import programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USUAL = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "LC_ALL": "C.UTF-8"}
READ_AT_START = ("PYTHON", "LC_", "LD_")
HANDED_ON = "PYTHONDONTWRITEBYTECODE"


def suits(environ: Mapping[str, str]) -> bool:
    """Whether a new interpreter would start in this environment as the warm one did."""

    def own(of: Mapping[str, str]) -> dict[str, str]:
        return {name: of[name] for name in of if name.startswith(READ_AT_START) and name != HANDED_ON}

    return own(environ) == own({**os.environ, **USUAL})


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], seconds: float) -> tuple[int, str, str]:
    """Run `inv` to its end, and until nobody has its streams any more; return exit code, stdout and stderr.

    Raises:
        subprocess.TimeoutExpired: that took too long; it was killed.
    """
    request = json.dumps({"argv": argv, "cwd": str(cwd), "env": dict(environ)}).encode()
    with ExitStack() as stack:
        answer, theirs = socket.socketpair()
        stack.enter_context(answer).settimeout(seconds)
        streams = [os.pipe() for _ in range(2)]
        files = [stack.enter_context(os.fdopen(ours)) for ours, _ in streams]
        given = [*(its for _, its in streams), theirs.fileno()]
        socket.send_fds(_helper(), [request], given)
        theirs.close()
        for descriptor in given[:-1]:
            os.close(descriptor)
        said = ["", ""]

        def read(number: int) -> None:
            said[number] = files[number].read()

        readers = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(2)]
        for reader in readers:
            reader.start()
        lines = stack.enter_context(answer.makefile())
        pid = int(lines.readline())
        try:
            code = int(lines.readline())
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(argv), seconds) from None
        for reader in readers:
            reader.join(seconds)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(list(argv), seconds)
        return code, said[0], said[1]


@functools.cache
def _helper() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(programs.command("warm_inv"), stdin=theirs.fileno(), env={**os.environ, **USUAL})

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours
