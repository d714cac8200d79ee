"""The copies of an instance's data, by its backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.copying import Copies


def copies_of(backend: str, config: InstanceConfig) -> Copies:
    if backend == "docker":
        from orienter_tasks.infra.container_copies import ContainerCopies

        return ContainerCopies(config)
    from orienter_tasks.infra.native_copies import NativeCopies

    return NativeCopies(config)
