"""The network and the volumes of an instance: made with labels, removed only when they carry them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import labels, survey
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig

DISK_USAGE_SECONDS = 5.0
TYPED_DISK_USAGE = (1, 42)  # the first API version that can be asked about volumes alone


class Resources:
    """The network and the volumes of one instance. Safe to share between threads.

    Args:
        config: whose.
        engine: where they are.
    """

    def __init__(self, config: InstanceConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._network = threading.Lock()

    def ensure_network(self) -> None:
        """Make the network when there is none.

        Raises:
            ConflictError: the name is somebody else's.
            BackendError: Docker has no addresses left.
        """
        name = self._config.instance.network
        with self._network:
            found = survey.network(self._engine, name)
            carried = found["Labels"] if found is not None else self._create_network(name)
        labels.require_ours("network", name, carried, self._config)

    def remove_network(self) -> bool:
        """Remove the network once no container uses it; say whether it went."""
        name = self._config.instance.network
        with self._network:
            found = survey.network(self._engine, name)
            if found is None or found["Containers"] or not labels.is_ours(found["Labels"], self._config):
                return False
            try:
                with self._engine.talking(f"remove network {name}"):
                    self._engine.api.remove_network(found["Id"])
            except NotFoundError:
                return False
            except OrienterError as error:
                if "active endpoints" in str(error):  # a container has joined it meanwhile
                    return False
                raise
        return True

    def ensure_volume(self, component: str) -> None:
        """Make the volume of a component when there is none; an existing one keeps its data.

        Raises:
            ConflictError: the name is somebody else's.
        """
        instance = self._config.instance
        name = instance.volume(component)
        with self._engine.talking(f"create volume {name}"):
            # asked for an existing name, the engine answers with that volume and its labels
            found = self._engine.api.create_volume(
                name,
                labels={
                    **labels.of_volume(instance, component),
                    **labels.of_compose(instance, volume=labels.volume_key(component)),
                },
            )
        labels.require_ours("volume", name, found["Labels"], self._config)

    def volumes(self) -> list[str]:
        """Name the volumes that are this instance's own."""
        names = [self._config.instance.volume(component) for component in catalog.with_data()]
        found = {name: survey.volume(self._engine, name) for name in names}
        return [name for name, volume in found.items() if volume and labels.is_ours(volume["Labels"], self._config)]

    def _create_network(self, name: str) -> Mapping[str, str]:
        """Make the network and return its labels: another's, when that was made at the same moment."""
        instance = self._config.instance
        own = {**instance.labels, **labels.of_compose(instance, network=labels.COMPOSE_NETWORK)}
        try:
            with self._engine.talking(f"create network {name}"):
                # without the check, older engines make a second network of the same name
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
    """Remove a volume; one that is gone already is as good.

    Raises:
        ConflictError: containers use it, which are named; `remedy` is the hint.
        CheckError: it is still there afterwards.
    """
    try:
        with engine.talking(f"remove volume {name}"):
            engine.api.remove_volume(name)
    except NotFoundError:
        return
    except ConflictError as error:
        with engine.talking("list containers"):
            found = engine.api.containers(all=True, filters={"volume": name})
        users = ", ".join(container["Names"][0].lstrip("/") for container in found if container["Names"])
        raise ConflictError(f"volume {name} is in use by {users or 'a container'}", hint=remedy) from error
    if survey.volume(engine, name) is not None:
        raise CheckError(f"volume {name} is still there after its removal")


def volume_sizes(engine: Engine) -> Mapping[str, int]:
    """Return the size in bytes of every volume of an engine; nothing when it takes too long to tell."""
    api = engine.api
    version = tuple(int(part) for part in api.api_version.split("."))
    only = {"type": "volume"} if version >= TYPED_DISK_USAGE else {}
    try:
        with engine.talking("tell the size of volumes"):
            answer = api.get(f"{api.base_url}/v{api.api_version}/system/df", params=only, timeout=DISK_USAGE_SECONDS)
            found = answer.json().get("Volumes") or ()
    except OrienterError:
        return {}
    sizes = {volume["Name"]: int((volume.get("UsageData") or {}).get("Size", -1)) for volume in found}
    return {name: size for name, size in sizes.items() if size >= 0}
