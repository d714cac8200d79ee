"""The Protocol of the backends: the same ports, names, credentials and variables on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from orienter_tasks.instance.backends import Backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.processes.census import Census
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Component, ComponentStatus


class InstanceConfig(msgspec.Struct, frozen=True):
    """What follows from a claim, and everything that a backend needs; `backends` are the claim's own."""

    instance: Instance
    settings: Settings
    variables: Variables
    backends: Backends = Backends()


class NginxFacts(msgspec.Struct, frozen=True):
    """What the templates need to know about a backend's nginx; paths are as nginx sees them.

    Attributes:
        listen: `127.0.0.1:1080`, or `80` in a bridged container.
        upstream: the host name or address of the host's services.
        directory: that of its configuration.
        runtime: the directory for its pid and temporary files.
        user: the user of its workers; "" if the master has no privileges to drop.
        noted: the file whose time of modification is that of the last request; relative to nginx's prefix, which may
            have any name.
    """

    listen: str
    upstream: str
    directory: str
    runtime: str
    mime_types: str
    user: str
    noted: str


class DataVolume(Struct, frozen=True):
    """Data of an instance: a volume's name, its bytes, None if they take long to measure, and whose it is."""

    name: str
    size: int | None
    component: str = ""


class Inside(Protocol):
    """What a component may do in its own container."""

    def modified(self, path: str) -> str:
        """Return when a file was modified; OrienterError if that cannot be told."""

    def run(self, script: str, environment: Mapping[str, str]) -> None:
        """Run a script of the shell; CheckError with what it said if it fails."""


class Backend(Protocol):
    """The infrastructure of one instance, each component on its backend."""

    @property
    def backends(self) -> Backends:
        """Which backend each component has."""

    @property
    def service_host(self) -> str:
        """The address where the host's services must listen for nginx to reach them."""

    def components(self) -> Sequence[Component]: ...

    def dropped(self, seen: Iterable[str]) -> Sequence[Component]:
        """The components that the settings do not have, to be stopped where an earlier start has them running.

        `seen` names those that are there, as of `status`.
        """

    def nginx_facts(self) -> NginxFacts: ...

    def check_nginx(self, directory: Path) -> str:
        """Let the real nginx test the `nginx.conf` in DATA_DIR/nginx or a directory below it; "" or its message."""

    def reload_nginx(self) -> bool:
        """Make a running nginx reload its configuration; False if it does not run."""

    def status(self, seen: Census | None = None) -> Sequence[ComponentStatus]:
        """The state of each component, from what is running; `seen` is a census that was taken already."""

    def name_conflicts(self) -> Sequence[str]:
        """Containers, volumes and networks with this instance's names that are not its own, for people."""

    def bound_ports(self, seen: Census | None = None) -> Mapping[int, str]:
        """The ports of this machine on which its components listen now, with the component's name; `seen` as above."""

    def data_volumes(self, *, sizes: bool = False) -> Sequence[DataVolume]:
        """This instance's data there; with `sizes`, also sizes that take a moment to measure."""

    def generations(self, components: Sequence[str]) -> Mapping[str, str]:
        """The generation of each component's volume: another one when its data is made anew."""

    def data_bound_to_id(self) -> Sequence[DataVolume]:
        """Those of `data_volumes` that would become the data of whatever instance gets this one's id next."""

    def require_seen(self, take: Callable[[], Census] | None = None) -> None:
        """Require that nothing uses this instance's data where it cannot be seen, such as in a container.

        `take` returns a census, which the caller may have had use for already.

        Raises:
            ConflictError: names what uses it.
        """

    def remove_data(self) -> Sequence[str]:
        """Remove this instance's volumes or directories and return their names; its components must be stopped."""
