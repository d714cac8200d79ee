"""What a program says of its version, which also proves that it can run on this machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from orienter_tasks.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

ASK_SECONDS = 10.0


def version_of(program: Path, *arguments: str) -> str:
    """Run a program for its version and return its output; raises BackendError if it cannot run on this machine."""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise _cannot_run(program, "its loader is missing" if program.exists() else "it is gone") from error
    except subprocess.TimeoutExpired as error:
        raise _cannot_run(program, "it does not answer") from error
    except OSError as error:
        raise _cannot_run(program, error.strerror or str(error)) from error
    words = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise _cannot_run(program, words.splitlines()[0] if words else f"it exits with code {done.returncode}")
    return words


def _cannot_run(program: Path, reason: str) -> BackendError:
    return BackendError(
        f"{program} cannot run here: {reason}",
        hint="it may be built for another system; set one for this system in orienter.embedded",
    )
