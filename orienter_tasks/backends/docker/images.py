"""Images: used when they are here, else pulled, telling how far that is."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError, OrienterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.stack.component import Note

NOTE_SECONDS = 0.25
MEGABYTE = 1_000_000


def is_here(engine: Engine, image: str) -> bool:
    """Say whether the engine has an image."""
    api: Any = engine.api  # its stubs say nothing about this call
    try:
        # asked first: without a registry in reach, a pull fails even when the image is here
        with engine.talking(f"inspect image {image}"):
            api.inspect_image(image)
    except NotFoundError:
        return False
    return True


def ensure(engine: Engine, image: str, key: str, note: Note) -> None:
    """See that an image is here, pulling it when it is not.

    Args:
        engine: where.
        image: its reference.
        key: the key of the settings that names it.
        note: told how far the pull is.

    Raises:
        BackendError: it cannot be pulled.
    """
    try:
        if not is_here(engine, image):
            _pull(engine, image, note)
    except (NotFoundError, CheckError, ConflictError) as error:
        raise BackendError(
            f"image {image} ({key}) is not here and cannot be pulled: {_reason(error, image)}",
            hint=f"see: docker pull {image}; or name another in {key}; or use: inv dev --backend embedded",
        ) from error


def _pull(engine: Engine, image: str, note: Note) -> None:
    note(f"pulling {image}")
    with engine.talking(f"pull {image}"):
        lines: Any = engine.api.pull(image, stream=True, decode=True)
        with closing(lines):
            _follow(image, lines, note)


def _follow(image: str, lines: Iterable[Mapping[str, Any]], note: Note) -> None:
    layers: dict[str, tuple[int, int]] = {}
    told = time.monotonic()
    for line in lines:
        if "error" in line:
            raise CheckError(str(line["error"]))
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            layers[line["id"]] = (int(detail["current"]), int(detail["total"]))
        elif line.get("status") == "Download complete" and line["id"] in layers:
            layers[line["id"]] = (layers[line["id"]][1], layers[line["id"]][1])
        if time.monotonic() - told >= NOTE_SECONDS:
            told = time.monotonic()
            note(progress(image, layers.values()))


def progress(image: str, layers: Iterable[tuple[int, int]]) -> str:
    """Say how far a pull is: of the layers whose size is known, how many bytes are here."""
    known = list(layers)
    here, total = (sum(pair[i] for pair in known) / MEGABYTE for i in (0, 1))
    return f"pulling {image}: {here:.0f} of {total:.0f} MB" if total else f"pulling {image}"


def _reason(error: OrienterError, image: str) -> str:
    """Leave out what the message says already."""
    return (
        str(error).removeprefix(f"Docker cannot pull {image}: ").removeprefix(f"Docker cannot inspect image {image}: ")
    )
