"""The foreground part of `inv dev`: follow the services' logs and watch over them until Ctrl-C."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.nginx import notices
from orienter_tasks.errors import BackendError, CheckError, InterruptError, OrienterError
from orienter_tasks.machine.signals import CTRL_C
from orienter_tasks.machine.state import is_locked, locked
from orienter_tasks.output.logstream import LogStream
from orienter_tasks.processes.logfile import limit, limit_all
from orienter_tasks.processes.record import load
from orienter_tasks.services import last_start
from orienter_tasks.services.crash import CrashDetector
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import NOT_ANSWERING, NotReadyError, SkippedError, tail
from orienter_tasks.stack.native import running_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.processes.record import Record
    from orienter_tasks.services.service import ServiceComponent
    from orienter_tasks.stack.component import Component

FIRST_LINES = 10
TAIL_LINES = 15
INFRA_SECONDS = 3.0
DELAYS = (0.5, 1.0, 2.0, 5.0)
"""Seconds before each try to make a lost connection again; the last again and again."""
RESTARTS = 5
RESTART_WINDOW = 60.0
SETTLE_SECONDS = 1.0
QUIET_SECONDS = 0.8  # a watcher that starts its program again works, or has logged no error
SILENT_SECONDS = 10.0


def attach(ctx: RunContext) -> None:
    """Follow the logs until Ctrl-C or a failure, then stop the instance."""
    current = ctx.current
    skipped = last_start.load(current.instance).skipped
    services = [service for service in current.plan.services if service.name not in skipped]
    attachment = Attachment(current.config, current.backend, services, ctx.report.warn)
    ctx.report.note("following the logs; Ctrl-C stops this instance")
    try:
        attachment.run()
    except BaseException as error:
        ctx.start.end()
        if isinstance(error, InterruptError) and error.exit_code == CTRL_C:
            error.expected = True
        raise
    ctx.start.foreground = False
    ctx.report.note(f"{current.instance} was stopped by another command")


class _Watch(msgspec.Struct):
    """What is known of one service."""

    service: ServiceComponent
    restarts: list[float]
    ignored: bool = False
    restart_at: float | None = None
    gone_since: float | None = None
    silence: _Silence | None = None


class _Loss(msgspec.Struct):
    """A time without a connection; `due` is when the next one is tried."""

    since: float
    tries: int
    due: float


class _Silence(msgspec.Struct):
    """A time in which nothing listens on a service's port; `why` is "" until the user has been told."""

    since: float
    crash: CrashDetector
    why: str = ""


