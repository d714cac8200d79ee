"""Kills an `inv` with SIGKILL just before one of its state changes; Python imports this by itself at its start.

The package knows nothing of it: Python's audit events (PEP 578) come before every file that is written, renamed or
removed, every process that is started or signalled, every lock and every request to a server.

    FAULT_TRACE=FILE    write the name of every state change into a file
    FAULT_POINT=N:NAME  die before the Nth state change of that name
"""

import os
import re
import signal
import sys
from typing import Any

TRACE = os.environ.pop("FAULT_TRACE", "")
POINT = os.environ.pop("FAULT_POINT", "")
PATHS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.symlink", "os.link"}
OTHERS = {"fcntl.flock", "os.kill", "socket.connect"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
VARYING = re.compile(r"[0-9a-f]{12,}|\d+")


def name_of(event: str, args: tuple[Any, ...]) -> str:
    """Name a state change, alike in every run; "" for what changes nothing."""
    if event == "open":
        path, _, flags = args
        return f"write {short(path)}" if isinstance(flags, int) and flags & WRITING and path != os.devnull else ""
    if event in PATHS:
        return f"{event[3:]} {short(args[1] if event == 'os.rename' else args[0])}"
    if event == "subprocess.Popen":
        words = [str(word).rpartition("/")[2] for word in args[1]]
        known = [word for word in words if word in ("initdb", "postgres", "nginx", "rclone", "stand_in.py")]
        return f"start {known[0] if known else words[0]}{' check' if '-t' in words else ''}"
    if event == "http.client.send":
        line = bytes(args[1]).split(b"\r\n", 1)[0].decode("ascii", "replace").partition("?")[0]
        return f"send {VARYING.sub('#', line)}" if re.match("[A-Z]+ /", line) else ""
    return event if event in OTHERS else ""


def short(path: object) -> str:
    parts = os.fsdecode(path).split("/") if isinstance(path, (str, bytes, os.PathLike)) else ["descriptor"]
    return VARYING.sub("#", "/".join(parts[-2:]))


def watch() -> None:
    """Note every state change, and die at the one that was asked for."""
    number, _, wanted = POINT.partition(":")
    left = [int(number or 0)]
    trace = os.open(TRACE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if TRACE else None

    def hook(event: str, args: tuple[Any, ...]) -> None:
        name = name_of(event, args)
        if not name:
            return
        if trace is not None:
            os.write(trace, name.encode() + b"\n")
        if name == wanted:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if (TRACE or POINT) and next(iter(sys.orig_argv[1:]), "").endswith("/inv"):
    watch()
