"""The Protocol of a kind of infrastructure component, on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from orienter_tasks.backends.embedded.programs import PIP_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.component import NativeComponent
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.errors import OrienterError
    from orienter_tasks.infra.copying import Copying
    from orienter_tasks.infra.portable import Portable
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.settings.model import Settings


class ServerContents(msgspec.Struct, frozen=True):
    """What a server contains, and which server it is.

    Attributes:
        names: of the databases or buckets, with those that are `built_in`.
        remedy: how to remove another instance's; its `{name}` and checkout (`{root}`) are filled in.
        key: identifies this server; "" if the server has no such fact.
        facts: further facts about it, by the names in the component's `facts`.
    """

    names: tuple[str, ...]
    remedy: str
    built_in: frozenset[str] = frozenset()
    key: str = ""
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)


class Unmet(msgspec.Struct, frozen=True):
    """What a file of the checkout needs of a server, which lacks it; `where` is the file's line."""

    what: str
    where: str
    remedy: str


class InfraComponent(Protocol):
    """What a kind of server adds to its entry in the catalog; one object for all instances.

    Subclass it; the methods from `client` on have defaults.
    """

    facts: Sequence[str] = ()
    trace: str = ""  # what `leave_trace` leaves in its server, such as a row; "" for a server that keeps nothing

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        """Describe its container; `placed` returns where nginx runs, and may ask the engine."""

    def native(self, config: InstanceConfig) -> NativeComponent:
        """Return an instance's native processes."""

    def ready(self, config: InstanceConfig, inside: Inside) -> object:
        """Ask the server in its container once, as a client of the instance.

        Raises:
            NotReadyError: it does not answer yet.
            OrienterError: waiting does not help, such as with a wrong password.
        """

    def installed(self, settings: Settings) -> bool:
        """Whether its native programs are installed, without running any; ConfigError for a wrong path in settings."""

    def version(self, settings: Settings) -> str:
        """Return the version of its native program; OrienterError if it is missing or cannot run on this machine."""

    def how_to_install(self, settings: Settings) -> str:
        """Return what to do where its native programs are not installed."""
        del settings
        return PIP_LINE

    def client(self, settings: Settings) -> Path | None:
        """Return where the native server's client program would be, such as psql; None if it has none."""
        del settings
        return None

    def copying(self) -> Copying | None:
        """Return how its data is copied; None where it cannot be: then copies of an instance lack it."""
        return None

    def portable(self) -> Portable | None:
        """Return how its data travels between backends, versions and machines; None where it cannot."""
        return None

    def require_startable(self, config: InstanceConfig) -> None:
        """Require what a start needs, such as a configuration."""
        del config

    def require_runnable(self, config: InstanceConfig) -> None:
        """Require that its native server can run as this user."""
        del config

    def explain(self, config: InstanceConfig, log: Sequence[str]) -> OrienterError | None:
        """Return why its container ended, if its last lines show that."""
        del config, log
        return None

    def login(self, config: InstanceConfig) -> str:
        """Use the running server as a service would, and describe the answer; "" if it has no login.

        Raises:
            OrienterError: it does not answer, or the answer is wrong.
        """
        del config
        return ""

    def contents(self, config: InstanceConfig) -> ServerContents:
        """Return what the running server contains; called only if the catalog entry has `holds`.

        Raises:
            OrienterError: it does not answer.
        """
        del config
        return ServerContents((), "")

    def leave_trace(self, config: InstanceConfig, text: str) -> None:
        """Leave a text in the running server."""
        del config, text

    def traces(self, config: InstanceConfig) -> list[str]:
        """Return the texts that were left there."""
        del config
        return []

    def require_valid(self, variables: Variables) -> None:
        """Require that its server accepts the names in an instance's variables; else CheckError."""
        del variables

    def lacks(self, config: InstanceConfig) -> str:
        """Describe what its native server lacks compared with its container; "" for nothing."""
        del config
        return ""

    def unmet(self, config: InstanceConfig, root: Path, *, native: bool, running: bool) -> Sequence[Unmet]:
        """Search a checkout for what it needs of the server, which lacks it; a `running` server is asked itself."""
        del config, root, native, running
        return ()

    def address(self, config: InstanceConfig) -> tuple[str, str] | None:
        """Return its title and where it is, for people."""
        del config
        return None
