"""A component that is a container: start, probe, stop, logs."""

from __future__ import annotations

import contextlib
import math
import re
import time
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import images, locality, survey
from orienter_tasks.backends.docker.engine import WORK_SECONDS
from orienter_tasks.backends.docker.logs import read_log
from orienter_tasks.backends.docker.spec import COMPOSE, LABEL_CONFIG, compose_labels, require_ours
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.instance.variables import MASK
from orienter_tasks.machine import ports
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.processes.listeners import listeners
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import LogRequest, NotReadyError, last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.resources import Resources
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.stack.component import Note

LOOK_SECONDS = 0.25
REMOVAL_SECONDS = 10.0
RUN_SECONDS = 30
POLL_SECONDS = 0.05
EXIT_LINES = 15
NANOSECONDS = 1_000_000_000
HOST_NETWORK = "host"
SPECIAL_NETWORKS = ("none", "container:")
LOG_DRIVER = "json-file"
PROOF_PORT = 9

IN_USE = re.compile(r"bind\(\) to \S+:(\d+) failed .*in use")
PORT_TAKEN = re.compile(r"already allocated|already in use|ports are not available", re.IGNORECASE)
PORT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)")


class ContainerComponent:
    """A container of the infrastructure.

    `describe` makes its specification (called only by `start`), `ready` asks once whether it is ready, and `explain`
    reads from its last lines why it ended.
    """

    def __init__(
        self,
        config: InstanceConfig,
        engine: Engine,
        resources: Resources,
        name: str,
        describe: Callable[[], ContainerSpec],
        ready: Callable[[InstanceConfig, Inside], object],
        explain: Callable[[InstanceConfig, Sequence[str]], OrienterError | None],
    ) -> None:
        self.name = name
        self.needs: Sequence[str] = (catalog.LINK,) if engine.endpoint.is_remote else ()
        self.timeout = config.settings.timeouts.infra
        self._config = config
        self._engine = engine
        self._resources = resources
        self._describe = describe
        self._ready = ready
        self._explain = explain
        self._container = config.instance.container(name)
        self._seen_running = -math.inf

    def start(self, note: Note) -> bool:
        """Start it, complete what a crash left unfinished, or replace it when its configuration changed."""
        spec = self._describe()
        found = survey.container(self._engine, self._container)
        if found is not None:
            require_ours("container", self._container, found["Config"]["Labels"], self._config)
            if found["Config"]["Labels"].get(LABEL_CONFIG) == spec.digest:
                if found["State"]["Status"] == survey.RUNNING:
                    self._seen_running = time.monotonic()
                    return False
                if self._resumed(found, spec):
                    return True
            else:
                note("its configuration changed: replacing it")
            self._discard(found, self._config.settings.timeouts.stop)
        self._make(spec, note)
        return True

    def probe(self) -> None:
        """Ask the server; an answer counts only while the container runs."""
        try:
            self._ready(self._config, self)
        except NotReadyError:
            self._require_running()
            raise
        self._require_running()

    def stop(self, grace: float) -> None:
        """Stop and remove it; the network goes with the last container, the volumes stay."""
        found = survey.own_container(self._engine, self._config, self.name)
        if found is not None:
            self._discard(found, grace)
        for each in survey.containers_of(self._engine, self._config.instance):
            if each.component == self.name and each.name != self._container:  # left by a check that was killed
                self._remove(each.id)
        self._resources.remove_network()

    def logs(self, request: LogRequest) -> Iterator[str]:
        found = survey.own_container(self._engine, self._config, self.name)
        if found is not None:
            yield from read_log(self._engine, found["Id"], request)

    def modified(self, path: str) -> str:
        """Return when a file in the container was modified; OrienterError if that cannot be told."""
        return str(survey.file_in(self._engine, self._container, path)["mtime"])

    def run(self, script: str, environment: Mapping[str, str]) -> None:
        """Run a script of the shell in the container; CheckError with what it said if it fails."""
        code, output = execute(self._engine, self._container, ("sh", "-c", script), environment)
        if code != 0:
            log = redacted(self._config, output.splitlines())
            raise CheckError(f"{self.name} of {self._config.instance} cannot be set up", details=log)

    def _make(self, spec: ContainerSpec, note: Note) -> None:
        images.ensure(self._engine, spec.image, spec.image_key, note)
        note("")
        for mount in spec.mounts:
            if mount.kind == "volume":
                self._resources.ensure_volume(spec.component)
        try:
            # the network may also prove whether the engine is on this machine
            needed = bool(spec.network) or not locality.is_known(self._engine)
            with self._resources.joining(needed=needed):
                note("")
                self._launch(create_container(self._engine, self._config.instance, spec), spec)
        except BaseException:
            with contextlib.suppress(OrienterError):
                self._resources.remove_network()
            raise

    def _resumed(self, found: Mapping[str, Any], spec: ContainerSpec) -> bool:
        """Start or unpause an existing container; False when it has to be replaced."""
        status = found["State"]["Status"]
        if status == "paused":
            self._unpause(found)
            self._seen_running = time.monotonic()
            return True
        if status not in (survey.CREATED, "exited"):
            return False
        try:
            with self._resources.joining(needed=False):
                self._launch(found["Id"], spec)
        except NotFoundError:  # its network is gone
            return False
        return True

    def _launch(self, identifier: str, spec: ContainerSpec) -> None:
        try:
            with self._engine.talking(f"start container {spec.name}", work=WORK_SECONDS):
                self._engine.api.start(identifier)
        except BaseException as error:
            with contextlib.suppress(OrienterError):
                self._remove(identifier)
            if isinstance(error, OrienterError) and (port := port_taken(error, spec)) is not None:
                raise self._port_conflict(port, by_engine=refused_by_engine(error)) from error
            raise
        self._seen_running = time.monotonic()

    def _port_conflict(self, port: int, log: Sequence[str] = (), *, by_engine: bool = False) -> ConflictError:
        holder, hint = survey.publisher(self._engine, port), "stop that process, or use another id: AI_INSTANCE_ID=N"
        if not holder and by_engine:
            holder = "Docker itself, for a container that is gone"
            hint = "restart the Docker engine: it may keep a port when it was killed while starting a container"
        if not holder and not self._engine.endpoint.is_remote:
            holder = ", ".join(listener.description for listener in listeners([port]))
        there = f" on {self._engine.endpoint.box}" if self._engine.endpoint.is_remote else ""
        return ConflictError(
            f"{self.name} of {self._config.instance}: port {port} is in use by {holder or 'an unknown process'}{there}",
            hint=hint,
            details=log,
        )

    def _require_running(self) -> None:
        """Check at most every LOOK_SECONDS that the container runs; the error has its exit code and last lines."""
        if time.monotonic() - self._seen_running < LOOK_SECONDS:
            return
        found = survey.container(self._engine, self._container)
        state = found["State"] if found is not None else {}
        if state.get("Status") == survey.RUNNING:
            self._seen_running = time.monotonic()
            return
        log = last(read_log(self._engine, found["Id"], LogRequest(lines=EXIT_LINES))) if found is not None else []
        port = port_refused(log)
        if port is not None:
            raise self._port_conflict(port, log)
        log = redacted(self._config, log)
        raise self._explain(self._config, log) or ended(self._config, self.name, state, log)

    def _discard(self, found: Mapping[str, Any], grace: float) -> None:
        """Stop a container gracefully, remove it, and verify that it is gone."""
        with contextlib.suppress(NotFoundError):
            if found["State"]["Running"]:
                if found["State"]["Status"] == "paused":  # Podman does not stop it as it is
                    self._unpause(found)
                with self._engine.talking(f"stop container {self._container}", work=grace + WORK_SECONDS):
                    self._engine.api.stop(found["Id"], timeout=math.ceil(grace))
            self._remove(found["Id"])
        deadline = time.monotonic() + REMOVAL_SECONDS
        while survey.container(self._engine, found["Id"]) is not None:
            if time.monotonic() > deadline:
                raise CheckError(
                    f"{self.name} of {self._config.instance}: container {self._container} cannot be removed",
                    hint=f"see: docker inspect {self._container}",
                )
            time.sleep(POLL_SECONDS)

    def _unpause(self, found: Mapping[str, Any]) -> None:
        with self._engine.talking(f"unpause container {self._container}"):
            self._engine.api.unpause(found["Id"])

    def _remove(self, identifier: str) -> None:
        # a conflict: its removal is already in progress
        with (
            contextlib.suppress(ConflictError),
            self._engine.talking(f"remove container {self._container}", work=WORK_SECONDS),
        ):
            self._engine.api.remove_container(identifier, force=True, v=True)


