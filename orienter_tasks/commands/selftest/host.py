"""What `inv test` checks: the host's own configuration, as the instances that it would make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.instance.model import make_instance
from orienter_tasks.lifecycle.config import configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import Settings

ANYWHERE = Path("/checkout")  # stands for any: nothing is read or written there


@dataclass(frozen=True)
class HostConfig:
    """The host's settings, and what its checkout's `.env` says."""

    settings: Settings
    dotenv: Mapping[str, str]

    @property
    def ids(self) -> range:
        """Every id that there may be."""
        return range(self.settings.instances.max + 1)

    def instance(self, number: int, root: Path = ANYWHERE, environ: Mapping[str, str] | None = None) -> InstanceConfig:
        """Return what an instance would be in a checkout, and in a shell with these variables."""
        return configure(make_instance(self.settings, number, root), self.settings, self.dotenv, environ or {})
