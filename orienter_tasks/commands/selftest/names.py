"""`inv test.env`: ports, names and variables, proved for every id by writing them all down."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.s3 import is_name
from orienter_tasks.commands.selftest.outcome import Outcome, Premises, prove
from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.instance.export import render
from orienter_tasks.instance.model import make_instance
from orienter_tasks.instance.variables import derive, expand, expand_all, masked
from orienter_tasks.services.service import why_skipped
from orienter_tasks.settings import catalog
from orienter_tasks.settings.model import HIGHEST_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.instance.variables import Variables

ROOT = Path("/checkout")  # stands for any: nothing is read or written there
LONGEST_DATABASE = 63  # bytes, PostgreSQL's NAMEDATALEN - 1
_DOCKER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # the engine's rule for names
SHELL_MAY_SET = ("WHATSAPP_ENABLED", "NODE_ENV")
"""What an exported shell may hand on to another instance: whoever exports it, means it."""


def checks(premises: Premises) -> Iterator[Outcome]:
    """Prove everything about the variables."""
    proofs: dict[str, Callable[[Premises], str]] = {
        "no two ports meet": ports_never_meet,
        "no two names meet": names_never_meet,
        "names are accepted": names_are_accepted,
        "computed twice: the same": same_twice,
        "of another shell: the same": same_in_another_shell,
        "exported and read: the same": same_when_read,
        "commands know their variables": commands_are_known,
    }
    for check, proof in proofs.items():
        yield prove(check, lambda proof=proof: proof(premises))  # type: ignore[misc]


def ports_never_meet(premises: Premises) -> str:
    """Require that each port of each id is a port, and nobody else's."""
    taken: dict[int, str] = {}
    for number in premises.ids:
        for name, port in _instance(premises, number).ports.items():
            owner = f"{name} of {number}"
            if not 0 < port <= HIGHEST_PORT:
                raise CheckError(f"{owner} would be {port}", hint="change orienter.ports or orienter.instances.max")
            if port in taken:
                raise CheckError(f"{port} is {taken[port]} and {owner}", hint=f"change orienter.ports.{name}")
            taken[port] = owner
    return f"{len(taken)} ports of {len(premises.ids)} ids, {min(taken)} to {max(taken)}"


def names_never_meet(premises: Premises) -> str:
    """Require that no name of one id is another's."""
    taken: dict[str, int] = {}
    for number in premises.ids:
        for name in _names(premises, number):
            other = taken.setdefault(name, number)
            if other != number:
                raise CheckError(f"{name} is instance {other}'s and instance {number}'s")
    return f"{len(taken)} names of {len(premises.ids)} ids, such as {next(iter(taken))}"


def names_are_accepted(premises: Premises) -> str:
    """Require that PostgreSQL, S3 and Docker take the names of every id."""
    for number in premises.ids:
        variables = _derive(premises, number)
        database, bucket = variables["POSTGRES_DB"], variables["S3_BUCKET"]
        if len(database.encode()) > LONGEST_DATABASE:
            raise CheckError(f"PostgreSQL would cut {database} short", hint="shorten POSTGRES_DB in .env")
        if not is_name(bucket):
            raise CheckError(f"{bucket} is no bucket name", hint="change S3_BUCKET in .env")
        for name in _docker_names(_instance(premises, number)):
            if not _DOCKER.fullmatch(name):
                raise CheckError(f"Docker does not take the name {name}", hint="change orienter.project")
    variables = _derive(premises, premises.ids[-1])
    return f"{variables['POSTGRES_DB']}, {variables['S3_BUCKET']}"


def same_twice(premises: Premises) -> str:
    """Require the same variables in a shell to which they were exported before."""
    for number in premises.ids:
        once = _derive(premises, number)
        again = _derive(premises, number, environ=once.values)
        _require_same(once.values, again.values, number, "in a shell to which they were exported")
    return f"{len(once.values)} variables of {len(premises.ids)} ids"


