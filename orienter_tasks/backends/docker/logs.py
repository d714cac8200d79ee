"""The lines of a container's log, from the engine's stream."""

from __future__ import annotations

import contextlib
import http
import struct
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker.engine import REQUEST_SECONDS
from orienter_tasks.errors import BackendError, CheckError
from orienter_tasks.stack.component import EVERY_LINE
from orienter_tasks.stack.logfiles import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from requests import Response

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.stack.component import LogRequest

HEADER = struct.Struct(">BxxxL")
"""Which stream (1 stdout, 2 stderr) and how many bytes; Docker's API, "attach to a container"."""
POLL_SECONDS = 0.1
GONE = (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.CONFLICT)


def read_log(engine: Engine, container: str, request: LogRequest) -> Iterator[str]:
    """Yield the lines of a container's log; with `request.follow`, until that is set or the container ends."""
    follow = request.follow
    params: dict[str, Any] = {"stdout": 1, "stderr": 1, "follow": int(follow is not None)}
    params["tail"] = "all" if request.lines == EVERY_LINE else request.lines
    if request.since is not None:
        params["since"] = f"{request.since:.9f}"
    api, patience = engine.api, None if follow is not None else REQUEST_SECONDS
    url = f"{api.base_url}/v{api.api_version}/containers/{container}/logs"
    try:
        # the SDK's own logs() cannot be interrupted while it waits for the next line
        with (
            engine.talking(f"read the log of {container}"),
            api.get(url, params=params, stream=True, timeout=(REQUEST_SECONDS, patience)) as response,
            _ended_by(follow, response),
        ):
            if response.status_code in GONE:
                return
            if not response.ok:
                raise CheckError(f"Docker cannot read the log of {container}: {response.text.strip()}")
            yield from lines(_frames(response.raw.read))
    except BackendError:
        if follow is None or not follow.is_set():
            raise


def lines(frames: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """Join frames to lines, stdout and stderr separately."""
    begun = defaultdict[int, Lines](Lines)
    for stream, data in frames:
        yield from begun[stream].of(data)
    for each in begun.values():
        yield from each.rest()


def _frames(read_bytes: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    while len(header := read_bytes(HEADER.size)) == HEADER.size:
        stream, length = HEADER.unpack(header)
        yield stream, read_bytes(length)


@contextlib.contextmanager
def _ended_by(follow: threading.Event | None, response: Response) -> Iterator[None]:
    """Close the connection when `follow` is set, since the reader waits in the kernel."""
    if follow is None:
        yield
        return
    read_out = threading.Event()

    def watch() -> None:
        while not read_out.is_set():
            if follow.wait(POLL_SECONDS):
                _cut(response)
                return

    watcher = threading.Thread(target=watch, name="end-of-log", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        read_out.set()
        watcher.join()


def _cut(response: Response) -> None:
    from docker.types.daemon import CancellableStream

    with contextlib.suppress(AttributeError, OSError, ValueError):  # it ended at the same moment
        CancellableStream(iter(()), response).close()
