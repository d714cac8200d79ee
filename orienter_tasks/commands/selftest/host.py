"""What `inv test` checks: the host's configuration, and the instances that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.infra.choice import NONE
from orienter_tasks.instance.model import PRIVILEGED_NGINX_MOVE, make_instance
from orienter_tasks.lifecycle.config import configure
from orienter_tasks.machine import ports
from orienter_tasks.settings.catalog import NGINX
from orienter_tasks.settings.model import PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.settings.model import Settings


class HostConfig(msgspec.Struct, frozen=True):
    """A host's settings, its `.env`, and the checkout that has them."""

    settings: Settings
    dotenv: Mapping[str, str]
    root: Path

    @property
    def ids(self) -> range:
        """Every possible id."""
        return range(self.settings.instances.max + 1)

    def instance(
        self, number: int, *, environ: Mapping[str, str] | None = None, backends: Backends = NONE
    ) -> InstanceConfig:
        """Return the configuration that an instance would have in this checkout, in a shell with these variables."""
        port = self.settings.ports["nginx"] + number * PORT_STEP
        moved = backends.of(NGINX.name) == "embedded" and not ports.may_bind(port)
        instance = make_instance(
            self.settings, number, self.root, {"nginx": port + PRIVILEGED_NGINX_MOVE} if moved else {}
        )
        return configure(instance, self.settings, self.dotenv, environ or {}, backends=backends)
