"""What each kind of infrastructure component answers, on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.component import NativeComponent
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.errors import OrienterError
    from orienter_tasks.settings.model import Settings


class InfraComponent(Protocol):
    """What a kind of server knows beside its entry in the catalog; one object for all instances.

    Subclass it: a kind that has nothing to say to one of the later questions inherits the answer.
    """

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

    def address(self, config: InstanceConfig) -> tuple[str, str] | None:
        """Return what to call it and where it is, for people."""
        del config
        return None
