"""Which backend each component of an instance has: most often one for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from orienter_tasks.settings.model import BackendName

MIXED = "mixed"


class Backends(msgspec.Struct, frozen=True):
    """The backends of an instance.

    Attributes:
        general: that of all components but those in `others`; "" where the instance never had one.
        others: components that have the other backend.
    """

    general: BackendName | Literal[""] = ""
    others: Mapping[str, BackendName] = {}

    def __bool__(self) -> bool:
        return bool(self.general)

    def __str__(self) -> str:
        """Say it to people: `docker`, or `docker, embedded: minio, nginx`."""
        apart = [
            f"{name}: {', '.join(each for each in self.others if self.others[each] == name)}" for name in self._apart
        ]
        return ", ".join([self.general, *apart])

    @property
    def word(self) -> str:
        """The only backend, or that it is mixed."""
        return MIXED if self.others else self.general

    @property
    def text(self) -> str:
        """What a claim or a manifest says; `read` reads it. Versions that know no mixed instances refuse those."""
        return " ".join([self.general, *(f"{name}:{backend}" for name, backend in sorted(self.others.items()))])

    @property
    def used(self) -> Set[BackendName | Literal[""]]:
        return {self.general, *self.others.values()}

    @property
    def _apart(self) -> list[BackendName]:
        return list(dict.fromkeys(self.others.values()))

    def of(self, component: str) -> BackendName | Literal[""]:
        return self.others.get(component, self.general)


def read(text: str) -> Backends:
    """Read what a claim or a manifest says; `choice.make` refuses a backend that is not known."""
    general, *others = text.split() or [""]
    pairs = (word.partition(":")[::2] for word in others)
    return Backends(cast("BackendName", general), {name: cast("BackendName", backend) for name, backend in pairs})


def together(placed: Mapping[str, BackendName], general: BackendName | Literal[""] = "") -> Backends:
    """Return the backends of components; `general`, if any has it, is that of components that are not among them."""
    if general not in placed.values():
        general = next(iter(placed.values()), general)
    return Backends(general, {name: backend for name, backend in placed.items() if backend != general})
