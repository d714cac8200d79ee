"""What to start, and how."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        component: the component's name.
        command: argv.
        cwd: the directory to start it in.
        env: its whole environment.
        log: its log file; the previous run's is kept as `.1`.
        stop_signal: the signal that ends it gracefully.
        group: whether that signal goes to the whole group or to the leader alone.
        stdout: a subprocess constant where its standard output is not to go into the log.
        needs: the components that it needs.
        port: the port that it is to listen on; 0 where it has none, or proves by itself that it let go of it.
        kept: start it under a keeper, so that its exit code is known to later runs, too.
    """

    component: str
    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    stop_signal: int = signal.SIGTERM
    group: bool = True
    stdout: int | None = None
    needs: Sequence[str] = ()
    port: int = 0
    kept: bool = False
