"""A service of the host as a component: started from settings, ready when it answers, stopped as a whole tree."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConfigError, ConflictError, NotFoundError
from orienter_tasks.infra.all import search_path
from orienter_tasks.instance.variables import expand, expand_all, truth
from orienter_tasks.machine import worktree
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, write_private
from orienter_tasks.processes import census, sockets
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.processes.program import Program, find_program
from orienter_tasks.processes.spawn import Handle, describe_exit, ended_with, running, spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.services import lease
from orienter_tasks.services.crash import CrashDetector
from orienter_tasks.settings import graph
from orienter_tasks.stack.component import NOT_ANSWERING, LogRequest, NotReadyError, SkippedError, tail
from orienter_tasks.stack.logfiles import has_room, read
from orienter_tasks.stack.probes import PROBE_SECONDS, http_ready, tcp_ready
from orienter_tasks.stack.reasons import LINES, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.processes.record import Record
    from orienter_tasks.settings.model import Hook, Service, Settings
    from orienter_tasks.stack.component import Note

TAIL_LINES = 15
CONTAINER_CLIENTS = frozenset({"docker", "podman", "nerdctl"})
SILENT_SECONDS = 0.5  # how long a service without a port must have run: nothing else shows that it is well


class ServiceComponent:
    """One of the host's services.

    Args:
        needs: what must be ready before it starts.
        exported: the variables of the hooks that it waits for; filled while they run.
    """

    def __init__(
        self, config: InstanceConfig, name: str, service: Service, *, needs: Sequence[str], exported: Mapping[str, str]
    ) -> None:
        self.name = name
        self.needs = needs
        self.timeout = service.ready.timeout
        self._config = config
        self._service = service
        self._exported = exported
        self._handle: Handle | None = None
        self._proven = False
        self._crash = CrashDetector(self.log)

    @property
    def port(self) -> int | None:
        return self._config.instance.ports[self._service.port] if self._service.port else None

    @property
    def log(self) -> Path:
        return self._config.instance.log_dir / (self._service.log or f"{self.name}-dev.log")

    def start(self, note: Note) -> bool:
        """Start the service, unless its recorded process runs or its variables say that it is not to run."""
        instance = self._config.instance
        self._handle = running(instance, self.name)
        if self._handle is not None:
            overdue = time.time() - self._handle.record.started_at > self.timeout
            self._crash = CrashDetector(self.log, listened=overdue)
            self._take_lease(self._handle)
            return False
        if reason := why_skipped(self._service, variables(self._config, self._exported)):
            raise SkippedError(reason)
        if census.take().of(instance, self.name):
            note("ending what a crash left")
            stop_component(instance, self.name, self._config.settings.timeouts.stop)
        try:
            self._take_lease(None)
        except ConflictError as conflict:
            if self._service.on_conflict == "skip":
                raise SkippedError(str(conflict)) from conflict
            raise
        self._handle = spawn(instance, self._program())
        self._take_lease(self._handle)
        return True

    def probe(self) -> None:
        """Ask whether it runs and answers, and whether the answer is its own."""
        handle = self.require_alive("before it was ready")
        if self.port is None:
            if time.time() - handle.record.started_at < SILENT_SECONDS:
                raise NotReadyError(f"{self.name} has just been started")
            return
        try:
            self.ask(PROBE_SECONDS)
        except NotReadyError as error:
            if not isinstance(error.__cause__, ConnectionRefusedError):
                self._crash.listening()
                raise
            raise self._not_listening(handle) from error
        self._prove_ours()

    def ask(self, timeout: float) -> None:
        """Ask whether it is ready, as its settings say.

        Raises:
            NotReadyError: it does not answer in this time, or answers that it is not.
        """
        if self.port is None:
            return
        host = self._config.variables["SERVICE_HOST"]
        if self._service.ready.http:
            http_ready(host, self.port, self._service.ready.http, timeout=timeout)
        else:
            tcp_ready(host, self.port, timeout=timeout)

    def listens(self) -> bool:
        """Whether something listens on its port; True for a service without one."""
        return self.port is None or sockets.listens(self._config.variables["SERVICE_HOST"], self.port)

    def require_alive(self, when: str) -> Handle:
        """Require that it runs; `when` ends the sentence otherwise.

        Raises:
            CheckError: with how it ended and the last lines of its log.
        """
        handle = self._handle or running(self._config.instance, self.name)
        code = handle.exit_code() if handle is not None else None
        if handle is not None and code is None:
            return handle
        what = describe_exit(code) if code is not None else "does not run"
        hint = f"see: inv dev.logs -s {self.name} --no-follow"
        if not has_room(self.log.parent):
            when, hint = f"{when}; no space is left for its log", f"free some for {self.log}"
        words = reason(tail(self, LINES))
        raise CheckError(
            f"{self.name} of {self._config.instance} {what} {when}" + (f": {words}" if words else ""),
            hint=hint,
            details=tail(self, TAIL_LINES),
            component=self.name,
        )

    def stop(self, grace: float) -> None:
        """Stop its whole process tree and let go of its lease."""
        stop_component(self._config.instance, self.name, grace)
        if self._service.lease:
            lease.give_back(self._service.lease, self._config.instance)
        self._handle = None

    def logs(self, request: LogRequest) -> Iterator[str]:
        return read(self.log, request)

    def describe_end(self, record: Record) -> str:
        """Say how a recorded process of it ended, as far as this run can know."""
        handle = self._handle
        same = handle is not None and handle.record.mark == record.mark
        code = handle.exit_code() if handle is not None and same else None
        return describe_exit(ended_with(self._config.instance, record) if code is None else code)

    def why_silent(self) -> str:
        """Say that nothing listens on its port, and what its log says of that."""
        words = reason(tail(self, LINES))
        return f"nothing listens on port {self.port}" + (f": {words}" if words else "")

    def _not_listening(self, handle: Handle) -> Exception:
        if not self._crash.crashed(handle.record.pid):
            words = self._crash.last_words
            return NotReadyError(f"nothing listens on port {self.port} yet" + (f": {words}" if words else ""))
        return CheckError(
            f"{self.name} of {self._config.instance} is {NOT_ANSWERING}, {self.why_silent()}",
            hint=f"its processes wait, as file watchers do after a crash; see: inv dev.logs -s {self.name} --no-follow",
            details=tail(self, TAIL_LINES),
        )

    def _prove_ours(self) -> None:
        """A server of another checkout may answer on this port: only a listener of our own tree counts."""
        if self._proven:
            return
        own = census.take().of(self._config.instance, self.name)
        if self.port not in listening_ports(process.pid for process in own):
            if not CONTAINER_CLIENTS.isdisjoint(process.name for process in own):
                raise ConfigError(
                    f"{self.name} of {self._config.instance} runs in a container, whose port {self.port} "
                    "no process of its own has: a service cannot be one",
                    hint=f"describe it as a server instead: orienter.infra.{self.name}, with image and port",
                )
            raise NotReadyError(f"port {self.port} is answered by a process that is not {self.name}'s")
        self._proven = True

    def _take_lease(self, handle: Handle | None) -> None:
        if self._service.lease:
            pid = handle.record.pid if handle is not None else None
            lease.take(self._service.lease, self._config.instance, self.name, pid)

    def _program(self) -> Program:
        key = f"orienter.services.{self.name}."
        named = f"{self.name} of {self._config.instance}, {key}"
        command, cwd, env = invocation(self._config, self._service, self._exported, key=key, named=named)
        for target, source in self._service.copy_once.items():
            where = f"{key}copy_once"
            _copy_once(self._config.instance.root / expand(target, env, where), expand(source, env, where))
        return Program(
            component=self.name,
            command=command,
            cwd=cwd,
            env=env,
            log=self.log,
            logs=self._config.settings.logs,
            needs=self.needs,
            port=self.port or 0,
            with_shim=True,
        )


def _copy_once(target: Path, source: str) -> None:
    """Copy a small file of the user's, unless it is there already or the user has none; only its owner may read it."""
    path, usual = Path(source).expanduser(), Path("~/.local/share").expanduser()
    if os.environ.get("XDG_DATA_HOME") and path.is_relative_to(usual):
        path = Path(os.environ["XDG_DATA_HOME"], path.relative_to(usual))
    if path.exists() and not target.exists():
        try:
            content = read_small(path)
        except OSError as error:
            raise failure(path, f"cannot copy {path}", error) from error
        write_private(target, content)


