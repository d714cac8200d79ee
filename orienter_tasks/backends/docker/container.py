"""A component that is a container: start, probe, stop, logs."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import faults, images, labels, lookup, streams, survey
from orienter_tasks.backends.docker.creation import create
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.processes.listeners import listeners
from orienter_tasks.stack.component import LogRequest, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.resources import Resources
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.stack.component import Note

LOOK_SECONDS = 0.25
REMOVAL_SECONDS = 10.0
POLL_SECONDS = 0.05
EXIT_LINES = 15
KILLED_ENGINE = "one that was killed while it started a container may keep its port"


class ContainerComponent:
    """A container of the infrastructure.

    Args:
        config: whose.
        engine: where.
        resources: its network and volumes.
        name: postgres, minio or nginx.
        describe: makes its specification; called at its start only.
        ready: asks it once whether it is ready.
    """

    def __init__(
        self,
        config: InstanceConfig,
        engine: Engine,
        resources: Resources,
        name: str,
        describe: Callable[[], ContainerSpec],
        ready: Callable[[InstanceConfig], object],
    ) -> None:
        self.name = name
        self.needs: Sequence[str] = ()
        self.timeout = config.settings.timeouts.infra
        self._config = config
        self._engine = engine
        self._resources = resources
        self._describe = describe
        self._ready = ready
        self._container = config.instance.container(name)
        self._seen_running = -math.inf

    def start(self, note: Note) -> bool:
        """Start it, finish what a crash left half-made, or make it anew when its configuration changed."""
        spec = self._describe()
        found = lookup.container(self._engine, self._container)
        if found is not None:
            lookup.require_ours("container", self._container, found["Config"]["Labels"], self._config)
            if found["Config"]["Labels"].get(labels.LABEL_CONFIG) == spec.digest:
                if found["State"]["Status"] == survey.RUNNING:
                    self._seen_running = time.monotonic()
                    return False
                if self._resumed(found, spec):
                    return True
            else:
                note("its configuration changed: making it anew")
            self._discard(found, self._config.settings.timeouts.stop)
        self._make(spec, note)
        return True

    def probe(self) -> None:
        """Ask the server in it; an answer counts only while the container runs."""
        try:
            self._ready(self._config)
        except NotReadyError:
            self._require_running()
            raise
        self._require_running()

    def stop(self, grace: float) -> None:
        """Stop and remove it; the network goes with the last container, the volumes stay."""
        found = lookup.own_container(self._engine, self._config, self._container)
        if found is not None:
            self._discard(found, grace)
        for left in self._one_offs():
            self._remove(left.id)
        self._resources.remove_network()

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Give the lines that its server wrote to stdout and stderr."""
        found = lookup.own_container(self._engine, self._config, self._container)
        if found is not None:
            yield from streams.read(self._engine, found["Id"], request)

    def _one_offs(self) -> list[survey.DockerResource]:
        """Find what a check that was killed has left: our labels, but a name that Docker made up."""
        instance = self._config.instance
        found = survey.containers(self._engine, project=instance.project, instance=str(instance.id))
        mine = [each for each in found if each.root in instance.roots and each.component == self.name]
        return [each for each in mine if each.name != self._container]

    def _make(self, spec: ContainerSpec, note: Note) -> None:
        images.ensure(self._engine, spec.image, spec.image_key, note)
        note("")
        for mount in spec.mounts:
            if mount.kind == "volume":
                self._resources.ensure_volume(spec.component)
        try:
            if spec.network:
                self._resources.ensure_network()
            note("")
            self._launch(create(self._engine, self._config.instance, spec), spec)
        except OrienterError:
            with contextlib.suppress(OrienterError):
                self._resources.remove_network()
            raise

    def _resumed(self, found: Mapping[str, Any], spec: ContainerSpec) -> bool:
        """Let a container that stands still go on; False when it has to be made anew."""
        status = found["State"]["Status"]
        if status == "paused":
            with self._engine.talking(f"unpause container {self._container}"):
                self._engine.api.unpause(found["Id"])
            self._seen_running = time.monotonic()
            return True
        if status not in ("created", "exited"):
            return False
        try:
            self._launch(found["Id"], spec)
        except NotFoundError:  # its network is gone
            return False
        return True

    def _launch(self, identifier: str, spec: ContainerSpec) -> None:
        try:
            with self._engine.talking(f"start container {spec.name}"):
                self._engine.api.start(identifier)
        except OrienterError as error:
            with contextlib.suppress(OrienterError):
                self._remove(identifier)
            port = faults.port_taken(error, spec)
            if port is not None:
                raise self._port_conflict(port, by_engine=faults.held_by_engine(error)) from error
            raise
        self._seen_running = time.monotonic()

    def _port_conflict(self, port: int, log: Sequence[str] = (), *, by_engine: bool = False) -> ConflictError:
        holder, hint = survey.publisher(self._engine, port), "end the holder, or use another id: AI_INSTANCE_ID=N"
        if not holder and by_engine:
            holder, hint = "Docker itself, for a container that is gone", f"restart the Docker engine: {KILLED_ENGINE}"
        holder = holder or ", ".join(listener.description for listener in listeners([port]))
        return ConflictError(
            f"{self.name} of {self._config.instance}: port {port} is taken by {holder or 'an unknown holder'}",
            hint=hint,
            details=log,
        )

    def _require_running(self) -> None:
        """Look from time to time whether the container still runs.

        Raises:
            CheckError: it does not; with its exit code and its last lines.
        """
        if time.monotonic() - self._seen_running < LOOK_SECONDS:
            return
        found = lookup.container(self._engine, self._container)
        state = found["State"] if found is not None else {}
        if state.get("Status") == survey.RUNNING:
            self._seen_running = time.monotonic()
            return
        log = list(streams.read(self._engine, found["Id"], LogRequest(lines=EXIT_LINES))) if found is not None else []
        port = faults.port_refused(log)
        raise faults.ended(self._config, self.name, state, log) if port is None else self._port_conflict(port, log)

    def _discard(self, found: Mapping[str, Any], grace: float) -> None:
        """Stop a container gracefully and remove it, and see that it is gone."""
        with contextlib.suppress(NotFoundError):
            if found["State"]["Running"]:
                with self._engine.talking(f"stop container {self._container}"):
                    self._engine.api.stop(found["Id"], timeout=math.ceil(grace))
            self._remove(found["Id"])
        deadline = time.monotonic() + REMOVAL_SECONDS
        while lookup.container(self._engine, found["Id"]) is not None:
            if time.monotonic() > deadline:
                raise CheckError(
                    f"{self.name} of {self._config.instance}: container {self._container} cannot be removed",
                    hint=f"look with: docker inspect {self._container}",
                )
            time.sleep(POLL_SECONDS)

    def _remove(self, identifier: str) -> None:
        with contextlib.suppress(ConflictError), self._engine.talking(f"remove container {self._container}"):
            # a conflict: its removal is in progress already
            self._engine.api.remove_container(identifier, force=True, v=True)
