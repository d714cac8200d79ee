"""The names of our tasks in messages: the tasks themselves know by which they can be called here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

rename: Callable[[str], str] = str
"""Changes the names in a text; `tasks/task.py` puts its own in place of this one, which changes nothing."""
