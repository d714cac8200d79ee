"""Times and sizes in words."""

from __future__ import annotations

import math
import time

MEGABYTE, GIGABYTE = 10**6, 10**9


def ago(moment: float | None) -> str:
    """Put a past moment into words: `3 min`, `2 h`, `5 d`; "" for none."""
    if not moment:
        return ""
    seconds = max(0.0, time.time() - moment)
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def megabytes(size: int | None) -> str:
    """Put bytes into words; "–" where they are not known."""
    return "–" if size is None else f"{size / MEGABYTE:.0f} MB"


def space(size: int | None) -> str:
    """Put bytes on a disk into words, which may be few or very many; "–" where they are not known."""
    if size is None or size >= MEGABYTE:
        return megabytes(size) if size is None or size < GIGABYTE else f"{size / GIGABYTE:.1f} GB"
    return f"{math.ceil(size / 1000)} kB"