def same_in_another_shell(premises: Premises) -> str:
    """Require the same variables in a shell to which another instance's were exported."""
    derived: set[str] = set()
    for number in premises.ids:
        once = _derive(premises, number)
        derived = {name for name, origin in once.origins.items() if origin == "derived"} - set(SHELL_MAY_SET)
        foreign = _derive(premises, premises.ids[number - 1])
        shell = {name: value for name, value in foreign.values.items() if name not in SHELL_MAY_SET}
        again = _derive(premises, number, environ=shell)
        same = [{name: them.values[name] for name in derived} for them in (once, again)]
        _require_same(same[0], same[1], number, "in another instance's shell")
    return f"{len(derived)} variables follow from the id alone"


def same_when_read(premises: Premises) -> str:
    """Require that `env.export --format dotenv` can be read back, and computed from."""
    from dotenv import dotenv_values

    for number in premises.ids:
        once = _derive(premises, number)
        read = dotenv_values(stream=StringIO(render(once.values, "dotenv") + "\n"), interpolate=False)
        _require_same(once.values, {name: value or "" for name, value in read.items()}, number, "read back")
    return f"as a .env file, for {len(premises.ids)} ids"


def commands_are_known(premises: Premises) -> str:
    """Require that every `${NAME}` of services and hooks is known, for every id."""
    hooks = premises.settings.hooks.before_services
    late = [hook.name for hook in hooks if hook.exports]
    words = 0
    for number in premises.ids:
        values = _derive(premises, number).values
        for where, command, cwd, env in _commands(premises, values):
            try:
                own = {**values, **{key: expand(value, values, f"{where}.env.{key}") for key, value in env.items()}}
                words += len(expand_all([*command, cwd], own, where))
            except ConfigError as error:
                if not late:
                    raise CheckError(
                        f"{error} in instance {number}", hint="set it in .env or in that entry's env"
                    ) from error
    known = f"; what else they need {', '.join(late)} must export" if late else ""
    return f"{words} words of {len(premises.settings.services)} services and {len(hooks)} hooks{known}"


def _instance(premises: Premises, number: int) -> Instance:
    return make_instance(premises.settings, number, ROOT)


def _derive(premises: Premises, number: int, environ: Mapping[str, str] | None = None) -> Variables:
    return derive(_instance(premises, number), premises.settings, premises.dotenv, environ or {})


def _names(premises: Premises, number: int) -> list[str]:
    instance, variables = _instance(premises, number), _derive(premises, number)
    directories = (instance.data_dir, instance.log_dir, instance.pid_dir)
    return [
        *_docker_names(instance),
        variables["POSTGRES_DB"],
        variables["S3_BUCKET"],
        *(str(directory.relative_to(ROOT)) for directory in directories),
    ]


def _docker_names(instance: Instance) -> list[str]:
    return [
        *(instance.container(component) for component in catalog.names()),
        *(instance.volume(component) for component in catalog.with_data()),
        instance.network,
        instance.compose_project,
    ]


def _require_same(once: Mapping[str, str], again: Mapping[str, str], number: int, where: str) -> None:
    different = [name for name in {**once, **again} if once.get(name) != again.get(name)]
    if different:
        name = different[0]
        seen = [masked(name, values.get(name, "nothing")) for values in (once, again)]
        raise CheckError(f"{name} of instance {number} is {seen[0]}, and {seen[1]} {where}", hint="see: inv env.show")


def _commands(
    premises: Premises, values: Mapping[str, str]
) -> Iterator[tuple[str, Sequence[str], str, Mapping[str, str]]]:
    for name, service in premises.settings.services.items():
        if not why_skipped(service, values):
            yield f"orienter.services.{name}", service.command, service.cwd, service.env
    for hook in premises.settings.hooks.before_services:
        yield f"hook {hook.name}", hook.command, hook.cwd, hook.env
