"""What is left of an unexpected exception: a private file to paste into an issue, with secrets masked."""

from __future__ import annotations

import platform
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from orienter_tasks.instance.variables import MASK, is_secret, masked
from orienter_tasks.machine.state import state_dir, write_private
from orienter_tasks.output.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

KEPT = 10
SHORTEST_SECRET = 4  # characters; a shorter one would mask half of the text
DISTRIBUTION = "orienter-tasks"


def write_crash_report(error: BaseException, *, settings: object, variables: Mapping[str, str]) -> Path:
    """Write a report (mode 0600) into the state directory and return its path; only the newest few are kept.

    Args:
        error: the exception.
        settings: what invoke.yaml says under `orienter:`, as nested plain data.
        variables: every variable whose value may be a secret: of the process, of `.env`.

    Raises:
        OrienterError: it cannot be written.
    """
    directory = state_dir() / "crashes"
    seconds, fraction = divmod(time.time_ns(), 10**9)
    path = directory / f"{time.strftime('%Y%m%dT%H%M%S', time.localtime(seconds))}-{fraction:09d}.txt"
    write_private(path, printable(without_secrets(_text(error, settings), settings=settings, variables=variables)))
    for old in sorted(directory.glob("*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def without_secrets(text: str, *, settings: object, variables: Mapping[str, str]) -> str:
    """Return a text with secret values masked, and with the passwords of addresses."""
    written = {form for secret in _secrets(settings, variables) for form in (secret, repr(secret)[1:-1])}
    for form in sorted(written, key=len, reverse=True):
        text = text.replace(form, MASK)
    return masked("", text)


def _text(error: BaseException, settings: object) -> str:
    sections = {
        "command": " ".join(["inv", *sys.argv[1:]]),
        "platform": f"{platform.platform()}, {platform.python_implementation()} {platform.python_version()}",
        "versions": "\n".join(_versions()),
        "settings": "\n".join(_lines(settings)) or "none",
        "traceback": "".join(traceback.format_exception(error)).rstrip(),
    }
    return "".join(f"== {title}\n{content}\n\n" for title, content in sections.items())


def _versions() -> Iterable[str]:
    from importlib import metadata

    required = metadata.requires(DISTRIBUTION) or ()
    names = [line.split(";")[0].split("[")[0].strip().split(">")[0].split("=")[0].strip() for line in required]
    for name in dict.fromkeys([DISTRIBUTION, *names]):
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _lines(value: object, key: str = "orienter") -> Iterable[str]:
    """Write nested settings as dotted keys, a line each."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _lines(inner, f"{key}.{name}")
    elif value is not None:
        yield f"{key}: {MASK if is_secret(key.rpartition('.')[2]) else value!r}"


def _secrets(settings: object, variables: Mapping[str, str]) -> set[str]:
    """Return every value that a name marks as secret, wherever else it may stand in the text."""
    found = {value for name, value in variables.items() if is_secret(name)}
    return {text for text in found | set(_secret_settings(settings)) if len(text) >= SHORTEST_SECRET}


def _secret_settings(value: Any, key: str = "") -> Iterable[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _secret_settings(inner, str(name))
    elif isinstance(value, str) and is_secret(key):
        yield value
