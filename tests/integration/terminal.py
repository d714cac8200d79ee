"""An `inv` on a terminal: what it draws is read, lines are typed, and it is killed where a test fails."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.integration.checkouts import INV

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout

PATIENCE = 60.0


class Terminal:
    """Runs `inv` with these words; `seen` is all that it has drawn."""

    def __init__(self, checkout: Checkout, *words: str, columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = ""
        self._process = subprocess.Popen(
            [str(INV), *words],
            cwd=checkout.path,
            env={**checkout.environ, "TERM": "xterm", "COLUMNS": str(columns)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def until(self, text: str, times: int = 1) -> None:
        """Read until it has drawn this so many times from now on."""
        begun, deadline = len(self.seen), time.monotonic() + PATIENCE
        while self.seen.count(text, begun) < times:
            assert time.monotonic() < deadline, self.seen
            assert self._read() or self._process.poll() is None, self.seen

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def press_ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Read to its end, since a terminal that nobody reads from fills up; return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read() or self._process.poll() is None:
            assert time.monotonic() < deadline, self.seen
        return self._process.returncode

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 0.1)[0]:
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # its program has ended
            return False
        self.seen += read.decode(errors="replace")
        return bool(read)
