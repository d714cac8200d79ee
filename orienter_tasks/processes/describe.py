"""Name a process for people."""

from __future__ import annotations

import os

from orienter_tasks.instance.variables import masked
from orienter_tasks.processes.shim import unwrap_argv


def describe(pid: int) -> str:
    """Name a process for people: pid, command and directory, without its secrets (only the first words of argv)."""
    import psutil

    try:
        process = psutil.Process(pid)
        words = unwrap_argv(process.cmdline())[:3] or [process.name()]
        command = masked("", " ".join([os.path.basename(words[0]), *words[1:]]))  # noqa: PTH119 - not a path of ours
        command = " ".join(command.split())[:60]
    except psutil.Error:
        return f"pid {pid}"
    try:
        return f"pid {pid} ({command}, in {process.cwd()})"
    except psutil.Error:
        return f"pid {pid} ({command})"
