"""The SDK's calls that only read, with the same arguments and answers, but without the SDK.

Its import takes longer than an engine takes to answer all the questions of most commands.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orienter_tasks.backends.docker.endpoint import Reply

REFUSED = 400
PATH_STAT = "x-docker-container-path-stat"  # docs.docker.com, «Get information about files in a container»


class RefusalError(Exception):
    """What an engine answers to a request that it refuses: HTTP's status and its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Reader:
    """Reads from an engine, within `Engine.talking`. `ask` sends a method and a target, and returns the reply."""

    def __init__(self, ask: Callable[[str, str, float | None], Reply]) -> None:
        self._ask = ask

    def containers(self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> Any:  # noqa: A002 - the SDK's name
        return self._get("/containers/json", all=int(all), filters=filters)

    def volumes(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Any:
        return self._get("/volumes", filters=filters)

    def networks(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Any:
        return self._get("/networks", filters=filters)

    def inspect_container(self, name: str) -> Any:
        return self._get(f"/containers/{quote(name, safe='')}/json")

    def inspect_exec(self, name: str) -> Any:
        return self._get(f"/exec/{quote(name, safe='')}/json")

    def inspect_volume(self, name: str) -> Any:
        return self._get(f"/volumes/{quote(name, safe='')}")

    def inspect_network(self, name: str) -> Any:
        return self._get(f"/networks/{quote(name, safe='')}")

    def inspect_image(self, name: str) -> Any:
        return self._get(f"/images/{quote(name, safe='/:')}/json")

    def info(self) -> Any:
        return self._get("/info")

    def stats(self, container: str) -> Any:
        """Return one sample of what a container uses."""
        return self._get(f"/containers/{quote(container, safe='')}/stats", stream=0, **{"one-shot": 1})

    def df(self, *, timeout: float, **query: str) -> Any:
        return self._get("/system/df", timeout, **query)

    def path_stat(self, container: str, path: str) -> Any:
        """Describe a file in a container; None if the engine does not.

        The SDK has no call for it: its get_archive makes the engine pack the file, which takes 100 ms instead of 2.
        """
        reply = self._ask("HEAD", _target(f"/containers/{quote(container, safe='')}/archive", {"path": path}), None)
        if reply.status >= REFUSED:
            raise RefusalError(reply.status, f"no {path} in container {container}")
        found = reply.headers.get(PATH_STAT)
        return None if found is None else json.loads(base64.b64decode(found))

    def _get(self, path: str, timeout: float | None = None, /, **query: Any) -> Any:
        reply = self._ask("GET", _target(path, query), timeout)
        if reply.status < REFUSED:
            return json.loads(reply.body)
        raise RefusalError(reply.status, _reason(reply.body))


def _target(path: str, query: Mapping[str, Any]) -> str:
    said = {key: json.dumps(value) if key == "filters" else value for key, value in query.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path


def _reason(body: bytes) -> str:
    """Return the message in an engine's refusal, or all of it if it is not the engine's JSON."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")
