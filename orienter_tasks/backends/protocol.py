"""The Protocol that both backends answer: the same ports, names, credentials and variables on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.processes.census import Census
    from orienter_tasks.settings.model import BackendName, Settings
    from orienter_tasks.stack.component import Component, ComponentStatus


@dataclass(frozen=True)
class InstanceConfig:
    """What follows from a claim, and all that a backend works with: the instance, its settings and its variables."""

    instance: Instance
    settings: Settings
    variables: Variables


@dataclass(frozen=True)
class NginxFacts:
    """What the templates must know of the nginx that this backend runs.

    Attributes:
        listen: address and port inside of it: `127.0.0.1:1080`, or `80` in a bridged container.
        upstream: the host under which it reaches the host's services.
        runtime: the directory for its pid and temporary files, as nginx sees it.
        mime_types: path of nginx's mime.types as nginx sees it.
        user: the user of its workers; "" where the master has no privileges to give up.
    """

    listen: str
    upstream: str
    runtime: str
    mime_types: str
    user: str


@dataclass(frozen=True)
class DataVolume:
    """Data of an instance: a volume or a directory.

    Attributes:
        name: the volume's name, or the directory's path.
        size: bytes; None where it cannot be told quickly.
    """

    name: str
    size: int | None


class Backend(Protocol):
    """The infrastructure of one instance."""

    @property
    def name(self) -> BackendName:
        """Which backend this is."""

    @property
    def service_host(self) -> str:
        """The address on which the host's services must listen for nginx to reach them."""

    def components(self) -> Sequence[Component]:
        """Its components, in the order of the catalog."""

    def nginx_facts(self) -> NginxFacts:
        """What the nginx templates need to know."""

    def check_nginx(self, directory: Path) -> str:
        """Let the real nginx test the `nginx.conf` in DATA_DIR/nginx or a directory below it.

        Returns:
            "" when nginx accepts it, else nginx's own message.
        """

    def reload_nginx(self) -> bool:
        """Make a running nginx read its configuration again; False when it does not run."""

    def status(self, seen: Census | None = None) -> Sequence[ComponentStatus]:
        """What each component is found to be; `seen` is a census that was taken already."""

    def name_conflicts(self) -> Sequence[str]:
        """Name containers, volumes and networks that have this instance's names but are not its own."""

    def bound_ports(self, seen: Census | None = None) -> Mapping[int, str]:
        """Ports that this instance's own components listen on now, with the component's name; `seen` as above."""

    def data_volumes(self, *, sizes: bool = False) -> Sequence[DataVolume]:
        """The data that this instance has on this backend.

        Args:
            sizes: tell their sizes, even where that takes a moment.
        """

    def remove_data(self) -> Sequence[str]:
        """Remove this instance's own data (volumes or directories) and return their names.

        Its components must be stopped.
        """
