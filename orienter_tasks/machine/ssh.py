"""OpenSSH's command line: a host's key is always checked, and a forward that cannot be made ends it."""

from __future__ import annotations

from itertools import chain
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTIONS = {
    "ControlMaster": "no",  # else another process would keep the forwards
    "ControlPath": "none",
    "ExitOnForwardFailure": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "3",
    "StreamLocalBindUnlink": "yes",
}
WAIT = "exec cat >/dev/null"
"""What runs there: it ends when nobody holds its input here any more, and then ssh does, also after a SIGKILL."""
NO_LINK = 255
"""The exit code when there is no connection, or none any more."""


def command_line(
    host: str, command: str = "", *, forwards: Iterable[str] = (), may_ask: bool = False, connect_seconds: int = 10
) -> list[str]:
    """Return the words that run a command there, or only forward; nothing is asked unless somebody can answer."""
    options = {
        **OPTIONS,
        "ConnectTimeout": str(connect_seconds),
        "BatchMode": "no" if may_ask else "yes",
        "StrictHostKeyChecking": "ask" if may_ask else "yes",
    }
    settings = chain.from_iterable(("-o", f"{name}={value}") for name, value in options.items())
    only_forward = () if command else ("-N",)
    words = (*settings, *chain.from_iterable(("-L", each) for each in forwards), *only_forward, "--", host)
    return ["ssh", *words, *((command,) if command else ())]


def last_words(said: IO[bytes]) -> str:
    """Return the last line of what ssh has said."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ssh has ended"
