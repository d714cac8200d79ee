"""Commands that more than one check recommends."""

from __future__ import annotations

import platform
import shutil

MANAGERS = (("apt-get", "sudo apt-get install"), ("dnf", "sudo dnf install"), ("apk", "sudo apk add"))


def comment_out(name: str) -> str:
    """Return the command that comments out a variable in `.env`, with GNU's sed and with BSD's."""
    return f"sed -i.orienter 's/^{name}=/# &/' .env && rm .env.orienter"


def install(package: str, brew: str = "") -> str:
    """Return the command that installs a system's package here."""
    if platform.system() == "Darwin":
        return f"brew install {brew or package}"
    manager = next((command for program, command in MANAGERS if shutil.which(program)), "install")
    return f"{manager} {package}"
