"""Which clean-up: what kinds of resources each one may remove, and of which instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orienter_tasks.commands.cleanup.model import KINDS
from orienter_tasks.errors import ConfigError
from orienter_tasks.settings.model import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.commands.cleanup.model import Kind

ScopeName = Literal["orphans", "logs", "daily", "weekly", "instance", "all"]

_ORPHANS: tuple[Kind, ...] = ("process", "container", "network")
_KINDS: Mapping[ScopeName, tuple[Kind, ...]] = {
    "orphans": _ORPHANS,
    "logs": ("log",),
    "daily": (*_ORPHANS, "record"),
    "weekly": KINDS,
    "instance": KINDS,
    "all": KINDS,
}


@dataclass(frozen=True)
class Scope:
    """A clean-up.

    Attributes:
        name: which.
        instance: the id that the user named, for `instance`.
    """

    name: ScopeName
    instance: int | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it may remove."""
        return _KINDS[self.name]

    @property
    def named(self) -> bool:
        """Whether the user says what goes, and not git."""
        return self.name in ("instance", "all")

    @property
    def takes_data(self) -> bool:
        """Whether it may remove data."""
        return "volume" in self.kinds

    def covers(self, instance: int) -> bool:
        """Say whether it looks at an instance at all."""
        return self.instance in (None, instance)

    def __str__(self) -> str:
        return self.name if self.instance is None else f"{self.name} {self.instance}"


def of_instance(text: str) -> Scope:
    """Build the scope of one instance from what the command line says.

    Raises:
        ConfigError: unless it is an id; Invoke hands on whatever stands there, also a flag.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 2 or int(text) > HIGHEST_ID:  # noqa: PLR2004 - 56
        hint = "see: inv --help cleanup.instance" if text.startswith("-") else "see: inv instances"
        raise ConfigError(f"{text!r} is no instance id: those are 0 to {HIGHEST_ID}", hint=hint)
    return Scope("instance", int(text))
