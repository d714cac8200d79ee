"""The Protocols of copying data: what a component adds, and what a backend does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.manifest import Part
    from orienter_tasks.data.room import Need
    from orienter_tasks.data.store import Unfinished
    from orienter_tasks.identity.replacing import Swap
    from orienter_tasks.settings.model import Settings


class Script(NamedTuple):
    """A script of the shell for a container of the component's image, as root.

    It finds the data of the source in `$SOURCE`, and that of the copy in `$TARGET`.
    """

    text: str
    environment: Mapping[str, str]


class Copying(Protocol):
    """How a component's data is copied and given to another instance. Subclass it; five methods have defaults."""

    def names(self, config: InstanceConfig) -> dict[str, str]:
        """Return what the data calls by the instance's own names, such as its database."""
        del config
        return {}

    def place(self, working: Path) -> Path:
        """Return where the data is in the working directory of a native server."""

    def server(self, data: Path) -> str:
        """Say which server can read the data, such as `PostgreSQL 16`."""

    def reader(self, settings: Settings) -> str:
        """Say likewise whose data the native server of these settings reads; "" for any."""
        del settings
        return ""

    def settings_to_read(self, settings: Settings, server: str) -> Settings:
        """Return settings whose native server reads that server's data, if this machine has it; else the same."""
        del server
        return settings

    def copies_files(self, *, running: bool) -> bool:
        """Whether a native server's files are copied as they are, which may let them share blocks with the copies."""

    def copy(self, config: InstanceConfig, target: Path, lock: int, *, running: bool) -> None:
        """Copy the data of an instance's native server; what runs for that inherits the lock.

        Raises:
            OrienterError: it cannot be copied; what is at `target` is of no use.
        """

    def check(self, config: InstanceConfig, target: Path, lock: int) -> None:
        """Require that such a copy is whole, and let it have nothing that is of one server. Errors as of `copy`."""

    def take_over(self, config: InstanceConfig, data: Path, names: Mapping[str, str]) -> None:
        """Give a copy, which no server uses, the names and passwords of an instance, instead of these names."""

    def mount(self) -> str:
        """Return where the component's container has its volume."""

    def copy_script(self, config: InstanceConfig, *, running: bool) -> Script:
        """Return the script that copies the data, calls `copied`, and prints which server can read it.

        It has the network of the source's container where that is `running`, else none.
        """

    def server_script(self) -> str:
        """Return the script that prints which server can read the data in `$SOURCE`; "" where any can."""
        return ""

    def reader_script(self) -> str:
        """Return the script that prints likewise whose data the server of its image reads; "" for any."""
        return ""

    def take_over_script(self, config: InstanceConfig, names: Mapping[str, str]) -> Script:
        """Likewise for `take_over`; it may run in the same container after the other one."""


class Copies(Protocol):
    """The copies of one instance's data on its backend. Everything is prepared beside the present data."""

    def running(self) -> Sequence[str]:
        """Name the components with data that run."""

    def get_ready(self) -> None:
        """Begin to load what copying will need, beside other work."""

    def sizes(self, components: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of the present data of components, of those that are known quickly."""

    def image_of(self, component: str) -> str:
        """Return the id of the image of a component that runs; "" where that is not known."""

    def image_for(self, component: str) -> str:
        """Return the id of the image that a component would have; "" where that is not known."""

    def server(self, component: str) -> str:
        """Say which server can read the present data of a component, such as `PostgreSQL 16`."""

    def reader(self, component: str) -> str:
        """Say likewise whose data the component's server reads; "" for any, or where that is not known."""

    def room(self) -> Path | None:
        """Return where prepared data is kept; None where that cannot be seen from here."""

    def needs(self, sizes: Mapping[str, int], room: Path | None) -> Sequence[Need]:
        """Return what a copy of data of these sizes into a snapshot, or into another instance's room, needs."""

    def copied(self) -> int:
        """Return how many bytes have been written so far, in whatever is being copied."""

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        """Write the data of components into a snapshot; each is copied after those before it."""

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        """Prepare a component's data from that of a snapshot, `what`."""

    def clone(self, components: Sequence[str], source: Copies) -> None:
        """Prepare the data of components from that of another instance on the same backend, likewise in order."""

    def swapping(self) -> AbstractContextManager[Swap]:
        """Yield what puts everything prepared in place of the present data; nothing of it may run, or be started."""

    def discard(self) -> None:
        """Remove what was prepared and not swapped, and what was replaced."""
