"""Look for what a test, or the tool, may have left behind."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import psutil

from orienter_tasks.machine import ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.checkouts import Checkout


def processes_of(checkout: Checkout) -> list[str]:
    """Return the processes that were started for a checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AI_INSTANCE_ROOT") == str(checkout.path):
                found.append(f"{process.pid} {process.cmdline()[:3]}")
        except psutil.Error:
            continue
    return found


def docker_of(checkout: Checkout, *kinds: str) -> list[str]:
    """Return the Docker resources of the given kinds that are labelled with a checkout."""
    label = f"label=io.orienter.root={checkout.path}"
    commands = {
        "container": ["docker", "ps", "-aq", "--filter", label],
        "network": ["docker", "network", "ls", "-q", "--filter", label],
        "volume": ["docker", "volume", "ls", "-q", "--filter", label],
    }
    return [
        f"{kind} {name}"
        for kind in kinds
        for name in subprocess.run(commands[kind], capture_output=True, text=True, check=True).stdout.split()
    ]


def nothing_left(checkouts: Sequence[Checkout]) -> None:
    """Require that no process, container, network or listener of the checkouts is left; data may be."""
    left = []
    for checkout in checkouts:
        left += processes_of(checkout)
        if checkout.environ.get("ORIENTER_BACKEND") == "docker":
            left += docker_of(checkout, "container", "network")
        plan = {name: int(value) for name, value in checkout.variables.items() if name.endswith("_PORT")}
        left += [f"{name} {port}" for name, port in plan.items() if not ports.is_free(port)]
    assert not left, json.dumps(left, indent=2)
