"""What the tasks of one run share: what the run knows, and what follows from its checkout's claim."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orienter_tasks.errors import BackendError, ConfigError, ConflictError, OrienterError
from orienter_tasks.identity.allocation import IdRequest
from orienter_tasks.identity.claims import Claim, Claims, ReadOnlyClaims
from orienter_tasks.identity.resolve import acquire, adopt, look_up, resolve, source_of_id
from orienter_tasks.infra import choice
from orienter_tasks.instance.dotenv import read_dotenv
from orienter_tasks.lifecycle.config import configure, instance_of, settings_of
from orienter_tasks.machine import ports, worktree
from orienter_tasks.machine.files import is_pipe
from orienter_tasks.machine.state import is_under_sudo
from orienter_tasks.output.console import Report
from orienter_tasks.settings.catalog import NGINX
from orienter_tasks.settings.load import as_plain, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.plan import Plan
    from orienter_tasks.lifecycle.start import Start
    from orienter_tasks.settings.model import BackendChoice, Settings


class RunOptions(Struct, frozen=True):
    """What the command line says about the run.

    Attributes:
        timeout: seconds for each component to become ready; None: its own.
        fresh: stop first, and remove what can be made again.
        detach: return once all is ready.
        force: kill processes after a second.
        whatsapp: on, off, or None: as the variables say.
        without: services to leave out this time.
        dry: change nothing.
        data: what a new instance begins with; "": as the settings say.
    """

    backend: str = ""
    timeout: float | None = None
    quiet: bool = False
    fresh: bool = False
    detach: bool = False
    force: bool = False
    whatsapp: bool | None = None
    without: tuple[str, ...] = ()
    dry: bool = False
    data: str = ""

    def wanted_backend(self, settings: Settings) -> BackendChoice:
        return choice.wanted(settings, os.environ, self.backend)


class CurrentInstance(Struct, frozen=True, dict=True):
    """The instance of this run's checkout: what follows from its claim, each part derived once and on demand."""

    claim: Claim
    settings: Settings
    dotenv: Mapping[str, str]
    options: RunOptions

    @cached_property
    def instance(self) -> Instance:
        return instance_of(self.claim, self.settings)

    @cached_property
    def config(self) -> InstanceConfig:
        backends, whatsapp = self.claim.backends, self.options.whatsapp
        return configure(self.instance, self.settings, self.dotenv, os.environ, backends=backends, whatsapp=whatsapp)

    @cached_property
    def backend(self) -> Backend:
        """The backend that it has, or would get on this machine."""
        if self.settled_backend is not None:
            return self.settled_backend
        return choice.make(choice.choose(self.options.wanted_backend(self.settings), self.settings), self.config)

    @cached_property
    def settled_backend(self) -> Backend | None:
        """The backend that it has, whether or not its claim says so; None if it has nothing on any.

        Raises:
            BackendError: a Docker engine does not say what it has.
        """
        return choice.of(self.claim.backends, self.config)

    @cached_property
    def plan(self) -> Plan:
        from orienter_tasks.lifecycle.plan import make_plan

        without = self.options.without
        try:
            return make_plan(self.config, self.backend, without=without)
        except BackendError:  # neither it nor this machine has one: a start reports that, commands that only read go on
            return make_plan(self.config, None, without=without)

    def decide_backends(self) -> Backends:
        """Return the backends for a start: the wanted ones, else its own, else this machine's.

        Raises:
            BackendError: one cannot be used now.
            ConflictError: a component has data on another one.
        """
        own = self.claim.backends
        if not own and self.settled_backend is not None:
            own = self.settled_backend.backends
        found = choice.choose(self.options.wanted_backend(self.settings), self.settings, own)
        if own and found != own:
            choice.may_move(self.backend, found, self.settings, self.instance)
        choice.require(found, self.settings, self.instance, now=not choice.is_reached_by_link(self.instance))
        return found


