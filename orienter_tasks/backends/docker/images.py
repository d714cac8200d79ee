"""Images: local ones are used, missing ones are pulled, with progress."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker.engine import REQUEST_SECONDS
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.stack.component import Note

NOTE_SECONDS = 0.25
MEGABYTE = 1_000_000


def is_here(engine: Engine, image: str) -> bool:
    try:
        with engine.talking(f"inspect image {image}"):
            engine.reader.inspect_image(image)
    except NotFoundError:
        return False
    return True


def own_command(engine: Engine, image: str) -> tuple[str, ...]:
    """Return the words of the command that an image would run on its own."""
    with engine.talking(f"inspect image {image}"):
        config = engine.reader.inspect_image(image)["Config"]
    return (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))


def ensure(engine: Engine, image: str, key: str, note: Note) -> None:
    """Pull an image if it is missing; `key` is the settings key that names it."""
    try:
        # without a registry in reach, a pull fails even if the image is here
        if not is_here(engine, image):
            _pull(engine, image, note)
    except (NotFoundError, CheckError, ConflictError) as error:
        # the message says this already
        reason = re.sub(rf"^Docker cannot (pull|inspect image) {re.escape(image)}: ", "", str(error))
        raise BackendError(
            f"image {image} ({key}) is missing and cannot be pulled: {reason}",
            hint=f"see: docker pull {image}; or name another in {key}; or use: inv dev --backend embedded",
        ) from error


def _pull(engine: Engine, image: str, note: Note) -> None:
    note(f"pulling {image}")
    with engine.talking(f"pull {image}", work=REQUEST_SECONDS):
        lines: Any = engine.api.pull(image, stream=True, decode=True)
        with closing(lines):
            _follow(image, lines, note)


def _follow(image: str, lines: Iterable[Mapping[str, Any]], note: Note) -> None:
    layers: dict[str, tuple[int, int]] = {}
    noted = time.monotonic()
    for line in lines:
        if "error" in line:
            raise CheckError(str(line["error"]))
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            layers[line["id"]] = (int(detail["current"]), int(detail["total"]))
        elif line.get("status") == "Download complete" and line["id"] in layers:
            layers[line["id"]] = (layers[line["id"]][1], layers[line["id"]][1])
        if time.monotonic() - noted >= NOTE_SECONDS:
            noted = time.monotonic()
            note(progress(image, layers.values()))


def progress(image: str, layers: Iterable[tuple[int, int]]) -> str:
    """Describe a pull by the layers whose size is known, each as bytes received and total."""
    known = list(layers)
    here, total = (sum(pair[i] for pair in known) / MEGABYTE for i in (0, 1))
    return f"pulling {image}: {here:.0f} of {total:.0f} MB" if total else f"pulling {image}"
