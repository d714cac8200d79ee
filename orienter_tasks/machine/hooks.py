"""Where a shell's hook finds the variables of a checkout: below its path, so that the shell needs to read nothing else.

The files have passwords in them; they go with the claim.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from orienter_tasks.machine.state import state_dir

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMES = ("@.sh", "@.fish", "@.json")


def directory() -> Path:
    """Return the directory of all entries; it is there once a shell has had a hook."""
    return state_dir() / "hooks"


def place(root: Path) -> Path:
    """Return the directory of a checkout's entry."""
    return directory().joinpath(*root.parts[1:])


def forget(roots: Iterable[Path]) -> None:
    """Remove the entries of checkouts that have no instance any more."""
    for root in roots:
        here = place(root)
        for name in NAMES:
            with suppress(OSError):
                (here / name).unlink(missing_ok=True)
        with suppress(OSError):  # others are below it
            while here != directory():
                here.rmdir()
                here = here.parent
