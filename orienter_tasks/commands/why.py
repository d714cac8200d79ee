"""Say why an instance does not do what it should: the worst first, in a few lines, then the command to run next.

It judges nothing anew: what runs and answers is what `dev.status` sees, what failed is what the last start noted, and
what keeps a start from working is what `doctor` finds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.context import known, read
from orienter_tasks.commands.names import known_components
from orienter_tasks.commands.status import look, skipped_services
from orienter_tasks.machine.state import lock_holder
from orienter_tasks.output import task_names
from orienter_tasks.output.checks import SIGNS, Check, caught, collect, documents, failed
from orienter_tasks.output.units import ago
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.commands.doctor.command import Look
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.model import ObservedInstance
    from orienter_tasks.services.last_start import Failure
    from orienter_tasks.stack.component import ComponentStatus

LINES = 12
LONGEST = 240  # characters of a line
WELL = "inv dev.logs --no-follow"


def why(ctx: RunContext, names: Sequence[str], *, as_json: bool) -> None:
    """Explain this instance, or these components of it."""
    if names:
        known_components(ctx, names)
    about, wrong = read(ctx)
    checks, found, starting = [], None, ""
    with caught(lambda error: wrong.append(failed("instance", error))):
        found, unseen = look(about)
        starting, _ = lock_holder(found.instance.lock)
        checks = _checks(about, found, unseen, names, starting=bool(starting))
    if about.wrong_settings is not None:
        wrong = [failed("settings", about.wrong_settings), *(each for each in wrong if each.topic != "settings")]
    told = dict.fromkeys(check.text for check in checks)
    checks = _by_weight([*(check for check in wrong if check.text not in told), *checks])
    remedies = [check.remedy.removeprefix("see: ") for check in checks if check.remedy]
    following = "inv dev.wait" if starting else next(iter(remedies), WELL)
    title = _title(found, checks, starting)
    if as_json:
        ctx.report.json(
            {
                "id": found.instance.id if found is not None else None,
                "state": found.state if found is not None else "unknown",
                "title": title,
                "at_work": starting or None,
                "findings": documents(checks, level="verdict", topic="topic", what="text", remedy="hint"),
                "next": task_names.rename(following),
            }
        )
        return
    lines = [title, *_fitted(checks, LINES - 2), f"next: {task_names.rename(following)}"]
    ctx.report.answer("\n".join(_cut(line) for line in lines))


def _title(found: ObservedInstance | None, checks: Sequence[Check], starting: str) -> str:
    if found is None:
        return "this checkout's instance cannot be determined"
    if starting:
        return f"{found.instance} is being started or stopped by {starting}"
    well = found.state == "running" and not any(check.verdict == "problem" for check in checks)
    return f"{found.instance} is {found.state}" + (f", and all is well: {found.instance.host_url}" if well else "")


def _by_weight(checks: Sequence[Check]) -> list[Check]:
    weights = {verdict: number for number, verdict in enumerate(("problem", "unseen", "warning", "absent", "ok"))}
    return sorted(checks, key=lambda check: weights[check.verdict])


def _checks(
    ctx: RunContext, found: ObservedInstance, unseen: Sequence[str], names: Sequence[str], *, starting: bool
) -> list[Check]:
    """Return what is wrong, causes before what they lead to."""
    expected = [*found.instance.infra, *found.claim.services]
    skipped = (known(lambda: skipped_services(ctx)) or {}) if found.claim.placed else {}
    up = {each.name for each in found.components if each.well}
    idle = [name for name in expected if name not in {*skipped, *(each.name for each in found.components)}]
    down = found.state != "running" or bool(idle) or found.failure is not None
    roots, obstacles = _obstacles(ctx) if down and not starting else ([], [])
    checks = [*roots, *(Check("not seen", "unseen", text) for text in unseen)]
    if found.state == "conflict":
        words = f"containers with the names of {found.instance} belong to something else"
        checks.append(Check("names", "problem", words, "inv doctor"))
    faults = [each for each in found.components if not each.well and (not names or each.name in names)]
    faults.sort(key=lambda each: (not catalog.is_infrastructure(each.name), each.unseen))
    checks += (_fault(each, found) for each in faults)
    if found.failure is not None and not found.failure.component:
        checks.append(_failed_start(found.failure))
    checks += obstacles
    wanted = [name for name in idle if not names or name in names]
    if not starting and found.state == "stopped" and not up:
        checks += [] if any(check.verdict == "problem" for check in checks) else [_not_started(found)]
    elif not starting and found.state != "unknown":
        checks += _stopped(wanted)
    for name, reason in skipped.items():
        if not names or name in names:
            checks.append(Check(name, "absent", f"{name} is skipped: {reason}"))
    return [*checks, *(Check(name, "ok", f"{name} runs and answers") for name in names if name in up)]


def _obstacles(ctx: RunContext) -> tuple[list[Check], list[Check]]:
    """Return what keeps a start from working, by doctor's own checks: of the machine, and of this instance."""
    from orienter_tasks.commands.doctor import (
        checks_backend as backends,
        checks_env as env,
        checks_machine as machine,
        checks_ports as ports,
        checks_services as services,
    )

    roots = (("disk", machine.disk), ("backend", backends.backend), ("engine", backends.engine))
    others = ((".env", env.lines), ("ports", ports.held), ("programs", services.found), ("services", services.leases))

    def problems(topic: str, look: Look) -> Iterator[Check]:
        return (check for check in collect(topic, partial(look, ctx)) if check.verdict == "problem")

    first, second = ([check for each in group for check in problems(*each)] for group in (roots, others))
    return first, second


