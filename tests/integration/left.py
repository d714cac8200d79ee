"""Look for what a test, or the tool, may have left behind."""

from __future__ import annotations

import atexit
import functools
import json
import os
from typing import TYPE_CHECKING

import psutil

from orienter_tasks.machine import ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.api import APIClient

    from tests.integration.checkouts import Checkout

ROOT_LABEL = "io.orienter.root"


def is_of(root: str | None, checkout: Checkout) -> bool:
    """Whether a root is a checkout's, or that of a throwaway instance in it."""
    return root is not None and (root == str(checkout.path) or root.startswith(f"{checkout.path}/.dev-data/"))


def processes_of(checkout: Checkout) -> list[str]:
    """Return the processes that were started for a checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if is_of(process.environ().get("AI_INSTANCE_ROOT"), checkout):
                found.append(f"{process.pid} {process.cmdline()[:3]}")
        except psutil.Error:
            continue
    return found


@functools.cache
def engine(host: str) -> APIClient:
    """Return a client of the engine at DOCKER_HOST: a question costs a tenth of what docker's command takes."""
    import docker

    client = docker.from_env()
    atexit.register(client.close)
    return client.api


def docker_of(checkout: Checkout, *kinds: str) -> list[str]:
    """Return the Docker resources of the given kinds that are labelled with a checkout."""
    api = engine(os.environ.get("DOCKER_HOST", ""))
    label = {"label": ROOT_LABEL}
    found: list[tuple[str, str, dict[str, str]]] = []
    for kind in kinds:
        if kind == "container":
            found += [(kind, one["Id"][:12], one["Labels"]) for one in api.containers(all=True, filters=label)]
        elif kind == "network":
            found += [(kind, one["Id"][:12], one["Labels"]) for one in api.networks(filters=label)]
        else:
            found += [(kind, one["Name"], one["Labels"]) for one in api.volumes(filters=label)["Volumes"] or ()]
    return [f"{kind} {name}" for kind, name, labels in found if is_of(labels[ROOT_LABEL], checkout)]


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
