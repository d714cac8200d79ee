"""`inv test`: run groups of checks, print their results, and fail if any check fails."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.ownership import held_by
from orienter_tasks.infra import choice
from orienter_tasks.infra.choice import NONE
from orienter_tasks.machine import worktree
from orienter_tasks.output.checks import documents, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Check


def run(ctx: RunContext, groups: Sequence[str], parse: Callable[[str], Any], *, as_json: bool) -> None:
    """Check the host's own configuration; claims nothing and leaves nothing behind.

    Args:
        ctx: the run.
        groups: which of env, templates and integration.
        parse: reads YAML; ValueError for invalid YAML.
        as_json: print one document instead of the lists.

    Raises:
        ConfigError: the settings are wrong, and name the key.
        CheckError: a check failed.
    """
    found: dict[str, list[Check]] = {}
    for group in groups:
        if group == "integration":
            ctx.report.note("starting two throwaway instances")
        found[group] = list(_checks(ctx, group, parse))
        if not as_json:
            show(ctx.report, found[group], title=f"test.{group}")
    failed = [f"test.{group}: {check.topic}" for group in groups for check in found[group] if not _is_ok(check)]
    if as_json:
        ctx.report.json({"ok": not failed, "checks": _documents(found)})
    if failed:
        total = sum(map(len, found.values()))
        raise CheckError(f"{len(failed)} of {total} checks failed: {', '.join(failed)}", hint="see above")


def _checks(ctx: RunContext, group: str, parse: Callable[[str], Any]) -> Iterator[Check]:
    host, backends = HostConfig(ctx.settings, ctx.dotenv, ctx.root), partial(backends_of, ctx)
    if group == "env":
        from orienter_tasks.commands.selftest import names

        return chain(names.checks(host), [names.ports_of_dotenv(ctx)])
    if group == "templates":
        from orienter_tasks.commands.selftest import templates

        return templates.checks(host, backends, parse)
    from orienter_tasks.commands.selftest import integration

    return integration.checks(host, backends)


def backends_of(ctx: RunContext) -> Backends:
    """Return the backends to check on: the requested ones, else this checkout's, else the default of this machine.

    Raises:
        BackendError: none is available.
    """
    claim = held_by(worktree.read(ctx.root), ctx.claims.read(), ctx.settings.project)
    own = claim.backends if claim is not None else NONE
    return choice.choose(ctx.options.wanted_backend(ctx.settings), ctx.settings, own)


def _is_ok(check: Check) -> bool:
    return check.verdict in ("ok", "warning")


def _documents(found: Mapping[str, Sequence[Check]]) -> list[dict[str, object]]:
    return [
        {"group": group, **document}
        for group, checks in found.items()
        for document in documents(checks, check="topic", ok=_is_ok, detail="text", hint="hint")
    ]
