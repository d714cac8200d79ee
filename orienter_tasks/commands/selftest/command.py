"""`inv test`: run the groups of checks, tell what they came to, and fail when one did."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.selftest.outcome import Outcome, Premises
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.claims import held_by_root
from orienter_tasks.infra import choice
from orienter_tasks.output import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.settings.model import BackendName

GROUPS = ("env", "templates", "integration")


def run(ctx: InstanceContext, groups: Sequence[str], parse: Callable[[str], Any], *, as_json: bool) -> None:
    """Check the host's own configuration; nothing is claimed, and nothing is left.

    Args:
        ctx: the run.
        groups: which of `GROUPS`.
        parse: reads YAML; ValueError for what is none.
        as_json: print one document instead of the lists.

    Raises:
        ConfigError: the settings are wrong, and name the key.
        CheckError: a check failed.
    """
    found: dict[str, list[Outcome]] = {}
    for group in groups:
        if group == "integration":
            ctx.report.note("starting two throwaway instances")
        found[group] = list(_outcomes(ctx, group, parse))
        if not as_json:
            checks.show(ctx.report, [_line(outcome) for outcome in found[group]], title=f"test.{group}")
    if as_json:
        ctx.report.json(_document(found))
    failed = [f"test.{group}: {outcome.check}" for group in groups for outcome in found[group] if not outcome.ok]
    if failed:
        total = sum(map(len, found.values()))
        raise CheckError(f"{len(failed)} of {total} checks failed: {', '.join(failed)}", hint="see above")


def _outcomes(ctx: InstanceContext, group: str, parse: Callable[[str], Any]) -> Iterator[Outcome]:
    premises = Premises(ctx.settings, ctx.dotenv)

    def backend() -> BackendName:
        return backend_of(ctx)

    if group == "env":
        from orienter_tasks.commands.selftest import names as variables

        return variables.checks(premises)
    if group == "templates":
        from orienter_tasks.commands.selftest import templates

        return templates.checks(ctx.root, premises, backend, parse)
    from orienter_tasks.commands.selftest import integration

    return integration.checks(ctx.root, ctx.settings, ctx.claims.read(), backend)


def backend_of(ctx: InstanceContext) -> BackendName:
    """Return the backend to check on: the one asked for, else this checkout's, else the machine's.

    Raises:
        BackendError: this machine has none.
    """
    asked = choice.wanted(ctx.settings, os.environ, ctx.options.backend)
    claim = held_by_root(ctx.claims.read(), ctx.root, ctx.settings.project)
    if asked == "auto" and claim is not None and claim.backend:
        return choice.named(claim.backend)
    return choice.choose(asked, ctx.settings)


def _line(outcome: Outcome) -> checks.Line:
    return checks.Line("ok" if outcome.ok else "problem", outcome.check, outcome.detail, outcome.hint)


def _document(found: dict[str, list[Outcome]]) -> dict[str, object]:
    return {
        "ok": all(outcome.ok for outcomes in found.values() for outcome in outcomes),
        "checks": [
            {
                "group": group,
                "check": outcome.check,
                "ok": outcome.ok,
                "detail": outcome.detail,
                "hint": outcome.hint,
            }
            for group, outcomes in found.items()
            for outcome in outcomes
        ],
    }
