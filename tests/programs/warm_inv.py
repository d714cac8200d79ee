"""Run `inv` again and again, each time in a fork of this process, which has imported what `inv` may import.

Each message on descriptor 0 is a request: argv, directory and environment, with stdout, stderr and a socket for the
pid and the exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from typing import Any

import invoke.main

import orienter_tasks

LIBRARIES = ("docker", "jinja2", "minio", "pg8000.native", "rich.console", "rich.live", "rich.table", "xml.etree")
LARGEST = 1 << 18


def warm_up() -> None:
    for module in pkgutil.walk_packages(orienter_tasks.__path__, "orienter_tasks."):
        importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)


def become(request: dict[str, Any], out: int, err: int) -> None:
    """Give this process what a new one would have."""
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((null, out, err)):
        os.dup2(descriptor, number)
    os.closerange(3, 100)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.argv = request["argv"]


def serve(requests: socket.socket) -> None:
    """Answer requests until nobody can send any more; return in a fork that is to run `inv`."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for an `inv`
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            out, err, answer = descriptors
            pid = os.fork()
            if pid == 0:
                become(json.loads(message), out, err)
                return
            os.close(out)
            os.close(err)
            os.write(answer, f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            os.write(answer, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def run() -> None:
    """Run `inv`, and end without taking apart what was imported, which would take half of the time.

    Threads are waited for and exit functions called as ever.
    """
    try:
        invoke.main.program.run()
        codes.append(0)
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            codes.append(ending.code or 0)
        raise


codes: list[int] = []


@atexit.register  # and thus called after all others
def end_at_once() -> None:
    for code in codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(sys.executable)  # noqa: PTH120 - as for `inv`
    warm_up()
    gc.freeze()
    with socket.socket(fileno=0) as requests:
        serve(requests)
        requests.detach()
    run()
