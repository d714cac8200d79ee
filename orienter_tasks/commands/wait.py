"""Wait until an instance is ready, whoever starts it, or until it is known that it will not be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.context import RecordingReport
from orienter_tasks.commands.names import known_components
from orienter_tasks.commands.status import look, skipped_services
from orienter_tasks.errors import (
    BackendError,
    CheckError,
    ConflictError,
    NotFoundError,
    OrienterError,
    TimedOutError,
)
from orienter_tasks.identity.claims import ReadOnlyClaims
from orienter_tasks.machine.state import is_locked, lock_holder
from orienter_tasks.observe.model import as_document
from orienter_tasks.processes.record import load
from orienter_tasks.services import last_start
from orienter_tasks.services.crash import CrashDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.model import ObservedInstance
    from orienter_tasks.services.last_start import Failure
    from orienter_tasks.stack.component import ComponentStatus

YOUNG = 10.0  # seconds: for so long may an `inv` that was begun beside this command take to lock the instance
PAUSE = 0.1
HINT = "see: inv dev.why"


def wait(ctx: RunContext, names: Sequence[str], *, as_json: bool) -> None:
    """Return once this instance, or these components, are ready.

    Raises:
        OrienterError: they will not be, as far as is known: what failed, with the exit code of the start.
    """
    known_components(ctx, names, hooks=False)
    begun = time.monotonic()
    try:
        found = _Wait(ctx, names).until_ready()
    except OrienterError as error:
        if as_json:
            told = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
            ctx.report.json({"ready": False, "seconds": _seconds(begun), **told})
        raise
    if as_json:
        ctx.report.json({"ready": True, "seconds": _seconds(begun), **as_document(found)})
    else:
        ctx.report.answer(f"{', '.join(names) or found.instance} is ready: {found.instance.host_url}")


def _seconds(begun: float) -> float:
    return round(time.monotonic() - begun, 2)


class _Wait:
    """One wait, and what it has seen so far."""

    def __init__(self, ctx: RunContext, names: Sequence[str]) -> None:
        self._ctx = ctx
        self._names = names
        self._begun, self._began_at = time.monotonic(), time.time()
        self._crashes: dict[str, CrashDetector] = {}
        self._silent_since: float | None = None
        self._told = False

    def until_ready(self) -> ObservedInstance:
        last = "nothing was seen yet"
        while True:
            about = self._ctx.fresh_copy()
            about.claims = ReadOnlyClaims()
            about.report = RecordingReport()  # what there is to warn of is known already
            instance = about.current.instance
            holder, since = lock_holder(instance.lock)
            failure = last_start.load(instance).failure
            if holder:
                self._tell(holder)
                if failure is not None and failure.at >= since:
                    raise _as_error(failure)
                last = f"at work: {holder}"
            if not holder or self._names_services(about):
                found, unseen = look(about)
                wanted = self._wanted(about, found)
                components = {each.name: each for each in found.components}
                quiet = not holder and not is_locked(instance.lock)  # also after the look
                well = all(name in components and components[name].well for name in wanted)
                if well and found.state != "unknown" and (quiet or holder):
                    return found
                if quiet:
                    last = self._judge(about, found, unseen, [components.get(name) for name in wanted], failure)
            self._pause(str(instance), last)

    def _names_services(self, about: RunContext) -> bool:
        """Whether only services are waited for: they are asked, but when a server is ready only a start knows."""
        return bool(self._names) and set(self._names) <= set(about.settings.services)

    def _wanted(self, about: RunContext, found: ObservedInstance) -> list[str]:
        """Name the components that are to be ready: a service may end where its settings ignore that."""
        if self._names:
            return list(self._names)
        ended = {each.name for each in found.components if not each.up}
        services, skipped = about.settings.services, skipped_services(about) if found.claim.placed else {}
        ignored = {name for name in ended if name in services and services[name].on_exit == "ignore"}
        return [name for name in (*found.instance.infra, *found.claim.services) if name not in {*skipped, *ignored}]

    def _judge(
        self,
        about: RunContext,
        found: ObservedInstance,
        unseen: Sequence[str],
        wanted: Sequence[ComponentStatus | None],
        failure: Failure | None,
    ) -> str:
        """Say what is waited for while nobody starts or stops anything; an error where that is in vain."""
        instance = found.instance
        if failure is not None and failure.at >= self._began_at:
            raise _as_error(failure)
        if _is_begun(instance.root):
            return "another inv has just been begun"
        if failure is not None:
            raise _as_error(failure)
        if found.state == "unknown":
            hidden = "; ".join(unseen) or "it cannot be seen from here"
            raise BackendError(f"it is unknown what runs of {instance}: {hidden}", hint=HINT)
        if found.state == "conflict":
            raise ConflictError(f"something else has names of {instance}", hint=HINT)
        ended = [each for each in wanted if each is not None and not each.running]
        if ended:
            what = f"{ended[0].name} of {instance} does not run: {ended[0].what}"
            raise CheckError(what, hint=HINT, details=ended[0].last_lines, component=ended[0].name)
        if found.state == "stopped":
            raise NotFoundError(f"nothing of {instance} runs, and nothing starts it", hint="start it with: inv dev")
        absent = [name for name, each in zip(self._wanted(about, found), wanted, strict=True) if each is None]
        if absent:
            reason = skipped_services(about).get(absent[0])
            why = f"is skipped: {reason}" if reason else "does not run, and nothing starts it"
            raise NotFoundError(f"{absent[0]} of {instance} {why}", hint=HINT)
        return self._silence(about, found, [each for each in wanted if each is not None and each.silence])

    def _silence(self, about: RunContext, found: ObservedInstance, silent: Sequence[ComponentStatus]) -> str:
        """Say which services run and do not answer yet; an error where they have crashed, or have had their time."""
        services = {service.name: service for service in about.current.plan.services}
        limit, now = 0.0, time.monotonic()
        self._silent_since = self._silent_since or now
        for each in silent:
            service, record = services.get(each.name), load(found.instance, each.name)
            if service is not None and record is not None and record.alive() and not service.listens():
                detector = self._crashes.setdefault(each.name, CrashDetector(service.log, listened=True))
                if detector.crashed(record.pid):
                    raise _not_answering(each, found)
            limit = max(limit, service.timeout if service is not None else 0.0)
        if silent and self._ctx.options.timeout is None and now - self._silent_since > limit:
            raise TimedOutError(
                f"{silent[0].name} of {found.instance} is not answering: {silent[0].silence}",
                hint=HINT,
                details=silent[0].last_lines,
            )
        return "; ".join(f"{each.name} is not answering: {each.silence}" for each in silent)

    def _tell(self, holder: str) -> None:
        if not self._told:
            self._told = True
            self._ctx.report.note(f"waiting for {holder}")

    def _pause(self, instance: str, last: str) -> None:
        limit, waited = self._ctx.options.timeout, time.monotonic() - self._begun
        if limit is not None and waited >= limit:
            raise TimedOutError(f"{instance} is not ready after {limit:g} s: {last}", hint=HINT)
        time.sleep(PAUSE if limit is None else min(PAUSE, limit - waited))


def _is_begun(root: Path) -> bool:
    """Whether another `inv` has just been begun in a checkout, which may be about to start it."""
    import psutil

    for process in psutil.process_iter(["pid", "cmdline", "cwd", "create_time"]):
        facts = process.info
        words = [Path(word).name for word in facts["cmdline"] or ()]
        if not {*words[:3]} & {"inv", "invoke"} or any(word.endswith("wait") for word in words):
            continue
        place = Path(facts["cwd"] or "/")
        if root in (place, *place.parents) and time.time() - facts["create_time"] < YOUNG:
            return True
    return False


def _not_answering(status: ComponentStatus, found: ObservedInstance) -> CheckError:
    what = f"{status.name} of {found.instance} is not answering: {status.silence}"
    return CheckError(what, hint=HINT, details=status.last_lines, component=status.name)


def _as_error(failure: Failure) -> OrienterError:
    error = OrienterError(failure.what, hint=failure.hint or HINT, details=failure.last_lines)
    error.exit_code = failure.exit_code
    return error
