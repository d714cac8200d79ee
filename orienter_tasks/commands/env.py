"""Show, print and use the variables of this instance."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.names import pages
from orienter_tasks.errors import ConfigError, NotFoundError, OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.identity.ownership import held_by
from orienter_tasks.infra.all import search_path
from orienter_tasks.instance import used
from orienter_tasks.instance.model import port_plan
from orienter_tasks.instance.variables import masked, masked_unless_harmless
from orienter_tasks.lifecycle.config import instance_of
from orienter_tasks.machine import worktree
from orienter_tasks.output.tables import Column
from orienter_tasks.services import last_start
from orienter_tasks.settings import catalog, graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.port_references import ForeignPort
    from orienter_tasks.lifecycle.context import CurrentInstance, RunContext


OURS = ("derived", "settings")
"""Origins of values that the user has not written."""


def init(ctx: RunContext, *, complete: bool = True) -> None:
    """Make `.env` if there is none, else add what it lacks if `complete`; warn of other instances' ports in it."""
    from orienter_tasks.instance import dotenv

    tree, ports = worktree.read(ctx.root), partial(own_ports, ctx)
    new = dotenv.create(tree, ports, partial(passwords, ctx))
    if new is not None and settled_names(ctx):  # the former `.env` is gone, and with it the data's passwords
        volumes.mark_adopted(_look(ctx).claim)
    if new is None and complete:
        new = dotenv.complete(tree, ports, partial(settled_names, ctx))
    if new is not None:
        ctx.report.note(f".env: {new}")
    if new is not None or complete:
        warn_of_foreign_ports(ctx)


def warn_of_foreign_ports(ctx: RunContext) -> None:
    for found in foreign_ports_of(ctx):
        ctx.report.warn(f".env: {found}")


def passwords(ctx: RunContext) -> list[str]:
    """Name the variables with the passwords of the servers that the settings do not drop."""
    return [name for server in ctx.settings.servers for name in catalog.entry_of(server).secrets]


def own_ports(ctx: RunContext) -> dict[int, int]:
    """Map the ports of the main checkout's instance to this instance's; claims an id if there is none yet."""
    tree, own = worktree.read(ctx.root), _look(ctx).instance
    main = held_by(worktree.read(tree.main_root), ctx.claims.read(), ctx.settings.project)
    plans = [port_plan(ctx.settings, 0), instance_of(main, ctx.settings).ports if main is not None else {}]
    return {plan[name]: port for plan in plans for name, port in own.ports.items() if name in plan}


def settled_names(ctx: RunContext) -> list[str]:
    """Name the variables with which the instance's data has been made."""
    try:
        has_data = _look(ctx).settled_backend is not None
    except OrienterError:  # an engine does not answer: it may have some
        has_data = True
    return [*catalog.inputs(), *catalog.numbered()] if has_data else []


def foreign_ports_of(ctx: RunContext) -> list[ForeignPort]:
    """Return where `.env` names ports of other instances; nothing where this one's id cannot be determined."""
    from orienter_tasks.instance.port_references import foreign_ports, references

    if not any(True for name, value in ctx.dotenv.items() for _ in references(name, value)):
        return []
    try:
        current = _look(ctx)
        return foreign_ports(current.dotenv, current.config.variables, current.instance, ctx.settings)
    except OrienterError:  # whatever needs it reports that
        return []


def _look(ctx: RunContext) -> CurrentInstance:
    """Return the instance as it is with the present `.env`, which later tasks of the run may find changed."""
    about = ctx.fresh_copy()
    about.claims = ctx.claims
    return about.current


def show(ctx: RunContext, *, as_json: bool, reveal: bool) -> None:
    """Show where this instance's id comes from, its facts and its variables."""
    ctx.read_pipe()
    source, current = ctx.source_of_id, ctx.current
    variables = current.config.variables
    hide = {name: masked if variables.origins[name] in OURS else masked_unless_harmless for name in variables.values}
    values = sorted(variables.values.items())
    shown = {name: value if reveal else hide[name](name, value) for name, value in values}
    if as_json:
        ctx.report.json(_document(current, source, shown, foreign_ports_of(ctx)))
    else:
        _print(ctx, source, shown)


