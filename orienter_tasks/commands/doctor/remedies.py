"""Commands that more than one check recommends."""

from __future__ import annotations

import platform
import shutil

MANAGERS = (("apt-get", "sudo apt-get install"), ("dnf", "sudo dnf install"), ("apk", "sudo apk add"))


def drop_line(name: str) -> str:
    """Return the command that takes a variable out of `.env`, with GNU's sed and with BSD's."""
    return f"sed -i.bak '/^{name}=/d' .env && rm .env.bak"


def install(package: str, brew: str = "") -> str:
    """Return the command that installs a system's package here."""
    if platform.system() == "Darwin":
        return f"brew install {brew or package}"
    manager = next((command for program, command in MANAGERS if shutil.which(program)), "install")
    return f"{manager} {package}"
