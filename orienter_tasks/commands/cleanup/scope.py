"""Which clean-up: how much it may remove, and of which instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings.model import HIGHEST_ID

ScopeName = Literal["orphans", "logs", "daily", "weekly", "instance", "all"]
NAMED: tuple[ScopeName, ...] = ("instance", "all")
THOROUGH: tuple[ScopeName, ...] = ("weekly", *NAMED)
"""Those that remove data."""


@dataclass(frozen=True)
class Scope:
    """A clean-up; `instance` is the id that the user named."""

    name: ScopeName
    instance: int | None = None

    @property
    def named(self) -> bool:
        """Whether the user says what goes, instead of git."""
        return self.name in NAMED

    @property
    def takes_data(self) -> bool:
        return self.name in THOROUGH

    def covers(self, instance: int) -> bool:
        return self.instance in (None, instance)

    def __str__(self) -> str:
        return self.name if self.instance is None else f"{self.name} {self.instance}"


def of_instance(text: str) -> Scope:
    """Build the scope of one instance from the command line's word, which may be anything, also a flag.

    Raises:
        ConfigError: unless it is an id.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 2 or int(text) > HIGHEST_ID:  # noqa: PLR2004 - 56
        hint = "see: inv --help cleanup.instance" if text.startswith("-") else "see: inv instances"
        raise ConfigError(f"invalid instance id {text!r}: ids are 0 to {HIGHEST_ID}", hint=hint)
    return Scope("instance", int(text))