def execute(
    engine: Engine, container: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command in a running container; return its exit code and output."""
    with engine.talking(f"run {command[0]} in container {container}", work=RUN_SECONDS):
        started = engine.api.exec_create(container, list(command), environment=dict(environment or {}))["Id"]
        output = engine.api.exec_start(started)
        code = engine.api.exec_inspect(started)["ExitCode"]
    return int(code), output.decode("utf-8", "replace").strip()


def create_container(engine: Engine, instance: Instance, spec: ContainerSpec, *, one_off: bool = False) -> str:
    """Create a container without starting it, and return its id.

    A `one_off` runs one command and is removed: it gets a random name and is hidden from compose.
    """
    _require_within_reach(engine, spec)
    api: Any = engine.api  # the stubs have the wrong type for the networking configuration
    from docker.types import LogConfig  # which the client has loaded

    health = spec.health
    entrypoint, command = spec.entrypoint, spec.command
    if spec.prelude:
        entrypoint, command = ("sh", "-c", spec.prelude, "sh"), images.own_command(engine, spec.image)
    limits = {"max-size": spec.log_max_size, "max-file": str(spec.log_max_file)}
    with engine.talking(f"create container {spec.name}", work=WORK_SECONDS):
        created = api.create_container(
            spec.image,
            name=None if one_off else spec.name,
            entrypoint=list(entrypoint) or None,
            command=list(command) or None,
            environment=dict(spec.environment),
            ports=[(port.container, "tcp") for port in spec.ports],
            labels=spec.all_labels if one_off else {**spec.all_labels, **_compose_labels(instance, spec)},
            healthcheck={
                "test": list(health.test),
                "interval": health.interval * NANOSECONDS,
                "timeout": health.timeout * NANOSECONDS,
                "retries": health.retries,
                "start_period": health.start_period * NANOSECONDS,
            },
            host_config=api.create_host_config(
                network_mode=spec.network or HOST_NETWORK,
                port_bindings={port.container: (port.address, port.host) for port in spec.ports},
                binds=[str(mount) for mount in spec.mounts],
                extra_hosts=dict(spec.extra_hosts),
                shm_size=f"{spec.shared_memory}m" if spec.shared_memory else None,
                log_config=LogConfig(type=LOG_DRIVER, config=limits),
                restart_policy={"Name": "no"},
            ),
            networking_config=api.create_networking_config(
                {spec.network: api.create_endpoint_config(aliases=[spec.component])}
            )
            if spec.network and not spec.network.startswith(SPECIAL_NETWORKS)
            else None,
            use_config_proxy=False,
        )
    return str(created["Id"])


def _require_within_reach(engine: Engine, spec: ContainerSpec) -> None:
    """Require that what a container is to share with this machine is this machine's.

    Raises:
        BackendError: the engine is on another machine, or may be.
    """
    shared = [mount.source for mount in spec.mounts if mount.kind == "bind"] + ([] if spec.network else ["its network"])
    if engine.endpoint.is_remote and shared:
        raise BackendError(
            f"the container {spec.name} needs {', '.join(shared)} of this machine, and the engine is on another",
            hint=f"set orienter.infra.{spec.component}.backend: embedded",
        )
    if not engine.endpoint.is_remote and (shared or spec.ports):
        locality.require(engine, lambda port: _publishes_here(engine, spec, port))


def _publishes_here(engine: Engine, spec: ContainerSpec, port: int) -> bool:
    """Whether a port that a container of this image publishes is taken on this machine; it does nothing but that."""
    api: Any = engine.api
    with engine.talking(f"publish a port with {spec.image}", work=WORK_SECONDS):
        made = api.create_container(
            spec.image,
            entrypoint=["sleep", str(RUN_SECONDS)],
            labels=spec.all_labels,
            ports=[(PROOF_PORT, "tcp")],
            host_config=api.create_host_config(port_bindings={PROOF_PORT: (LOOPBACK, port)}),
        )["Id"]
    try:
        with engine.talking(f"publish a port with {spec.image}", work=WORK_SECONDS):
            api.start(made)
        deadline = time.monotonic() + locality.PROBE_SECONDS
        while ports.is_free(port):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True
    finally:
        with contextlib.suppress(NotFoundError), engine.talking("remove a container", work=WORK_SECONDS):
            api.remove_container(made, force=True, v=True)


def _compose_labels(instance: Instance, spec: ContainerSpec) -> dict[str, str]:
    return {
        **compose_labels(instance, service=spec.component, oneoff="False"),
        f"{COMPOSE}.container-number": "1",
        f"{COMPOSE}.config-hash": spec.digest,  # compose does not list a container without one
        f"{COMPOSE}.project.working_dir": str(instance.root),
    }


def ended(config: InstanceConfig, component: str, state: Mapping[str, Any], log: Sequence[str]) -> CheckError:
    """Describe how a container ended, from the engine's state of it and its last lines."""
    name = config.instance.container(component)
    why = state.get("Error") or ("it ran out of memory" if state.get("OOMKilled") else "")
    return CheckError(
        f"{component} of {config.instance} ended: container {name} is {state.get('Status', 'gone')} "
        f"with exit code {state.get('ExitCode')}{f', {why}' if why else ''}",
        hint="its last lines are below" if log else f"see: docker inspect {name}",
        details=log,
    )


def port_taken(error: OrienterError, spec: ContainerSpec) -> int | None:
    """Return the port when a start failed because that port is in use."""
    if not PORT_TAKEN.search(str(error)):
        return None
    own = [port.host for port in spec.ports]
    named = [int(number) for number in PORT.findall(str(error)) if int(number) in own]
    return next(iter(named or own), None)


def refused_by_engine(error: OrienterError) -> bool:
    """Whether the engine's own list of ports refused one, not the system."""
    return "already allocated" in str(error)


def port_refused(log: Sequence[str]) -> int | None:
    """Return the port that a server on the host's network could not bind."""
    found = IN_USE.search("\n".join(log))
    return int(found[1]) if found else None


def redacted(config: InstanceConfig, log: Sequence[str]) -> list[str]:
    """Mask the instance's passwords in log lines, except a password that equals a user name."""
    shown, inputs = list(log), [name for name in catalog.inputs() if name in config.variables.values]
    secrets = [name for name in inputs if name in catalog.secrets()]
    users = [config.variables[name] for name in inputs if name not in secrets]
    for password in (config.variables[name] for name in secrets):
        if password and password not in users:
            shown = [line.replace(password, MASK) for line in shown]
    return shown
