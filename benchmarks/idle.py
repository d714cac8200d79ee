"""What an instance costs that nobody looks at."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.measure import Line, pss_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

SECONDS = 15.0
CPU_LIMIT, MEMORY_LIMIT = 0.005, 40  # of a core; MB
READY = "following the logs"


def measure(host: BenchHost) -> Iterator[Line]:
    """Look for processes of ours beside a detached instance; weigh an idle foreground run."""
    before = set(psutil.pids())
    host.main.inv("dev", "--detach")
    ours = [process for process in _new(before) if _is_ours(process, host)]
    words = ", ".join(" ".join(process.cmdline()[:3]) for process in ours)
    yield Line("processes of ours beside a detached one", "none", str(len(ours) or "none"), not ours, words)
    host.main.inv("dev.stop")
    yield from _foreground(host)


def _new(before: set[int]) -> Iterator[psutil.Process]:
    for pid in set(psutil.pids()) - before:
        try:
            yield psutil.Process(pid)
        except psutil.Error:
            continue


def _is_ours(process: psutil.Process, host: BenchHost) -> bool:
    """Whether it is an `inv` of this host's or runs this package's code: components are programs of others."""
    try:
        words, state = process.cmdline(), process.environ().get("ORIENTER_STATE_DIR")
    except psutil.Error:
        return False
    if state != host.environ["ORIENTER_STATE_DIR"]:
        return False
    return any(os.path.basename(word) in ("inv", "invoke") or "orienter_tasks" in word for word in words[:4])  # noqa: PTH119


def _foreground(host: BenchHost) -> Iterator[Line]:
    command = [host.inv, "dev"]
    with subprocess.Popen(
        command,
        cwd=host.main.path,
        env=host.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr or ():
                if READY in line:
                    break
            time.sleep(3.0)  # until it has read the first lines of all logs
            seen = psutil.Process(process.pid)
            first, begun = sum(seen.cpu_times()[:2]), time.monotonic()
            time.sleep(SECONDS)
            share = (sum(seen.cpu_times()[:2]) - first) / (time.monotonic() - begun)
            size = pss_of(seen)
        finally:
            process.terminate()
            process.communicate()
    yield Line("an idle foreground run: CPU", f"< {CPU_LIMIT:.1%}", f"{share:.2%}", share < CPU_LIMIT, "of one core")
    yield Line("an idle foreground run: memory", f"< {MEMORY_LIMIT} MB", f"{size:.0f} MB", size < MEMORY_LIMIT, "PSS")
