"""`inv doctor`: run all checks in parallel, report in one order, and with `--fix` apply the fixes after asking."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor import (
    checks_backend as backends,
    checks_env as env,
    checks_identity as identity,
    checks_machine as machine,
    checks_ports as ports,
    checks_running as running,
    checks_services as services,
)
from orienter_tasks.commands.doctor.context import read
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.threads import map_in_threads
from orienter_tasks.output import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Check, Fix
    from orienter_tasks.output.console import Report

    Look = Callable[[RunContext], Iterable[Check]]

THREADS = 6
FIRST = ("python", "git", "disk", "settings", "instance", "shell", "claims", ".env", "variables", "backend")
"""The first topics in order; the others follow as they are found."""
CHECKS: tuple[tuple[str, Look], ...] = (
    ("python", machine.python),
    ("git", machine.git),
    ("disk", machine.disk),
    ("instance", identity.provenance),
    ("shell", identity.inherited),
    ("claims", identity.doubles),
    ("orphans", running.checkouts_and_orphans),
    (".env", env.present),
    (".env", env.lines),
    (".env", env.other_ports),
    ("variables", env.inherited),
    (".env", env.keys),
    (".env", env.secrets),
    (".env", env.ignored_by_git),
    ("backend", backends.backend),
    ("engine", backends.engine),
    ("embedded", backends.embedded),
    ("migrations", backends.migrations),
    ("ports", ports.held),
    ("exposed", ports.exposed),
    ("hostname", machine.hostname),
    ("servers", running.servers),
    ("services", running.answering),
    ("records", running.stale_records),
    ("logs", running.long_logs),
    ("orphans", running.throwaways),
    ("programs", services.found),
    ("programs", services.node),
    ("services", services.skipped),
    ("services", services.leases),
)
"""Each check, with the topic of an error that ends it."""


def consult(ctx: RunContext, *, fix: bool, yes: bool, as_json: bool) -> None:
    """Examine this machine and this checkout; `fix` applies what the findings offer, after asking unless `yes`.

    Raises:
        ConfigError: nobody can be asked.
        CheckError: a problem remains.
    """
    findings = examine(ctx)
    done = _fixed(ctx.report, findings, yes=yes, may_ask=not as_json) if fix else []
    if done:
        findings = examine(ctx)
    if as_json:
        ctx.report.json(_document(findings, done))
    else:
        checks.show(ctx.report, findings)
    problems = [finding for finding in findings if finding.verdict == "problem"]
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckError(f"{first.topic}: {first.text}{more}", hint=first.remedy)


def examine(ctx: RunContext) -> list[Check]:
    """Return what all checks find, in the order of topics; nothing is claimed or changed."""
    about, found = read(ctx)
    told = {check.text for check in found}
    answers = map_in_threads(lambda one: checks.collect(one[0], partial(one[1], about)), CHECKS, threads=THREADS)
    found += [check for answer in answers for check in answer if check.text not in told]
    order = {topic: number for number, topic in enumerate(dict.fromkeys([*FIRST, *(one.topic for one in found)]))}
    return sorted(found, key=lambda check: order[check.topic])


def _fixed(report: Report, findings: Sequence[Check], *, yes: bool, may_ask: bool) -> list[Fix]:
    """Apply the fixes that the findings offer, unless the answer is no; return those applied."""
    fixes = [finding.fix for finding in findings if finding.fix is not None]
    if not fixes:
        report.note("there is nothing that --fix could do")
        return []

    def list_them() -> None:
        checks.show(report, findings)
        for one in fixes:
            report.warn(f"--fix would {one.text}")

    refusal, hint = f"--fix would: {'; '.join(one.text for one in fixes)}", "add --yes to skip the prompt"
    if not (yes or report.confirm("do it?", refusal=refusal, hint=hint, may_ask=may_ask, before=list_them)):
        return []
    for one in fixes:
        one.apply()
        report.note(f"done: {one.text}")
    return fixes


def _document(findings: Sequence[Check], done: Sequence[Fix]) -> Mapping[str, object]:
    return {
        "findings": checks.documents(
            findings,
            level="verdict",
            topic="topic",
            what="text",
            remedy="hint",
            fix=lambda check: check.fix.text if check.fix is not None else None,
        ),
        "problems": sum(check.verdict == "problem" for check in findings),
        "warnings": sum(check.verdict == "warning" for check in findings),
        "fixed": [fix.text for fix in done],
    }
