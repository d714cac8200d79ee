"""This machine: Python, git, disk space, how it resolves the instance's host name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from ipaddress import ip_address
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.remedies import install
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.machine import worktree
from orienter_tasks.machine.state import state_dir
from orienter_tasks.output.checks import Check
from orienter_tasks.output.units import space
from orienter_tasks.services import last_start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Verdict

OLDEST_PYTHON = (3, 10)
ASK_SECONDS = 10.0
RESOLVE_SECONDS = 3.0
RESOLVE = "import socket, sys; print(*{found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80)})"
LOW = 5_000_000_000
NONE_LEFT = 1_000_000_000


def python(_: RunContext) -> Iterator[Check]:
    """Name the interpreter and the version of Invoke."""
    version = ".".join(map(str, sys.version_info[:3]))
    words = f"Python {version} ({sys.executable}), invoke {metadata.version('invoke')}"
    if sys.version_info < OLDEST_PYTHON:
        yield Check("python", "problem", f"{words}: it is too old", install("python3.12", "python@3.12"))
    else:
        yield Check("python", "ok", words)


def git(ctx: RunContext) -> Iterator[Check]:
    """Require git, and say what kind of checkout this is."""
    program = shutil.which("git")
    if program is None:
        yield Check("git", "problem", "git is not on PATH", install("git"))
        return
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Check("git", "problem", f"{program} cannot run: {error}", install("git"))
        return
    tree = worktree.read(ctx.root)
    if tree.git_dir is None:
        words = f"{ctx.root} is not a git checkout and counts as a main checkout"
        yield Check("git", "warning", words, "git worktree list")
        return
    kind = f"a linked worktree of {tree.main_root}" if tree.linked else "a main checkout"
    yield Check("git", "ok", f"{done.stdout.strip()}; {ctx.root} is {kind}")


def disk(ctx: RunContext) -> Iterator[Check]:
    """Require free space where data is written."""
    places: dict[int, tuple[str, Path]] = {}
    state = state_dir()
    existing = next(parent for parent in (state, *state.parents) if parent.exists())
    for name, path in (("the checkout", ctx.root), ("the state directory", existing)):
        places.setdefault(path.stat().st_dev, (name, path))
    for name, path in places.values():
        free = shutil.disk_usage(path).free
        verdict: Verdict = "problem" if free < NONE_LEFT else "warning" if free < LOW else "ok"
        remedy = "" if verdict == "ok" else "inv cleanup.weekly --dry-run"
        yield Check("disk", verdict, f"{space(free)} free for {name} ({path})", remedy)


def hostname(ctx: RunContext) -> Iterator[Check]:
    """Say who finds the instance by its host name: browsers and curl need nobody's help for `*.localhost`."""
    instance = ctx.current.instance
    name = instance.hostname
    if not name:
        return
    found, remedy = resolved(name), f"echo '127.0.0.1 {name}' | sudo tee -a /etc/hosts"
    elsewhere = [address for address in found if not ip_address(address.partition("%")[0]).is_loopback]
    spared = "services use 127.0.0.1 and are not affected"
    if elsewhere:
        words = f"{name} leads to {', '.join(elsewhere)} and not to this machine; {spared}"
        yield Check("hostname", "warning", words, remedy)
    elif found:
        yield Check("hostname", "ok", f"{name} leads to this machine")
    elif name.endswith(".localhost"):
        words = f"browsers and curl find {name}; programs that ask this system do not. {spared.capitalize()}"
        yield Check("hostname", "ok", words, remedy)
    else:
        yield Check("hostname", "warning", f"this system does not resolve {name}; {spared}", remedy)
    for claim in ctx.claims.read():
        other = of_claim(claim)
        if claim.token != instance.token and last_start.load(other).hostname == name:
            words = f"{name} is the host name of {other} of {claim.project} too, so that they share cookies"
            yield Check("hostname", "warning", f"{words}; orienter.nginx.hostname sets another", "inv instances")


def resolved(name: str) -> list[str]:
    """Return the addresses of a name; none where the system knows none, or takes too long to say."""
    command = [sys.executable, "-I", "-S", "-c", RESOLVE, name]  # a process, since a resolver cannot be interrupted
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RESOLVE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted(done.stdout.split())
