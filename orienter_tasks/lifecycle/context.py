"""What the tasks of one run share: built once, lazily, on first use.

Pre- and post-tasks get no arguments of the main task. What the command line said reaches them through `options`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity import resolve as identities
from orienter_tasks.identity.allocation import MARKER, Question
from orienter_tasks.identity.claims import Claim, Claims
from orienter_tasks.instance.model import Instance, make_instance
from orienter_tasks.instance.variables import derive, read_dotenv
from orienter_tasks.machine import directories, worktree
from orienter_tasks.machine.signals import run_or_hurry
from orienter_tasks.output.console import Report
from orienter_tasks.settings.load import as_plain, load_settings
from orienter_tasks.settings.model import WHATSAPP_SWITCH

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.identity.resolve import Identity
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.lifecycle.start import Plan, Startup
    from orienter_tasks.output.progress import Progress
    from orienter_tasks.settings.model import BackendName, Settings
    from orienter_tasks.stack.component import Event

HURRIED_GRACE = 0.2


@dataclass(frozen=True)
class RunOptions:
    """What the command line said about this run.

    Attributes:
        backend: "" or the backend that was asked for.
        timeout: seconds for each component to become ready; None: its own.
        quiet: no notes, no progress.
        fresh: stop and drop what can be made anew first.
        detach: return once all is ready.
        whatsapp: on, off, or None: as the variables say.
        without: services that are not wanted this time.
    """

    backend: str = ""
    timeout: float | None = None
    quiet: bool = False
    fresh: bool = False
    detach: bool = False
    whatsapp: bool | None = None
    without: tuple[str, ...] = ()


class InstanceContext:
    """The instance that this run is about, and what belongs to it.

    Args:
        project_dir: the directory of the host's tasks.py.
        raw_settings: what invoke.yaml says under `orienter:`.
        options: what the command line said.
    """

    def __init__(self, project_dir: Path, raw_settings: object, *, options: RunOptions) -> None:
        self._project_dir = project_dir
        self._raw_settings = raw_settings
        self._startup: Startup | None = None
        self._progress: Progress | None = None
        self._grace: float | None = None
        self.options = options
        self.follows = False  # set once all runs and only following is left: then an end of this run stops it
        self.report = Report(quiet=options.quiet)
        self.claims = Claims()

    def anew(self) -> InstanceContext:
        """Return a context of the same checkout that has found out nothing yet."""
        return InstanceContext(self._project_dir, self._raw_settings, options=self.options)

    @cached_property
    def root(self) -> Path:
        """The checkout's real path."""
        return worktree.find_root(self._project_dir)

    @cached_property
    def settings(self) -> Settings:
        """The host's settings."""
        return load_settings(as_plain(self._raw_settings))

    @property
    def dotenv(self) -> dict[str, str]:
        """What the checkout's `.env` says."""
        return self._dotenv[0]

    @cached_property
    def _dotenv(self) -> tuple[dict[str, str], list[int]]:
        values, broken = read_dotenv(self.root / ".env")
        if broken:
            lines = ", ".join(map(str, broken))
            self.report.warn(f".env: line {lines} is no NAME=value and is passed over")
        return values, broken

    def forget_dotenv(self) -> None:
        """Read `.env` again on next use: it was just made."""
        self.__dict__.pop("_dotenv", None)

    @cached_property
    def identity(self) -> Identity:
        """Which instance this checkout is; its id is claimed."""
        found = identities.resolve(self._question, self.claims)
        for note in found.notes:
            self.report.warn(note)
        return found

    @property
    def claim(self) -> Claim:
        """This checkout's claim."""
        return self.identity.claim

    @cached_property
    def instance(self) -> Instance:
        """This checkout's instance."""
        return make_instance(self.settings, self.claim.id, self.root, self.claim.moved, self.claim.former_roots)

    @cached_property
    def variables(self) -> Variables:
        """This instance's variables."""
        from orienter_tasks.infra import choice

        return derive(
            self.instance,
            self.settings,
            self.dotenv,
            os.environ,
            whatsapp=self._whatsapp(),
            service_host=choice.service_host(self.claim.backend, self.settings),
            backend=self.claim.backend,
        )

    @cached_property
    def config(self) -> InstanceConfig:
        """What a backend works for."""
        from orienter_tasks.backends.protocol import InstanceConfig

        return InstanceConfig(self.instance, self.settings, self.variables)

    @cached_property
    def backend(self) -> Backend:
        """The backend that this instance has, or would get. Using it may tell that it is not available."""
        from orienter_tasks.infra import choice

        return choice.make(self.backend_name, self.config)

    @cached_property
    def backend_name(self) -> BackendName:
        """The backend's name: the claim's, else what this machine would choose."""
        from orienter_tasks.infra import choice

        if self.claim.backend:
            return choice.named(self.claim.backend)
        return choice.choose(choice.wanted(self.settings, os.environ, self.options.backend), self.settings)

    @cached_property
    def plan(self) -> Plan:
        """The components of this instance."""
        from orienter_tasks.lifecycle import start as startup

        return startup.plan(self.config, self.backend, without=self.options.without)

    @property
    def components(self) -> list[str]:
        """The names of all that is to run."""
        return [component.name for component in (*self.plan.infra, *self.plan.services)]

    @property
    def grace(self) -> float:
        """Seconds that a process gets to end by itself."""
        return self.settings.timeouts.stop if self._grace is None else self._grace

    def hurry(self, grace: float = HURRIED_GRACE) -> None:
        """Give processes less time to end by themselves."""
        self._grace = grace

    def begin(self) -> Startup:
        """Begin to start something: settle the backend, take the instance's lock. Once per run."""
        if self._startup is not None and not self._startup.finished:
            return self._startup
        self._settle_backend()
        startup = self.lock_for_stopping()
        self._write_marker()
        if self._runs_elsewhere():
            self.report.warn(f"{self.instance} was moved while it ran: it is started anew")
            self.stop()
        if self.options.fresh:
            self.stop()
            directories.remove(self.instance.data_dir / "nginx")  # rendered anew; data and logs stay
        return startup

    def lock_for_stopping(self) -> Startup:
        """Take the instance's lock, whether or not its backend is available."""
        from orienter_tasks.lifecycle.start import Startup
        from orienter_tasks.output.progress import Progress

        if self._startup is not None and not self._startup.finished:
            return self._startup
        progress = Progress(self.report)
        self._startup = Startup(
            self.config,
            self.backend,
            on_event=progress.show,
            timeout=self.options.timeout,
            on_wait=lambda holder: self.report.warn(f"waiting for {holder}"),
        )
        self._startup.lock()
        self._progress = progress
        return self._startup

    def progress(self) -> Progress:
        """Show from now on what the components do; a start or a stop must have begun."""
        if self._progress is None:
            raise RuntimeError("nothing has begun yet")
        return self._progress.__enter__()

    def finish(self) -> None:
        """The start succeeded: let others in, stop drawing."""
        if self._startup is not None:
            self._startup.finish()
        if self._progress is not None:
            self._progress.__exit__(None, None, None)

    def stop(self) -> list[str]:
        """Stop services and infrastructure of this instance; return what ran."""
        from orienter_tasks.lifecycle.stop import stop_instance

        def ignore(event: Event) -> None:
            """Stopping is quick: only what it ends with is told."""

        on_event = self._progress.show if self._progress is not None else ignore
        backend = self.backend if self.claim.backend else None
        return stop_instance(self.instance, backend, self.grace, on_event)

    def touch(self) -> None:
        """Note in the claim that this instance was used now."""
        self.claims.update(self.claim.token, used_at=time.time())

    def intend(self) -> None:
        """Note in the claim which services are to run now: a table of all instances says how many of them do."""
        services = tuple(service.name for service in self.plan.services)
        if services != self.claim.services:
            self.claims.update(self.claim.token, services=services)

    @property
    def unfinished(self) -> bool:
        """Whether this run has begun something that must not be left as it is."""
        return self.follows or (self._startup is not None and not self._startup.finished)

    def end(self) -> None:
        """Stop the instance at the end of a foreground run; a second Ctrl-C hurries."""
        self.follows = False

        def stop() -> None:
            self.lock_for_stopping()
            self.progress()
            self.stop()

        def hurry() -> None:
            self.hurry()
            self.stop()

        try:
            run_or_hurry(stop, hurry)
        finally:
            self.finish()
        self.report.note(f"{self.instance} is stopped; its data stays")

    def abort(self) -> None:
        """Take back what this run started, if it has not finished; a second Ctrl-C hurries."""
        if self.follows:
            try:
                self.end()
            except OrienterError as error:
                self.report.error(error)
        startup = self._startup
        if startup is None or startup.finished:
            return
        started = [component.name for component in startup.runner.started]
        if started:
            self.report.note(f"stopping what was started: {', '.join(started)}")
        errors = run_or_hurry(lambda: startup.abort(self.grace), lambda: startup.runner.abort(HURRIED_GRACE))
        startup.finish()
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
        for failure in errors:
            self.report.error(failure)

    def _settle_backend(self) -> None:
        """Decide on the backend for good, and remember it in the claim before anything is made there."""
        from orienter_tasks.infra import choice

        asked = choice.wanted(self.settings, os.environ, self.options.backend)
        name = self.backend_name
        if asked not in ("auto", name):
            name = choice.named(asked)
            choice.may_move(self.backend, name, self.config)
        choice.require(name, self.config)
        told = len(self._question.notes)
        settled = identities.settle_backend(self._question, self.claims, self.claim, name)
        for note in self._question.notes[told:]:
            self.report.warn(note)
        for cached in ("identity", "instance", "variables", "config", "backend", "backend_name", "plan"):
            self.__dict__.pop(cached, None)
        self.__dict__["identity"] = identities.Identity(settled, "claim")

    def _whatsapp(self) -> bool | None:
        """What the command line said, or that it stays on where an earlier start has it running; else None."""
        from orienter_tasks.services import lease

        if self.options.whatsapp is not None or WHATSAPP_SWITCH in os.environ:
            return self.options.whatsapp
        switched = [service for service in self.settings.services.values() if service.enabled_by == WHATSAPP_SWITCH]
        runs = any(service.lease and lease.is_held_by(service.lease, self.instance) for service in switched)
        return True if runs else None

    def _runs_elsewhere(self) -> bool:
        """Whether something of this instance was started where the checkout lay before it was moved."""
        from orienter_tasks.processes.record import load_all

        return any(record.root != str(self.root) and record.alive() for record in load_all(self.instance))

    def _write_marker(self) -> None:
        """Leave the claim's name in DATA_DIR: it tells a checkout that was moved from a new one."""
        from orienter_tasks.machine.state import write_private

        marker = self.instance.data_dir / MARKER
        if not marker.exists() or marker.read_text(encoding="utf-8", errors="replace").strip() != self.claim.token:
            write_private(marker, self.claim.token + "\n")

    @cached_property
    def _question(self) -> Question:
        return Question(
            root=self.root,
            settings=self.settings,
            environ=os.environ,
            dotenv=self.dotenv,
            unbindable=self._unbindable,
            leftovers=self._leftovers,
        )

    def _leftovers(self, claim: Claim) -> bool:
        from orienter_tasks.lifecycle.others import leftovers

        return leftovers(claim, self.settings)

    def _unbindable(self, port: int, backend: str = "") -> bool:
        """Only the embedded nginx is bound by this user's privileges; Docker's engine has its own."""
        from orienter_tasks.infra import choice
        from orienter_tasks.machine import ports

        if ports.may_bind(port):
            return False
        if not backend:
            try:
                wanted = choice.wanted(self.settings, os.environ, self.options.backend)
                backend = choice.choose(wanted, self.settings)
            except OrienterError:
                return False
        return backend == "embedded"


def project_dir(config: Any) -> Path:
    """Return the directory of the host's tasks.py, which Invoke notes in its configuration."""
    prefix = getattr(config, "_project_prefix", None)
    return Path(prefix) if prefix else Path.cwd()
