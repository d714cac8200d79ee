"""What a check found, how bad it is, and what to do about it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["ok", "warning", "problem"]
MANAGERS = (("apt-get", "sudo apt-get install"), ("dnf", "sudo dnf install"), ("apk", "sudo apk add"))


@dataclass(frozen=True)
class Fix:
    """What `--fix` would do; it can be done twice.

    Attributes:
        what: for people, before they are asked.
        apply: does it.
    """

    what: str
    apply: Callable[[], None]


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        level: ok, warning (works, but should be looked at) or problem (does not work, or will not).
        topic: what was looked at.
        what: what was found.
        remedy: what to do, as a command; "" when there is nothing to do.
        fix: what `--fix` does about it; None when that is for the user to do.
    """

    level: Level
    topic: str
    what: str
    remedy: str = ""
    fix: Fix | None = None


def drop_line(name: str) -> str:
    """Return the command that takes a variable out of `.env`, with GNU's sed and with BSD's."""
    return f"sed -i.bak '/^{name}=/d' .env && rm .env.bak"


def install(package: str, brew: str = "") -> str:
    """Return the command that installs a system's package here."""
    if platform.system() == "Darwin":
        return f"brew install {brew or package}"
    manager = next((command for program, command in MANAGERS if shutil.which(program)), "install")
    return f"{manager} {package}"
