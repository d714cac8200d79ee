"""Sites for the Docker backend, on ports, names and images of their own, and the engine's view of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker.engine import Engine
from orienter_tasks.infra.docker import DockerBackend
from orienter_tasks.instance.model import LABEL_ROOT
from tests import slot
from tests.configs import make_config, merged
from tests.integration.checkouts import TEST_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orienter_tasks.backends.docker.endpoint import Endpoint
    from orienter_tasks.backends.protocol import InstanceConfig

PROJECT = slot.project("test-docker")
DEFAULTS: dict[str, Any] = {
    "project": PROJECT,
    "ports": slot.bases(),
    "instances": {"max": 3},
    "docker": TEST_IMAGES,
}


class DockerLab:
    """Makes configs whose roots lie below one directory; `clean` removes by that root's label."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._engines: list[Engine] = []
        self.engine = self.engine_at(None)

    def engine_at(self, endpoint: Endpoint | None) -> Engine:
        """Make an engine object that is closed at the end."""
        self._engines.append(Engine(endpoint))
        return self._engines[-1]

    def config(
        self,
        instance_id: int = 0,
        dotenv: Mapping[str, str] | None = None,
        *,
        root: Path | None = None,
        **orienter: Any,
    ) -> InstanceConfig:
        """Make a config; `orienter` merges into the defaults one section deep."""
        root = root or self.directory / f"checkout-{instance_id}"
        return make_config(root, instance_id, dotenv, **merged(DEFAULTS, orienter))

    def backend(self, config: InstanceConfig) -> DockerBackend:
        """Make a backend that shares nothing with former ones but the engine's connections."""
        return DockerBackend(config, self.engine)

    def count_calls(self) -> Callable[[], int]:
        """Count what the engine is asked from now on."""
        calls: list[object] = []
        patience: Any = self.engine._patience
        call = patience.call

        def counted(ask: object, work: float) -> object:
            calls.append(ask)
            return call(ask, work)

        patience.call = counted
        return lambda: len(calls)

    def clean(self) -> None:
        """Remove every container, volume and network that is labelled with a root below the directory."""
        api = self.engine.api
        wanted = {"label": LABEL_ROOT}
        for found in filter(self._mine, api.containers(all=True, filters=wanted)):
            api.remove_container(found["Id"], force=True, v=True)
        for found in filter(self._mine, api.volumes(filters=wanted)["Volumes"] or ()):
            api.remove_volume(found["Name"], force=True)
        for found in filter(self._mine, api.networks(filters=wanted)):
            api.remove_network(found["Id"])
        for engine in self._engines:
            engine.close()

    def _mine(self, found: Mapping[str, Any]) -> bool:
        return str(found["Labels"].get(LABEL_ROOT, "")).startswith(str(self.directory))
