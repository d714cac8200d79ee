"""What a check of the host's configuration came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.errors import InterruptError, OrienterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orienter_tasks.settings.model import Settings


@dataclass(frozen=True)
class Outcome:
    """One check.

    Attributes:
        check: what was to be proved.
        ok: whether it was.
        detail: what was looked at, or what is wrong.
        hint: what to do, when something is wrong.
    """

    check: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Premises:
    """What the host's configuration says.

    Attributes:
        settings: its settings.
        dotenv: what the checkout's `.env` says.
    """

    settings: Settings
    dotenv: Mapping[str, str]

    @property
    def ids(self) -> range:
        """Every id that there may be."""
        return range(self.settings.instances.max + 1)


def prove(check: str, proof: Callable[[], str]) -> Outcome:
    """Run a proof: it returns what it looked at, or raises what is wrong."""
    try:
        return Outcome(check, ok=True, detail=proof())
    except InterruptError:
        raise
    except OrienterError as error:
        detail = "\n".join([" ".join(str(error).split()), *error.details])
        return Outcome(check, ok=False, detail=detail, hint=error.hint)
