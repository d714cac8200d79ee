"""`inv doctor`: examine, tell, and with `--fix` do what can be done, after asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor import runner as examination
from orienter_tasks.commands.doctor.context import read
from orienter_tasks.errors import CheckError
from orienter_tasks.output import checks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.commands.doctor.finding import Finding, Fix
    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.output.console import Report

TOPICS = ("python", "git", "disk", "settings", "instance", "shell", "claims", ".env", "variables", "backend")


def consult(ctx: InstanceContext, *, fix: bool, yes: bool, as_json: bool) -> None:
    """Examine this machine and this checkout.

    Args:
        ctx: the run.
        fix: do what the findings offer, after asking.
        yes: without asking.
        as_json: print one document instead of the list.

    Raises:
        ConfigError: nobody can be asked.
        CheckError: there is a problem, also after fixing.
    """
    findings = examine(ctx.fresh_copy())
    done = _fixed(ctx.report, findings, yes=yes, may_ask=not as_json) if fix else []
    if done:
        findings = examine(ctx.fresh_copy())
    if as_json:
        ctx.report.json(_document(findings, done))
    else:
        tell(ctx.report, findings)
    problems = [finding for finding in findings if finding.level == "problem"]
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckError(f"{first.topic}: {first.what}{more}", hint=first.remedy)


def _fixed(report: Report, findings: Sequence[Finding], *, yes: bool, may_ask: bool) -> list[Fix]:
    """Do what the findings offer, unless the answer is no; return what was done."""
    fixes = [finding.fix for finding in findings if finding.fix is not None]
    if not fixes:
        report.note("there is nothing that --fix could do")
        return []
    if not (yes or _asked(report, findings, fixes, may_ask=may_ask)):
        return []
    for one in fixes:
        one.apply()
        report.note(f"done: {one.what}")
    return fixes


def examine(ctx: InstanceContext) -> list[Finding]:
    """Return what is found, in the order of topics; the context is made to claim nothing."""
    about, found = read(ctx)
    found += examination.examine(about)
    order = {topic: number for number, topic in enumerate(dict.fromkeys([*TOPICS, *(one.topic for one in found)]))}
    return sorted(found, key=lambda one: order[one.topic])


def tell(report: Report, findings: Sequence[Finding]) -> None:
    """Print the findings as a list with check marks."""
    checks.show(
        report,
        [checks.Line(one.level, one.topic, one.what, one.remedy if one.level != "ok" else "") for one in findings],
    )


def _asked(report: Report, findings: Sequence[Finding], fixes: Sequence[Fix], *, may_ask: bool) -> bool:
    def before() -> None:
        tell(report, findings)
        for one in fixes:
            report.warn(f"--fix would {one.what}")

    return report.confirm(
        "do it?",
        refusal=f"--fix would: {'; '.join(one.what for one in fixes)}",
        hint="add --yes to have it done unasked",
        may_ask=may_ask,
        before=before,
    )


def _document(findings: Sequence[Finding], done: Sequence[Fix]) -> Mapping[str, object]:
    return {
        "findings": [
            {
                "level": one.level,
                "topic": one.topic,
                "what": one.what,
                "remedy": one.remedy,
                "fix": one.fix.what if one.fix is not None else None,
            }
            for one in findings
        ],
        "problems": sum(one.level == "problem" for one in findings),
        "warnings": sum(one.level == "warning" for one in findings),
        "fixed": [one.what for one in done],
    }
