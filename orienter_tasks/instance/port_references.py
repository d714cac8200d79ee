"""Ports that the values of `.env` name: those of another instance are found, and corrected in a new file. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orienter_tasks.instance.model import port_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.settings.model import Settings

DEFAULTS = {"http": 80, "postgres": 5432, "postgresql": 5432}
"""Ports that a URL need not name."""

_ADDRESS = (
    r"(?i)(?:(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/?#\s]*@)?|(?<![\w.:/-]))"
    r"(?P<named>(?:[a-z0-9-]+\.)+(?=localhost))?(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?![\w.-])(?::(?P<port>\d{1,5})(?!\d))?"
)


class PortReference(Struct, frozen=True):
    """A port within a value: where it stands (or would stand, where it is the scheme's default).

    `correctable`: the value is the port alone, or it stands in a URL whose host is loopback and no instance's own name.
    """

    port: int
    start: int
    end: int
    correctable: bool


class ForeignPort(Struct, frozen=True):
    """A variable of `.env` that names a port of another instance; `own` is this instance's port of the same name."""

    variable: str
    port: int
    own: int
    owner: int

    def __str__(self) -> str:
        return f"{self.variable} names port {self.port} of instance {self.owner}; this instance's is {self.own}"


def references(variable: str, value: str) -> Iterator[PortReference]:
    """Return the ports of this machine that a value names."""
    if variable.upper().endswith("PORT") and value.isascii() and value.isdigit():
        yield PortReference(int(value), 0, len(value), correctable=True)
        return
    for found in re.finditer(_ADDRESS, value):
        scheme = (found["scheme"] or "").lower()
        if found["port"]:
            correctable = bool(scheme) and not found["named"]
            yield PortReference(int(found["port"]), *found.span("port"), correctable=correctable)
        elif scheme in DEFAULTS:
            yield PortReference(DEFAULTS[scheme], found.end(), found.end(), correctable=not found["named"])


def corrected(variable: str, value: str, ports: Mapping[int, int]) -> str:
    """Return a value with those of its ports replaced that are in `ports`."""
    for each in reversed(list(references(variable, value))):
        if each.correctable and each.port in ports:
            colon = ":" if each.start == each.end else ""
            value = f"{value[: each.start]}{colon}{ports[each.port]}{value[each.end :]}"
    return value


def foreign_ports(
    dotenv: Mapping[str, str], variables: Variables, instance: Instance, settings: Settings
) -> list[ForeignPort]:
    """Return where values of `.env` that count name a port that another id has by the settings' plan."""
    plan = {
        port: (number, name)
        for number in reversed(range(settings.instances.max + 1))
        if number != instance.id
        for name, port in port_plan(settings, number).items()
    }
    own = set(instance.ports.values())
    return [
        ForeignPort(variable, port, instance.ports[plan[port][1]], plan[port][0])
        for variable, value in dotenv.items()
        if variables.origins.get(variable) == ".env"
        for port in dict.fromkeys(each.port for each in references(variable, value))
        if port in plan and port not in own and plan[port][1] in instance.ports
    ]