def invocation(
    config: InstanceConfig, entry: Service | Hook, exported: Mapping[str, str], *, key: str, named: str
) -> tuple[list[str], Path, dict[str, str]]:
    """Return argv, directory and environment of a service or hook, its variables filled in.

    Args:
        config: the instance.
        entry: its settings.
        exported: what hooks have printed so far.
        key: what stands before a key of its settings in messages.
        named: likewise, where the program is not found.

    Raises:
        ConfigError: a variable is not set.
        NotFoundError: there is no such program.
    """
    values = environment(config, exported)
    env = {**values, **{name: expand(value, values, f"{key}env.{name}") for name, value in entry.env.items()}}
    program, *words = expand_all(entry.command, env, f"{key}command")
    cwd = config.instance.root / expand(entry.cwd, values, f"{key}cwd")
    return [resolve_program(program, cwd, env, f"{named}command"), *words], cwd, env


def environment(config: InstanceConfig, exported: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of a service or hook but its own `env`: what hooks exported outranks the user's."""
    values = variables(config, exported)
    return values if "PATH" in exported else {**values, "PATH": search_path(config, values.get("PATH", os.defpath))}


def variables(config: InstanceConfig, exported: Mapping[str, str]) -> dict[str, str]:
    """Return the same without the instance's programs on PATH: enough to decide what runs."""
    return {**config.variables.over(worktree.outside_hook(os.environ)), **exported}


def commands(
    settings: Settings, values: Mapping[str, str]
) -> Iterator[tuple[str, Sequence[str], str, Mapping[str, str], Sequence[str]]]:
    """Give what a start would run: of each service and hook its key, command, directory and further variables.

    The last are the hooks that export to it: without what they export, it may be skipped, or variables may be missing.
    """
    exporters = graph.exporters(settings)
    for name, service in settings.services.items():
        if exporters[name] or not why_skipped(service, values):
            yield f"orienter.services.{name}", service.command, service.cwd, service.env, exporters[name]
    for hook in settings.all_hooks:
        yield f"hook {hook.name}", hook.command, hook.cwd, hook.env, exporters[hook.name]


def resolve_program(name: str, cwd: Path, env: Mapping[str, str], where: str) -> str:
    """Resolve a program by the PATH that it will run with; one with a slash by its directory.

    Raises:
        NotFoundError: when it is nowhere.
    """
    try:
        return find_program(name, cwd, env)
    except OSError as error:
        hint = "install it, or change the command in invoke.yaml; null instead of a service drops it"
        raise NotFoundError(f"{where}: {name!r} was not found", hint=hint) from error


def why_skipped(service: Service, values: Mapping[str, str]) -> str:
    """Say why a service is not started with these variables; "" when it is."""
    missing = [name for name in service.requires_env if not values.get(name)]
    if missing:
        return f"{', '.join(missing)} not set"
    switch = service.enabled_by
    if switch and not truth(values.get(switch, "false"), switch):
        return f"{switch} is false"
    return ""
