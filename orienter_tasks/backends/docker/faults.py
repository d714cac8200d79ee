"""Why a container ended, in words: from its state and the last lines of its log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import CheckError, OrienterError
from orienter_tasks.instance.variables import MASK
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig

INCOMPATIBLE = "database files are incompatible with server"
MAJOR = re.compile(r"initialized by PostgreSQL version (\d+)")
IN_USE = re.compile(r"bind\(\) to \S+:(\d+) failed .*in use")
PORT_TAKEN = re.compile(r"already allocated|already in use|ports are not available", re.IGNORECASE)
PORT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)")


def ended(config: InstanceConfig, component: str, state: Mapping[str, Any], log: Sequence[str]) -> OrienterError:
    """Explain a container that does not run although it was started.

    Args:
        config: whose.
        component: which.
        state: its state as the engine tells it.
        log: the last lines of its log.
    """
    text = "\n".join(log)
    name = config.instance.container(component)
    shown = redacted(config, log)
    if INCOMPATIBLE in text:
        return _other_major(config, text, shown)
    why = state.get("Error") or ("it ran out of memory" if state.get("OOMKilled") else "")
    return CheckError(
        f"{component} of {config.instance} ended: container {name} is {state.get('Status', 'gone')} "
        f"with exit code {state.get('ExitCode')}{f', {why}' if why else ''}",
        hint="its last lines are below" if shown else f"see: docker inspect {name}",
        details=shown,
    )


def port_taken(error: OrienterError, spec: ContainerSpec) -> int | None:
    """Return the port when a start failed because it is taken."""
    if not PORT_TAKEN.search(str(error)):
        return None
    own = [port.host for port in spec.ports]
    named = [int(number) for number in PORT.findall(str(error)) if int(number) in own]
    return next(iter(named or own), None)


def held_by_engine(error: OrienterError) -> bool:
    """Say whether it is the engine's own book of ports that refused one, and not the system."""
    return "already allocated" in str(error)


def port_refused(log: Sequence[str]) -> int | None:
    """Return the port that a server on the machine's own network says it cannot have."""
    found = IN_USE.search("\n".join(log))
    return int(found[1]) if found else None


def redacted(config: InstanceConfig, log: Sequence[str]) -> list[str]:
    """Hide the instance's passwords in the lines of a log; what equals the user's name is none worth hiding."""
    shown = list(log)
    secrets = catalog.secrets()
    users = [config.variables[name] for name in catalog.inputs() if name not in secrets]
    for password in (config.variables[name] for name in secrets):
        if password and password not in users:
            shown = [line.replace(password, MASK) for line in shown]
    return shown


def _other_major(config: InstanceConfig, text: str, shown: Sequence[str]) -> OrienterError:
    major = MAJOR.search(text)
    volume = config.instance.volume("postgres")
    made = f"PostgreSQL {major[1]}" if major else "another PostgreSQL"
    return CheckError(
        f"postgres of {config.instance}: volume {volume} was made by {made}, "
        f"which {config.settings.docker.postgres} cannot read",
        hint=f"set orienter.docker.postgres to {f'a postgres:{major[1]} image' if major else 'the former image'}, "
        "or begin anew with: inv infra.down --volumes",
        details=shown,
    )
