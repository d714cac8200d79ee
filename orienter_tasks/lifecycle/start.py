"""What a run does to its instance, under the instance's lock: preflight checks, the start, its undo, and the end."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.ownership import MARKER, token_in
from orienter_tasks.instance.model import component_of_port
from orienter_tasks.lifecycle import holders
from orienter_tasks.lifecycle.stop import stop_instance
from orienter_tasks.machine import directories
from orienter_tasks.machine.signals import run_or_hurry
from orienter_tasks.machine.state import locked, private_dir, write_private
from orienter_tasks.output.progress import Progress
from orienter_tasks.processes import census
from orienter_tasks.processes.record import load_all
from orienter_tasks.services import last_start, lease
from orienter_tasks.services.last_start import Failure
from orienter_tasks.services.service import variables, why_skipped
from orienter_tasks.stack.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.output.console import Report
    from orienter_tasks.stack.component import Component, Event

HURRIED_GRACE = 0.2


class Start:
    """A start or a stop of an instance; it may extend over several tasks of a run.

    `backend` is None when it has none yet; another run that is waited for may give it one, which `look_again` returns.
    `grace`: seconds until a process that is asked to stop is killed; `timeout`: seconds for each component to become
    ready, None: its own.
    """

    def __init__(
        self,
        config: InstanceConfig,
        backend: Backend | None,
        report: Report,
        *,
        grace: float,
        timeout: float | None = None,
        look_again: Callable[[], Backend | None] = lambda: None,
    ) -> None:
        self._config = config
        self._instance = config.instance
        self._backend = backend
        self._look_again = look_again
        self._waited = False
        self._report = report
        self._grace = grace
        self._held = ExitStack()  # the lock, and the progress that is shown
        self._progress = Progress(report)
        self._shown = False
        self.runner = Runner(self.show, timeout=timeout, whose=str(config.instance))
        self._owner: Claim | None = None  # of volumes that are yet to be made
        self.locked = False
        self._began = False
        self.foreground = False  # everything runs, and the run only follows it: the end of the run stops it

    @property
    def unfinished(self) -> bool:
        """Whether something has begun that must not be left as it is."""
        return self.locked or self.foreground

    def show(self, event: Event) -> None:
        """Show what happens to a component; from any thread."""
        self._progress.show(event)

    def begin(self, claim: Claim, *, fresh: bool) -> None:
        """Lock the instance and mark what it has as the claim's; stop it for `fresh`, or if it moved while it ran."""
        self.lock()
        self._began = True
        last_start.remember(self._instance, None)
        if token_in(self._instance.data_dir) != claim.token:
            write_private(self._instance.data_dir / MARKER, claim.token + "\n")
        if "embedded" in claim.backends.used:
            self._owner = claim
            for line in volumes.left_in_checkout(self._instance):
                self._report.note(line)
        root = str(self._instance.root)
        if any(record.root != root and record.alive() for record in load_all(self._instance)):
            self._report.warn(f"{self._instance} was moved while it ran: it is restarted")
            self.stop()
        if fresh:
            self.stop()
            directories.remove(self._instance.nginx_dir)  # data and logs stay

    def lock(self) -> None:
        """Keep other starts and stops of this instance out until `finish`."""
        if self.locked:
            return
        instance, timeout = self._instance, self._config.settings.timeouts.lock
        self._held.enter_context(locked(instance.lock, timeout=timeout, on_wait=self._waiting))
        self.locked = True
        if self._waited and self._backend is None:
            self._backend = self._look_again()
        for directory in (instance.data_dir, instance.log_dir, instance.pid_dir):
            private_dir(directory)
        replacing.settle(instance)

    def show_progress(self) -> None:
        """Show what the components do until `finish`."""
        if not self._shown:
            self._shown = True
            self._held.enter_context(self._progress)

    @contextmanager
    def copying(self, copied: Callable[[], int], total: int) -> Iterator[None]:
        """Show how many bytes have been copied, of about so many, until the copy ends."""
        self.show_progress()
        with self._progress.copying(copied, total):
            yield

    @contextmanager
    def locking(self) -> Iterator[Start]:
        self.lock()
        try:
            yield self
        finally:
            self.finish()

    @contextmanager
    def stopping(self) -> Iterator[Start]:
        self.lock()
        self.show_progress()
        try:
            yield self
        finally:
            self.finish()

    def check(self, components: Sequence[str], *, wanted: Sequence[str] = (), link: Sequence[Component] = ()) -> None:
        """Preflight checks: each name, port and lease must be free or ours; a lease that yields, only if `wanted`.

        A service that would be skipped unless a hook exports something takes its lease later, if it is started. `link`
        reaches an engine on another machine: it is started once the ports are known to be free, and the engine is asked
        through it.

        Raises:
            ConflictError: names every conflict; nothing was started, or only the link.
        """
        take = cache(census.take)  # at most one reading for both looks
        own_ports = partial(holders.own_ports, self._instance, self._backend, take)
        if link:
            self._check_ports(components, own_ports)
            self.show_progress()
            self.runner.add(link)
            self.runner.wait(part.name for part in link)
        if self._backend is not None:
            self._backend.require_seen(take)
        foreign = list(self._backend.name_conflicts()) if self._backend is not None else []
        if foreign:
            raise ConflictError(
                f"{self._instance} needs names that something else has: {', '.join(foreign)}",
                hint="rename or remove them yourself, or use another id: AI_INSTANCE_ID=N",
            )
        values = variables(self._config, {})
        for name in components:
            service = self._config.settings.services.get(name)
            if service is None or not service.lease or why_skipped(service, values):
                continue
            if service.on_conflict == "refuse" or name in wanted:
                lease.check(service.lease, self._instance)
        if not link:
            self._check_ports(components, own_ports)
        if self._owner is not None:
            volumes.mark(self._owner)

    def require_removable(self) -> None:
        """Require that the instance's data may go once it is stopped; see `holders`."""
        holders.require_removable(self._instance, partial(holders.own_ports, self._instance, self._backend))

    def finish(self) -> None:
        """Let other starts and stops in; what was started keeps running."""
        self.locked = False
        self._held.close()
        self._progress, self._shown = Progress(self._report), False

    def stop(self) -> list[str]:
        """Stop services and infrastructure of the instance; return the names of what ran."""
        return self._stop(self._grace)

    def end(self) -> None:
        """Stop the instance at the end of a run in the foreground; a second Ctrl-C skips the grace period."""
        self.foreground = False

        def stop() -> None:
            self.lock()
            self.show_progress()
            self.stop()

        try:
            run_or_hurry(stop, lambda: self._stop(HURRIED_GRACE))
        finally:
            self.finish()
        self._report.note(f"{self._instance} is stopped; its data stays")

    def undo(self, error: BaseException | None = None) -> None:
        """Stop what this run started, unless it has finished; a second Ctrl-C skips the grace period.

        An error that ends a start, or the run that follows it, is remembered until the next start.
        """
        if isinstance(error, OrienterError) and (self._began or error.component):
            why = Failure(
                component=error.component,
                what=str(error),
                hint=error.hint,
                at=time.time(),
                last_lines=error.details,
                exit_code=error.exit_code,
            )
            last_start.remember(self._instance, why)
        if self.foreground:
            try:
                self.end()
            except OrienterError as second:
                self._report.error(second)
        if not self.locked:
            return
        self.runner.give_up()
        started = [component.name for component in self.runner.started]
        if started:
            self._report.note(f"stopping what was started: {', '.join(started)}")
        try:
            errors = run_or_hurry(lambda: self.runner.abort(self._grace), lambda: self.runner.abort(HURRIED_GRACE))
        finally:
            self.finish()
        for failure in errors:
            self._report.error(failure)

    def _stop(self, grace: float) -> list[str]:
        return stop_instance(self._instance, self._backend, grace, self.show)

    def _waiting(self, holder: str) -> None:
        self._waited = True
        self._report.warn(f"waiting for {holder}")

    def _check_ports(self, components: Sequence[str], own: Callable[[], set[int]]) -> None:
        settings, plan = self._config.settings, self._instance.ports
        wanted = {name: port for name, port in plan.items() if component_of_port(settings, name) in components}
        taken = holders.foreign(wanted, own)
        if taken:
            raise ConflictError(
                f"{self._instance} cannot start: {'port' if len(taken) == 1 else 'ports'} "
                f"{', '.join(str(plan[name]) for name in taken)} {'is' if len(taken) == 1 else 'are'} taken",
                hint="stop that process, or use another id: AI_INSTANCE_ID=N inv dev",
                details=[f"  {described}" for described in taken.values()],
            )
