"""`inv test.env`: ports, names and variables, computed and compared for every id."""

from __future__ import annotations

import os
import re
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING

from orienter_tasks.commands.env import foreign_ports_of
from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.identity.claims import ReadOnlyClaims
from orienter_tasks.infra.all import component
from orienter_tasks.instance.export import render
from orienter_tasks.instance.model import port_plan
from orienter_tasks.instance.variables import expand, expand_all, masked
from orienter_tasks.output.checks import Check, prove
from orienter_tasks.services.service import commands
from orienter_tasks.settings import catalog
from orienter_tasks.settings.rules import check_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.selftest.host import HostConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext

_DOCKER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # Docker's rule for names
SHELL_MAY_SET = ("WHATSAPP_ENABLED", "NODE_ENV")
"""What a shell may pass on to another instance: an explicit choice of the user."""


def checks(host: HostConfig) -> Iterator[Check]:
    """Check ports, names and variables."""
    proofs: dict[str, Callable[[HostConfig], str]] = {
        "no two ports meet": ports_never_meet,
        "no two names meet": names_never_meet,
        "names are accepted": names_are_accepted,
        "computed twice: the same": same_twice,
        "of another shell: the same": same_in_another_shell,
        "exported and read: the same": same_when_read,
        "commands know their variables": commands_are_known,
    }
    return (prove(topic, partial(proof, host)) for topic, proof in proofs.items())


def ports_never_meet(host: HostConfig) -> str:
    """Require valid ports that are all different."""
    check_ports(host.settings.ports, host.settings.instances.max)
    ports = [port for number in host.ids for port in port_plan(host.settings, number).values()]
    return f"{len(ports)} ports of {len(host.ids)} ids, {min(ports)} to {max(ports)}"


def names_never_meet(host: HostConfig) -> str:
    """Require that no two ids have a name in common."""
    owners: dict[str, int] = {}
    for number in host.ids:
        for name in _names(host.instance(number)):
            other = owners.setdefault(name, number)
            if other != number:
                raise CheckError(f"{name} is instance {other}'s and instance {number}'s")
    return f"{len(owners)} names of {len(host.ids)} ids, such as {next(iter(owners))}"


def names_are_accepted(host: HostConfig) -> str:
    """Require names that the components and Docker accept."""
    last: list[str] = []
    for number in host.ids:
        config = host.instance(number)
        last = _numbered(config)
        for name in config.instance.infra:
            component(name).require_valid(config.variables)
        for name in _docker_names(config.instance):
            if not _DOCKER.fullmatch(name):
                raise CheckError(f"Docker does not take the name {name}", hint="change orienter.project")
    return ", ".join(last)


def same_twice(host: HostConfig) -> str:
    """Require the same variables in a shell that has them already."""
    for number in host.ids:
        once = host.instance(number).variables.values
        again = host.instance(number, environ=once).variables.values
        _require_same(once, again, number, "in a shell to which they were exported")
    return f"{len(once)} variables of {len(host.ids)} ids"


def same_in_another_shell(host: HostConfig) -> str:
    """Require the same derived variables in a shell that has another instance's."""
    for number in host.ids:
        once = host.instance(number).variables
        derived = {name for name, origin in once.origins.items() if origin == "derived"} - {*SHELL_MAY_SET}
        foreign = host.instance(host.ids[number - 1]).variables.values
        shell = {name: value for name, value in foreign.items() if name not in SHELL_MAY_SET}
        again = host.instance(number, environ=shell).variables
        mine, theirs = ({name: found.values[name] for name in derived} for found in (once, again))
        _require_same(mine, theirs, number, "in another instance's shell")
    return f"{len(derived)} variables follow from the id alone"


def same_when_read(host: HostConfig) -> str:
    """Require that the output of `env.export --format dotenv` reads back as the same variables."""
    from dotenv import dotenv_values

    for number in host.ids:
        once = host.instance(number).variables.values
        read = dotenv_values(stream=StringIO(render(once, "dotenv") + "\n"), interpolate=False)
        _require_same(once, {name: value or "" for name, value in read.items()}, number, "read back")
    return f"as a .env file, for {len(host.ids)} ids"


def commands_are_known(host: HostConfig) -> str:
    """Require a value for every `${NAME}` in services and hooks."""
    words, late = 0, dict[str, None]()
    for number in host.ids:
        values = host.instance(number).variables.over(os.environ)
        for where, command, cwd, env, exporters in commands(host.settings, values):
            try:
                own = {**values, **{key: expand(value, values, f"{where}.env.{key}") for key, value in env.items()}}
                words += len(expand_all([*command, cwd], own, where))
            except ConfigError as error:
                late |= dict.fromkeys(exporters)
                if not exporters:
                    hint = "set it in .env or in that entry's env"
                    raise CheckError(f"{error} in instance {number}", hint=hint) from error
    known = f"; what else they need {', '.join(late)} must export" if late else ""
    return f"{words} words of {len(host.settings.services)} services and {len(host.settings.all_hooks)} hooks{known}"


def ports_of_dotenv(ctx: RunContext) -> Check:
    """Name values of this checkout's `.env` with a port of another instance."""
    about = ctx.fresh_copy()
    about.claims = ReadOnlyClaims()
    topic, found = "ports in .env", foreign_ports_of(about)
    if found:
        return Check(topic, "warning", "; ".join(map(str, found)), "correct them in .env, unless they are meant")
    return Check(topic, "ok", "none of another instance")


def _names(config: InstanceConfig) -> list[str]:
    instance = config.instance
    directories = map(str, (instance.data_dir, instance.log_dir, instance.pid_dir))
    return [*_docker_names(instance), *_numbered(config), *directories]


def _numbered(config: InstanceConfig) -> list[str]:
    return [config.variables[name] for name in catalog.numbered() if name in config.variables.values]


def _docker_names(instance: Instance) -> list[str]:
    return [
        *(instance.container(name) for name in instance.infra),
        *(instance.volume(name) for name in catalog.with_data() if name in instance.infra),
        instance.network,
        instance.compose_project,
    ]


def _require_same(once: Mapping[str, str], again: Mapping[str, str], number: int, where: str) -> None:
    for name in {**once, **again}:
        if once.get(name) != again.get(name):
            first, second = (masked(name, values.get(name, "nothing")) for values in (once, again))
            raise CheckError(f"{name} of instance {number} is {first}, and {second} {where}", hint="see: inv env.show")
