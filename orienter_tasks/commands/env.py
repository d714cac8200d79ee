"""Show, print and use the variables of this instance."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.instance.variables import masked
from orienter_tasks.machine import worktree
from orienter_tasks.output.tables import Column
from orienter_tasks.services import last_start
from orienter_tasks.settings import graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.lifecycle.context import CurrentInstance, RunContext


def init(ctx: RunContext) -> None:
    """Make `.env` if there is none."""
    from orienter_tasks.instance.dotenv import create

    new = create(worktree.read(ctx.root))
    if new is not None:
        ctx.report.note(f".env: {new}")


def show(ctx: RunContext, *, as_json: bool, reveal: bool) -> None:
    """Show where this instance's id comes from, its facts and its variables."""
    source, current = ctx.source_of_id, ctx.current
    values = sorted(current.config.variables.values.items())
    shown = {name: value if reveal else masked(name, value) for name, value in values}
    if as_json:
        ctx.report.json(_document(current, source, shown))
    else:
        _print(ctx, source, shown)


def export(ctx: RunContext, shell: str) -> None:
    """Print the variables as commands of a shell, or in another format."""
    from orienter_tasks.instance.export import FORMATS, render
    from orienter_tasks.settings.rules import nearest

    known = next((known for known in FORMATS if known == shell), None)
    if known is None:
        raise ConfigError(f"--format: unknown format {shell!r}", hint=nearest(shell, FORMATS))
    ctx.report.document(render(ctx.current.config.variables.values, known))


def command_line() -> list[str]:
    """Return the command that stands behind two dashes."""
    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if not command:
        raise ConfigError("there is no command", hint="write it behind two dashes: inv env.exec -- psql")
    return command


def execute(ctx: RunContext) -> None:
    """Become the command line's command, with this instance's variables."""
    command = command_line()
    environ = ctx.current.config.variables.over(os.environ)
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 - the user's own command, without a shell
    except OSError as error:
        raise NotFoundError(f"{command[0]!r} cannot be run: {error.strerror}") from error


def _document(current: CurrentInstance, source: str, shown: Mapping[str, str]) -> dict[str, object]:
    instance, variables = current.instance, current.config.variables
    return {
        "id": instance.id,
        "source": source,
        "project": instance.project,
        "worktree": instance.worktree,
        "root": str(instance.root),
        "branch": worktree.branch(instance.root),
        "url": instance.url,
        "backend": current.claim.backend,
        "variables": shown,
        "origins": dict(variables.origins),
        "exported": {name: {"hook": hook, "to": to} for name, (hook, to) in _exported(current).items()},
        "ignored": sorted(variables.ignored),
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
            ("page", instance.url),
            ("checkout", str(instance.root)),
            ("id from", source),
            ("branch", worktree.branch(instance.root) or "–"),
            ("backend", ctx.current.claim.backend or "not started yet"),
        ],
    )
    by_hooks = {
        name: f"hook {hook}, for {', '.join(to) or 'other hooks'}"
        for name, (hook, to) in _exported(ctx.current).items()
    }
    columns: tuple[Column[str], ...] = (
        Column("variable", str),
        Column("value", lambda name: shown.get(name, "")),
        Column("from", lambda name: "; ".join(filter(None, (by_hooks.get(name), variables.origins.get(name))))),
    )
    ctx.report.table(columns, sorted({*shown, *by_hooks}))
    for name in sorted(variables.ignored):
        ctx.report.warn(f".env sets {name}, but it is derived from the instance's id: that line is ignored")
