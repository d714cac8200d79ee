"""What each kind of infrastructure component answers, on both backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.component import NativeComponent
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.errors import OrienterError
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.settings.model import Settings


@dataclass(frozen=True)
class ServerContents:
    """What a server holds, and which server it is.

    Attributes:
        names: of everything it holds.
        built_in: those that every such server has.
        remedy: how to remove another instance's, whose `{name}` and checkout (`{root}`) are filled in.
        key: names this server as no other can be named; "" where it does not tell.
        facts: what else it says of itself, by the names in the component's `facts`.
    """

    names: tuple[str, ...]
    remedy: str
    built_in: frozenset[str] = frozenset()
    key: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class InfraComponent(Protocol):
    """What a kind of server knows beside its entry in the catalog; one object for all instances.

    Subclass it: a kind that has nothing to say to one of the later questions inherits the answer.
    """

    facts: Sequence[str] = ()
    trace: str = ""  # what `leave_trace` leaves in its server, such as a row; "" for a server that keeps nothing

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        """Describe its container; `placed` says where nginx runs, which may have to ask the engine."""

    def native(self, config: InstanceConfig) -> NativeComponent:
        """Return it as native processes of an instance."""

    def ready(self, config: InstanceConfig) -> object:
        """Ask the server in its container once, as a client of the instance.

        Raises:
            NotReadyError: it does not answer yet.
            OrienterError: it never will as it should, such as with another password.
        """

    def installed(self, settings: Settings) -> bool:
        """Say whether its native programs are there, without starting any.

        Raises:
            ConfigError: the settings name a program that is not there.
        """

    def version(self, settings: Settings) -> str:
        """Let its native program say its version.

        Raises:
            OrienterError: it is not there, or cannot run on this machine.
        """

    def require_startable(self, config: InstanceConfig) -> None:
        """Require what a start takes for granted, such as a configuration."""
        del config

    def require_runnable(self, config: InstanceConfig) -> None:
        """Require that its native server can run as this user."""
        del config

    def explain(self, config: InstanceConfig, log: Sequence[str]) -> OrienterError | None:
        """Say why its container ended, where its last lines tell."""
        del config, log
        return None

    def login(self, config: InstanceConfig) -> str:
        """Use the running server as a service would, and say what answers; "" where there is nothing to log in to.

        Raises:
            OrienterError: it does not answer, or not as it should.
        """
        del config
        return ""

    def contents(self, config: InstanceConfig) -> ServerContents:
        """Tell what the running server holds; asked only of a component whose entry says what it `holds`.

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
        """Require that its server takes the names in an instance's variables.

        Raises:
            CheckError: naming the one that it does not take.
        """
        del variables

    def lacks(self, config: InstanceConfig) -> str:
        """Say in a few words what its native server lacks that its container has; "" for nothing."""
        del config
        return ""

    def address(self, config: InstanceConfig) -> tuple[str, str] | None:
        """Return what to call it and where it is, for people."""
        del config
        return None
