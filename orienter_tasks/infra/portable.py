"""The Protocol of data that travels between backends, versions and machines: what its servers read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.archive import Member, Writer
    from orienter_tasks.data.manifest import Part


class Portable(Protocol):
    """How a component's data is read from its running server, and put into another one."""

    left_out: str
    """What does not travel, in words."""

    def server(self, config: InstanceConfig) -> str:
        """Say which server runs, such as `PostgreSQL 16`."""

    def facts(self, config: InstanceConfig) -> dict[str, str]:
        """Return what the other side must know first."""

    def save(self, config: InstanceConfig, archive: Writer) -> None:
        """Write the data of the running server."""

    def load(self, config: InstanceConfig, part: Part, members: Iterable[Member]) -> None:
        """Put data, which is not to be trusted, into a running server that is thrown away if that fails.

        Raises:
            OrienterError: this server cannot take it.
        """