class Attachment:
    """Follows a running instance; `tell` takes lines for the user, `clock` is monotonic."""

    def __init__(
        self,
        config: InstanceConfig,
        backend: Backend,
        services: Sequence[ServiceComponent],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._backend = backend
        self._watches = [_Watch(service, []) for service in services]
        self._tell = tell
        self._clock = clock
        self._infra_at = clock() + INFRA_SECONDS
        self._link = next((each for each in backend.components() if each.name == catalog.LINK), None)
        self._loss: _Loss | None = None

    def run(self) -> None:
        """Follow the logs until another command has stopped the instance.

        Raises:
            CheckError: a service whose `on_exit` is `stop`, or a server, ended.
        """
        stream = LogStream([watch.service for watch in self._watches], lines=FIRST_LINES)
        stream.follow(self._tick)

    def _tick(self) -> bool:
        """Look after everything once; False when the instance was stopped by another command."""
        instance = self._config.instance
        if is_locked(instance.lock):
            return True  # another command starts or stops something: what it does is meant
        if self._link is not None:
            self._mend(self._link)
        present = [self._look(watch) for watch in self._watches]
        if self._clock() >= self._infra_at:
            self._infra_at = self._clock() + INFRA_SECONDS
            limit_all(instance, self._config.settings.logs, lambda _: True)
            self._look_at_infra(services_left=any(present) or not present)
        return any(present) or not present

    def _look(self, watch: _Watch) -> bool:
        """Look after one service; False when it was stopped on purpose."""
        record = load(self._config.instance, watch.service.name)
        if record is None:
            return False
        if record.alive():
            watch.gone_since = None
            self._listen(watch, record)
            limit(watch.service.log, self._config.settings.logs, written=lambda: True)
            return True
        if watch.ignored:
            return True
        if watch.restart_at is not None:
            self._restart_when_due(watch)
            return True
        if watch.gone_since is None:  # a stop by another command removes the record soon
            watch.gone_since = self._clock()
        elif self._clock() - watch.gone_since > SETTLE_SECONDS:
            if running_on(self._config.instance, record):
                watch.gone_since = self._clock()
            else:
                self._ended(watch, record)
        return True

    def _listen(self, watch: _Watch, record: Record) -> None:
        """Tell when a service that runs no longer listens on its port, and when it does again."""
        service, silence, now = watch.service, watch.silence, self._clock()
        if service.listens():
            watch.silence = None
            if silence is not None and silence.why:
                self._tell(f"{service.name} answers again")
                self._show()
            return
        if silence is None:
            crash = CrashDetector(service.log, listened=True, quiet=QUIET_SECONDS, clock=self._clock)
            silence = watch.silence = _Silence(now, crash)
        took, crashed = now - silence.since, silence.crash.crashed(record.pid)
        crashed = crashed or (took > QUIET_SECONDS and bool(silence.crash.last_words))
        if not silence.why and (crashed or took > SILENT_SECONDS):
            silence.why = service.why_silent()
            self._tell(f"{service.name} is {NOT_ANSWERING}: {silence.why}")
            self._show()

    def _show(self) -> None:
        found = {watch.service.name: watch.silence.why for watch in self._watches if watch.silence is not None}
        notices.show(self._config, {name: why for name, why in found.items() if why})

    def _ended(self, watch: _Watch, record: Record) -> None:
        name, policy = watch.service.name, self._config.settings.services[watch.service.name].on_exit
        how = watch.service.describe_end(record)
        watch.gone_since = None
        if policy == "ignore":
            watch.ignored = True
            self._tell(f"{name} {how}; it is not started again (on_exit: ignore)")
            return
        now = self._clock()
        watch.restarts = [moment for moment in watch.restarts if now - moment < RESTART_WINDOW]
        if policy == "restart" and len(watch.restarts) < RESTARTS:
            pause = 0.5 * 2 ** len(watch.restarts)
            watch.restart_at = now + pause
            watch.restarts.append(now)
            self._tell(f"{name} {how}; starting it again in {pause:g} s ({len(watch.restarts)} of {RESTARTS})")
            return
        again = f" {RESTARTS} times in {RESTART_WINDOW:g} s" if policy == "restart" else ""
        raise CheckError(
            f"{name} of {self._config.instance} {how}{again}; stopping everything",
            hint=f"its log: {watch.service.log}",
            details=tail(watch.service, TAIL_LINES),
            component=name,
        )

    def _restart_when_due(self, watch: _Watch) -> None:
        """Start a service again, unless another command is at work: that may be stopping it, or attached as well."""
        instance = self._config.instance
        if watch.restart_at is None or self._clock() < watch.restart_at:
            return
        try:
            with locked(instance.lock, timeout=0):
                watch.restart_at = None
                if load(instance, watch.service.name) is not None:  # it was not stopped meanwhile
                    watch.service.start(lambda _: None)
        except SkippedError as reason:
            watch.ignored = True
            self._tell(f"{watch.service.name} is not started again: {reason}")
        except OrienterError as error:
            if watch.restart_at is None:
                self._tell(f"{watch.service.name} cannot be started again: {error.line()}")

    def _mend(self, link: Component) -> None:
        """Make the connection to an engine on another machine again, when it is lost."""
        record, loss, now = load(self._config.instance, link.name), self._loss, self._clock()
        if record is None:
            return
        if loss is None and not record.alive():
            why = next(reversed(tail(link, 1)), "ssh has ended")
            self._tell(f"the connection to the engine is lost ({why}); trying to get it back")
            self._loss = _Loss(since=now, tries=0, due=now + DELAYS[0])
        elif loss is not None and record.alive():
            with suppress(NotReadyError, OrienterError):
                link.probe()
                self._tell(f"the engine is back after {now - loss.since:.1f} s")
                self._loss = None
        elif loss is not None and now >= loss.due:
            loss.tries += 1
            loss.due = now + DELAYS[min(loss.tries, len(DELAYS) - 1)]
            with suppress(OrienterError), locked(self._config.instance.lock, timeout=0):
                link.start(lambda _: None)

    def _look_at_infra(self, *, services_left: bool) -> None:
        try:
            down = [status.name for status in self._backend.status() if not status.up]
        except BackendError:
            if self._link is None:
                raise
            return  # what runs there cannot be seen, and may well run
        if down and services_left:
            instance = self._config.instance
            if is_locked(instance.lock):
                return
            raise CheckError(
                f"{', '.join(down)} of {instance} ended; stopping everything",
                hint=f"see: inv dev.logs -s {down[0]} --no-follow",
                component=down[0],
            )