def export(ctx: RunContext, shell: str) -> None:
    """Print the variables as commands of a shell, or in another format."""
    from orienter_tasks.instance.export import FORMATS, render
    from orienter_tasks.settings.rules import nearest

    known = next((known for known in FORMATS if known == shell), None)
    if known is None:
        raise ConfigError(f"--format: unknown format {shell!r}", hint=nearest(shell, FORMATS))
    ctx.read_pipe()
    variables = ctx.current.config.variables
    ctx.report.document(render(variables.values, known, unset=sorted(variables.withheld & os.environ.keys())))


def behind_dashes() -> list[str]:
    """Return the words of the command line that stand behind two dashes."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def command_line(task: str = "env.exec") -> list[str]:
    """Return the command that stands behind two dashes."""
    command = behind_dashes()
    if not command:
        raise ConfigError("a command is missing", hint=f"write it behind two dashes: inv {task} -- npm test")
    return command


def execute(ctx: RunContext) -> None:
    """Become the command line's command, with this instance's variables."""
    command = command_line()
    ctx.read_pipe()
    used.touch(ctx.current.instance)
    replace_process(command, ctx.current.config)


def replace_process(command: Sequence[str], config: InstanceConfig) -> None:
    """Become another program, with the instance's variables and its servers' programs on PATH."""
    try:
        os.execvpe(command[0], [*command], environment_of(config))  # noqa: S606 - the user's own, without a shell
    except OSError as error:
        raise NotFoundError(f"{command[0]!r} cannot be run: {error.strerror}") from error


def environment_of(config: InstanceConfig) -> dict[str, str]:
    """Return this process's environment with the instance's variables, and its servers' programs on PATH."""
    environ = config.variables.over(os.environ)
    return {**environ, "PATH": search_path(config, environ.get("PATH", os.defpath))}


def _document(
    current: CurrentInstance, source: str, shown: Mapping[str, str], foreign: Sequence[ForeignPort]
) -> dict[str, object]:
    instance, variables = current.instance, current.config.variables
    return {
        "id": instance.id,
        "source": source,
        "project": instance.project,
        "worktree": instance.worktree,
        "root": str(instance.root),
        "branch": worktree.branch(instance.root),
        "url": instance.url,
        "host_url": instance.host_url,
        "backend": current.claim.backends.word,
        "variables": shown,
        "origins": dict(variables.origins),
        "exported": {name: {"hook": hook, "to": to} for name, (hook, to) in _exported(current).items()},
        "ignored": sorted(variables.ignored),
        "foreign_ports": [msgspec.structs.asdict(found) for found in foreign],
    }


def _exported(current: CurrentInstance) -> dict[str, tuple[str, list[str]]]:
    """Return the variables that hooks exported at the last start: the hook, and the services that got its value."""
    exporters = graph.exporters(current.settings)
    return {
        name: (hook, [service for service in current.settings.services if hook in exporters[service]])
        for hook, names in last_start.load(current.instance).exported.items()
        if any(hook in each for each in exporters.values())
        for name in names
    }


def _print(ctx: RunContext, source: str, shown: Mapping[str, str]) -> None:
    instance, variables = ctx.current.instance, ctx.current.config.variables
    ctx.report.box(
        f"instance {instance.id}",
        [
            *pages(instance),
            ("checkout", str(instance.root)),
            ("id from", source),
            ("branch", worktree.branch(instance.root) or "–"),
            ("backend", str(ctx.current.claim.backends) or "not started yet"),
        ],
    )
    by_hooks = {
        name: f"hook {hook}, for {', '.join(to) or 'other hooks'}"
        for name, (hook, to) in _exported(ctx.current).items()
    }
    columns: tuple[Column[str], ...] = (
        Column("variable", str),
        Column("value", lambda name: shown.get(name, ""), least=20, wrap=True),
        Column("from", lambda name: "; ".join(filter(None, (by_hooks.get(name), variables.origins.get(name)))), drop=1),
    )
    ctx.report.table(columns, sorted({*shown, *by_hooks}))
    for name in sorted(variables.ignored):
        ctx.report.warn(f".env sets {name}, but {variables.why_ignored(name)}: that line is ignored")
    warn_of_foreign_ports(ctx)