def _fault(status: ComponentStatus, found: ObservedInstance) -> Check:
    failure = found.failure
    if failure is not None and (failure.component, failure.at) == (status.name, status.ended_at):
        return _failed_start(failure)
    name, logs = status.name, f"inv dev.logs -s {status.name} --no-follow"
    if name == catalog.LINK:
        logs = "inv dev"
    if status.unseen:
        return Check(name, "unseen", f"{name}: {status.what}", "inv doctor")
    what = f"is {status.state}: {status.silence}" if status.silence else status.what
    when = f" ({ago(status.ended_at)} ago)" if status.ended_at else ""
    return Check(name, "problem", "\n".join([f"{name} of {found.instance} {what}{when}", *status.last_lines]), logs)


def _failed_start(failure: Failure) -> Check:
    words = f"the last start failed {ago(failure.at)} ago: {failure.what}"
    text = "\n".join([words, *failure.last_lines])
    return Check(failure.component or "start", "problem", text, failure.hint or "inv dev")


def _not_started(found: ObservedInstance) -> Check:
    never = f"{found.instance} has not been started yet"
    return Check("instance", "absent", f"nothing of {found.instance} runs" if found.claim.placed else never, "inv dev")


def _stopped(idle: Sequence[str]) -> Iterator[Check]:
    """Name what should run and does not, without a fault of its own."""
    servers = [name for name in idle if name in catalog.names()]
    services = [name for name in idle if name not in catalog.names()]
    if servers:
        yield Check("servers", "problem", f"stopped: {', '.join(servers)}", "inv infra.up")
    if services:
        named = " ".join(f"-s {name}" for name in services)
        yield Check("services", "warning", f"stopped: {', '.join(services)}", f"inv services.start {named}")


def _fitted(checks: Sequence[Check], room: int) -> list[str]:
    """Return the lines of checks: the first of each, and as many others as there is room for."""
    shown = checks if len(checks) <= room else checks[: room - 1]
    room -= len(shown) + (len(checks) > len(shown))
    lines = []
    for check in shown:
        first, *others = check.text.splitlines() or [""]
        kept = others[max(0, len(others) - room) :]
        room -= len(kept)
        lines += [f"{SIGNS[check.verdict][0]} {first}", *(f"    {line.strip()}" for line in kept)]
    if len(checks) > len(shown):
        lines.append(f"and {len(checks) - len(shown)} more: inv dev.why --json")
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
