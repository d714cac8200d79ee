"""The standard streams: closed ones are opened, and stdout takes any character."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def prepare() -> None:
    """Open streams that are closed on /dev/null; what stdout's encoding does not have becomes a question mark."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            silence(number)  # else the next file that is opened gets its number
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def silence(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
