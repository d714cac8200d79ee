"""Variables in the syntax of a shell, a `.env` file or JSON."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Format = Literal["sh", "fish", "dotenv", "json"]
FORMATS: tuple[Format, ...] = ("sh", "fish", "dotenv", "json")


def render(values: Mapping[str, str], format_: Format, *, unset: Sequence[str] = ()) -> str:
    """Format variables for a shell (`sh`, `fish`), as a `.env` file, or as JSON; no trailing newline.

    A shell unsets those in `unset` first.
    """
    if format_ == "json":
        return json.dumps(dict(values), indent=2, ensure_ascii=False)
    forget = {"sh": "unset", "fish": "set -e"}.get(format_)
    lines = [f"{forget} {' '.join(unset)}"] if forget and unset else []
    return "\n".join([*lines, *(_line(name, value, format_) for name, value in values.items())])


def _line(name: str, value: str, format_: Format) -> str:
    if format_ == "fish":
        return f"set -gx {name} {_fish_quote(value)}"
    if format_ == "dotenv":
        return f"{name}={_dotenv_quote(value)}"
    return f"export {name}={shlex.quote(value)}"


def _fish_quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv_quote(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", value):
        return value
    escaped = value.replace("\\", "\\\\")
    if "\r" in value:  # reading a text file would turn it into a line feed
        return '"' + escaped.replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n") + '"'
    return "'" + escaped.replace("'", "\\'") + "'"
