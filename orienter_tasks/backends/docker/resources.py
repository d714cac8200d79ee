"""The network and the volumes of an instance: created with labels, and removed only if they have them."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import survey
from orienter_tasks.backends.docker.engine import WORK_SECONDS
from orienter_tasks.backends.docker.spec import (
    COMPOSE_NETWORK,
    LABEL_GENERATION,
    component_labels,
    compose_labels,
    is_ours,
    require_ours,
    volume_key,
)
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.claims import new_token
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig

DISK_USAGE_SECONDS = 5.0
MEASUREMENTS = 3
TYPED_DISK_USAGE = (1, 42)  # the first API version that can be asked about volumes alone

NETWORK_IN_USE = (
    "active endpoints",  # Docker: a container joined it meanwhile
    "network is being used",  # Podman, also by a container that does not run
)


class Resources:
    """The network and the volumes of one instance. Safe to share between threads."""

    def __init__(self, config: InstanceConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._network = threading.Lock()
        self._joining = 0

    @contextmanager
    def joining(self, *, needed: bool) -> Iterator[None]:
        """Keep the network, which is made where it is `needed`, while a container is made that may join it.

        The engine counts a container only once it runs: until then it would let the network be removed.
        """
        with self._network:
            self._joining += 1
        try:
            if needed:
                self.ensure_network()
            yield
        finally:
            with self._network:
                self._joining -= 1

    def ensure_network(self) -> None:
        name = self._config.instance.network
        with self._network:
            found = survey.network(self._engine, name)
            carried = found["Labels"] if found is not None else self._create_network(name)
        require_ours("network", name, carried, self._config)

    def remove_network(self) -> bool:
        """Remove the network unless a container uses it or is about to; return whether it was removed."""
        name = self._config.instance.network
        with self._network:
            found = None if self._joining else survey.network(self._engine, name)
            if found is None or found["Containers"] or not is_ours(found["Labels"], self._config):
                return False
            try:
                with self._engine.talking(f"remove network {name}", work=WORK_SECONDS):
                    self._engine.api.remove_network(found["Id"])
            except NotFoundError:
                return False
            except OrienterError as error:
                if any(words in str(error) for words in NETWORK_IN_USE):
                    return False
                raise
        return True

    def ensure_volume(self, component: str) -> bool:
        """Create the volume of a component, and return whether it is new; an existing one keeps its data."""
        instance = self._config.instance
        name, generation = instance.volume(component), new_token()
        with self._engine.talking(f"create volume {name}", work=WORK_SECONDS):
            # for an existing name, the engine returns that volume and its labels
            found = self._engine.api.create_volume(
                name,
                labels={
                    LABEL_GENERATION: generation,
                    **component_labels(instance, component),
                    **compose_labels(instance, volume=volume_key(component)),
                },
            )
        require_ours("volume", name, found["Labels"], self._config)
        volumes.mark_engine(instance, volumes.EngineMark(self._engine.facts.id, str(self._engine.endpoint)))
        return bool(found["Labels"].get(LABEL_GENERATION) == generation)

    def volumes(self) -> dict[str, str]:
        """Return the names of this instance's own volumes, and whose data they have."""
        instance, order = self._config.instance, [*catalog.with_data()]
        found = survey.volumes(self._engine, project=instance.project, instance=str(instance.id))
        own = [each for each in found if survey.is_of(each, instance) and each.name == instance.volume(each.component)]
        own.sort(key=lambda each: order.index(each.component) if each.component in order else len(order))
        return {each.name: each.component for each in own}

    def generation(self, component: str) -> str:
        """Return the generation of a volume: its label, or when it was created; and of what has replaced its data."""
        found = survey.volume(self._engine, self._config.instance.volume(component)) or {}
        made = str((found.get("Labels") or {}).get(LABEL_GENERATION) or found.get("CreatedAt", ""))
        return replacing.path_in(made, self._config.instance, component)

    def _create_network(self, name: str) -> Mapping[str, str]:
        """Create the network and return its labels, or those of a network that was created at the same moment."""
        instance = self._config.instance
        own = {**instance.labels, **compose_labels(instance, network=COMPOSE_NETWORK)}
        try:
            with self._engine.talking(f"create network {name}", work=WORK_SECONDS):
                # without the check, older engines create a second network of the same name
                self._engine.api.create_network(name, driver="bridge", labels=own, check_duplicate=True)
        except ConflictError:
            found = survey.network(self._engine, name)
            return found["Labels"] if found is not None else own
        except OrienterError as error:
            if "address pool" in str(error):
                raise BackendError(
                    f"Docker has no address range left for network {name}: by default it has about 31",
                    hint="remove unused ones: inv cleanup.daily, docker network prune; or add default-address-pools",
                ) from error
            raise
        return own


def remove_volume(engine: Engine, name: str, *, remedy: str) -> None:
    """Remove a volume, if it is there; when containers use it, the error names them and `remedy` is its hint."""
    raise_unheard()
    try:
        with engine.talking(f"remove volume {name}", work=WORK_SECONDS):
            engine.api.remove_volume(name)
    except NotFoundError:
        return
    except ConflictError as error:
        raise _in_use(engine, name, remedy) from error
    if survey.volume(engine, name) is not None:
        raise CheckError(f"volume {name} is still there after its removal")


def require_unused(engine: Engine, name: str, *, remedy: str) -> None:
    """Require that no container has a volume, in whatever state; errors as of `remove_volume`."""
    if _users(engine, name):
        raise _in_use(engine, name, remedy)


def _users(engine: Engine, name: str) -> list[str]:
    with engine.talking("list containers"):
        found = engine.reader.containers(all=True, filters={"volume": [name]})
    return [container["Names"][0].lstrip("/") for container in found if container["Names"]]


def _in_use(engine: Engine, name: str, remedy: str) -> ConflictError:
    return ConflictError(f"volume {name} is in use by {', '.join(_users(engine, name)) or 'a container'}", hint=remedy)


def volume_sizes(engine: Engine) -> Mapping[str, int]:
    """Return the size in bytes of every volume of an engine; nothing if the engine takes too long."""
    with suppress(OrienterError):
        for _ in range(MEASUREMENTS):
            with suppress(NotFoundError, CheckError):  # Podman refuses if a container or volume goes meanwhile
                return _measured(engine)
    return {}


def _measured(engine: Engine) -> Mapping[str, int]:
    with engine.talking("measure volumes", work=DISK_USAGE_SECONDS):
        version = tuple(int(part) for part in engine.api_version.split("."))
        only = {"type": "volume"} if version >= TYPED_DISK_USAGE else {}
        found = engine.reader.df(timeout=DISK_USAGE_SECONDS, **only).get("Volumes") or ()
    sizes = {volume["Name"]: int((volume.get("UsageData") or {}).get("Size", -1)) for volume in found}
    return {name: size for name, size in sizes.items() if size >= 0}