class RunContext:
    """What a run knows: its checkout, settings, options, report and claims; then its instance and its start.

    `project_dir` is the directory of the host's tasks.py, `raw_settings` the `orienter:` section of invoke.yaml.
    """

    def __init__(self, project_dir: Path, raw_settings: object, *, options: RunOptions) -> None:
        self._project_dir = project_dir
        self._raw_settings = raw_settings
        self._current: CurrentInstance | None = None
        self._start: Start | None = None
        self._warned: set[str] = set()
        self._piped: tuple[dict[str, str], list[int]] | None = None
        self.tolerant = False  # go on without settings that are wrong
        self.wrong_settings: ConfigError | None = None
        self.options = options
        self.report = Report(quiet=options.quiet)
        self.claims = ReadOnlyClaims() if options.dry else Claims()

    def only_look(self) -> None:
        """Change no claims from now on."""
        self.claims = ReadOnlyClaims()

    def fresh_copy(self) -> RunContext:
        """Return a context of the same run that has not looked at anything yet."""
        copy = RunContext(self._project_dir, self._raw_settings, options=self.options)
        copy._piped = self._piped
        copy.tolerant = self.tolerant
        return copy

    def of_checkout(self, root: Path, options: RunOptions) -> RunContext:
        """Return a context of another checkout of the repository, with the settings of this one."""
        other = RunContext(root, self._raw_settings, options=options)
        other.report, other.claims = self.report, self.claims
        return other

    @cached_property
    def root(self) -> Path:
        """The checkout's real path.

        Raises:
            ConfigError: it has control characters, which neither nginx nor PostgreSQL takes.
        """
        root = worktree.find_root(self._project_dir)
        if worktree.has_control_characters(root):
            raise ConfigError(
                f"the checkout {str(root)!r} has control characters in its path", hint="rename the folder"
            )
        return root

    @cached_property
    def settings(self) -> Settings:
        try:
            return load_settings(as_plain(self._raw_settings))
        except ConfigError as error:
            held = [claim for claim in self.claims.read() if claim.root == str(self.root)]
            if not self.tolerant or len(held) != 1:
                raise
            self._warn_once(f"{error.line()}; without these settings, only what runs is known")
            self.wrong_settings = error
            return settings_of(held[0])

    @property
    def grace(self) -> float:
        """Seconds from the request to stop until a process is killed."""
        return 1.0 if self.options.force else self.settings.timeouts.stop

    @property
    def dotenv(self) -> dict[str, str]:
        """The variables of the checkout's `.env`, as it is now; none where it cannot be read, which is said.

        Those of a named pipe are known from `read_pipe` on.
        """
        try:
            return self._read_dotenv()
        except ConfigError as error:
            self._warn_once(error.line())
            return {}

    def read_pipe(self) -> None:
        """Read a `.env` that is a named pipe, once a run: for starts, and for what uses or shows its values.

        Raises:
            ConfigError: nothing comes out of it.
        """
        if self._piped is None and is_pipe(self.root / ".env"):
            self._piped = read_dotenv(self.root / ".env", pipe=True)

    def _read_dotenv(self) -> dict[str, str]:
        values, broken = self._piped or read_dotenv(self.root / ".env")
        if broken:
            self._warn_once(f".env line {', '.join(map(str, broken))}: not NAME=value, ignored")
        return values

    @property
    def source_of_id(self) -> str:
        """What decides on the checkout's id; valid only before it is claimed."""
        return source_of_id(self._request(self.dotenv), self.claims.read())

    @property
    def current(self) -> CurrentInstance:
        """The checkout's instance, to look at or to stop; its id is claimed on first use.

        Its backend need not be available, and settings that have changed need not fit; see `require_startable`.
        """
        if self._current is None:
            dotenv = self.dotenv
            self._current = self._instance_of(look_up(self._request(dotenv), self.claims), dotenv)
        return self._current

    def require_startable(self) -> None:
        """Require that the checkout's claim fits the settings."""
        resolve(self._request(self.dotenv), ReadOnlyClaims())

    def adopt(self, number: int) -> Claim:
        """Take over the id of a checkout that is gone, and what it has left."""
        dotenv = self.dotenv
        claim = adopt(self._request(dotenv), self.claims, number)
        self._current = self._instance_of(claim, dotenv)
        return claim

    def begin(self) -> Start:
        """Begin to start something, once per run: settle the backend, derive the instance, take its lock."""
        if self._start is None or not self._start.locked:
            if is_under_sudo(self.root):
                what = f"sudo would start servers and services of {self.root} as root, whose files its owner cannot use"
                raise ConflictError(what, hint="run it without sudo")
            self.read_pipe()
            dotenv = self._read_dotenv()  # a start needs its passwords

            def decide(claim: Claim) -> Backends:
                return self._instance_of(claim, dotenv).decide_backends()

            self._current = self._instance_of(acquire(self._request(dotenv), self.claims, decide), dotenv)
            self._start = self._new_start(self._current)
            self._start.begin(self._current.claim, fresh=self.options.fresh)
        return self._start

    @property
    def start(self) -> Start:
        """The start of this run, begun or not: to stop something, it is only locked."""
        if self._start is None:
            self._start = self._new_start(self.current)
        return self._start

    @property
    def has_changed(self) -> bool:
        """Whether the run has begun a start."""
        return self._start is not None and not self.options.dry

    @property
    def unfinished(self) -> bool:
        """Whether the run has begun something that must not be left as it is."""
        return self._start is not None and self._start.unfinished

    def undo(self, error: BaseException | None = None) -> None:
        if self._start is not None:
            self._start.undo(error)

    def _new_start(self, current: CurrentInstance) -> Start:
        from orienter_tasks.lifecycle.start import Start

        def look_again() -> Backend | None:
            copy = self.fresh_copy()
            copy.claims = self.claims
            return copy.current.settled_backend

        return Start(
            current.config,
            current.settled_backend,
            self.report,
            grace=self.grace,
            timeout=self.options.timeout,
            look_again=look_again,
        )

    def _instance_of(self, claim: Claim, dotenv: Mapping[str, str]) -> CurrentInstance:
        return CurrentInstance(claim, self.settings, dotenv, self.options)

    def _request(self, dotenv: Mapping[str, str]) -> IdRequest:
        return IdRequest(
            root=self.root,
            settings=self.settings,
            environ=os.environ,
            dotenv=dotenv,
            unbindable=self._unbindable,
            leftovers=self._leftovers,
            note=self._warn_once,
        )

    def _unbindable(self, port: int, backend: str) -> bool:
        """Whether nginx has only this user's privileges: the embedded one, and that of a rootless engine."""
        if ports.may_bind(port):
            return False
        from orienter_tasks.backends.docker import engine

        try:
            wanted = self.options.wanted_backend(self.settings)
            chosen = backend or choice.choose(wanted, self.settings).of(NGINX.name)
            return chosen == "embedded" or engine.shared().facts.rootless
        except OrienterError:  # a start reports what is wrong
            return False

    def _leftovers(self, claim: Claim) -> bool:
        from orienter_tasks.lifecycle.stop import leftovers  # seldom asked

        return leftovers(claim, self.settings)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.report.warn(text)


def project_dir(config: Any) -> Path:
    """Return the directory of the host's tasks.py, which Invoke keeps in its configuration."""
    prefix = getattr(config, "_project_prefix", None)
    return Path(prefix) if prefix else Path.cwd()
