"""OpenSSH: a host's key is always checked, and a forward that cannot be made ends it."""

from __future__ import annotations

import subprocess
import tempfile
from itertools import chain
from typing import IO, TYPE_CHECKING

from orienter_tasks.machine.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OPTIONS = {
    "ControlMaster": "no",  # else another process would keep the forwards
    "ControlPath": "none",
    "ExitOnForwardFailure": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "3",
    "StreamLocalBindUnlink": "yes",
}
WAIT = "exec cat >/dev/null"
"""What runs there: it ends when nobody holds its input here any more, and then ssh does, also after a SIGKILL."""
END_SECONDS = 3.0
NO_LINK = 255
"""The exit code when ssh cannot connect, or has lost its connection."""


def command_line(
    host: str, command: str = "", *, forwards: Iterable[str] = (), may_ask: bool = False, connect_seconds: int = 10
) -> list[str]:
    """Return the words that run a command there, or only forward; nothing is asked unless somebody can answer."""
    options = {
        **OPTIONS,
        "ConnectTimeout": str(connect_seconds),
        "BatchMode": "no" if may_ask else "yes",
        "StrictHostKeyChecking": "ask" if may_ask else "yes",
    }
    settings = chain.from_iterable(("-o", f"{name}={value}") for name, value in options.items())
    only_forward = () if command else ("-N",)
    words = (*settings, *chain.from_iterable(("-L", each) for each in forwards), *only_forward, "--", host)
    return ["ssh", *words, *((command,) if command else ())]


class Link:
    """One ssh, which ends with this process at the latest; after its end it may begin again.

    Args:
        words: its command line, with WAIT.
        directory: where it runs.
        own_session: whether Ctrl-C does not reach it.
    """

    def __init__(self, words: Sequence[str], *, directory: Path | None = None, own_session: bool = False) -> None:
        self._words, self._directory, self._own_session = words, directory, own_session
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it; FileNotFoundError where OpenSSH is not installed."""
        self._said.truncate(0)
        with deferred():
            self._process = subprocess.Popen(
                self._words,
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=self._own_session,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def last_words(self) -> str:
        """The last line of what it has said."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "ssh has ended"

    def end(self) -> None:
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._said.close()
