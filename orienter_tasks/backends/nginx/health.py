"""Whose nginx answers GET /health: this checkout's, another checkout's, or another server."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.http import http_answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance

RELOAD_SECONDS = 5.0
SETTLED_SECONDS = 0.25  # the old workers answer for 100 ms beside the new ones
POLL_SECONDS = 0.05


def health_token(instance: Instance) -> str:
    """Return what identifies this checkout's nginx in its answer to GET /health."""
    return token_of(instance.root, instance.id)


def token_of(root: Path, number: int) -> str:
    """Return the same of a checkout that may be on another machine."""
    return hashlib.sha256(os.fsencode(root) + b"\0" + str(number).encode()).hexdigest()[:12]


def probe(config: InstanceConfig) -> Mapping[str, Any]:
    """Return the answer to GET /health on the instance's nginx port.

    Raises:
        NotReadyError: nothing answers yet, or not this checkout's nginx; the message says which.
    """
    instance = config.instance
    port = instance.ports["nginx"]
    status, body, answer = _ask(port)
    if status != 200 or "token" not in answer:  # noqa: PLR2004 - HTTP's OK
        seen = body[:60].decode("utf-8", "replace")
        raise NotReadyError(
            f"port {port} answers /health with {status} {seen!r}: that is not the nginx of {instance}, "
            f"or {config.settings.nginx.template} has no /health with its token"
        )
    if answer.get("project") != instance.project or answer.get("instance") != instance.id:
        raise NotReadyError(
            f"port {port} is answered by instance {answer.get('instance')} of {answer.get('project')}, not {instance}"
        )
    if answer["token"] != health_token(instance):
        raise NotReadyError(f"port {port} is answered by an instance {instance.id} of another checkout")
    return answer


def answering_token(port: int) -> str:
    """Return what identifies the nginx that answers on a port; "" for another server.

    Raises:
        NotReadyError: nothing answers.
    """
    return str(_ask(port)[2].get("token", ""))


def await_revision(config: InstanceConfig, revision: str) -> None:
    """Wait until only that revision answers; an answer without a revision counts.

    Raises:
        NotReadyError: what still answers after RELOAD_SECONDS.
    """
    deadline, since = time.monotonic() + RELOAD_SECONDS, None
    while True:
        now = time.monotonic()
        try:
            _require_revision(config, revision)
        except NotReadyError:
            since = None
            if now > deadline:
                raise
        else:
            since = now if since is None else since
            if now - since >= SETTLED_SECONDS:
                return
        time.sleep(POLL_SECONDS)


def _require_revision(config: InstanceConfig, revision: str) -> None:
    if probe(config).get("revision", revision) != revision:
        raise NotReadyError("it still uses the previous one")


def _ask(port: int) -> tuple[int, bytes, dict[str, Any]]:
    status, body = http_answer("127.0.0.1", port, "/health")
    return status, body, _json_object(body)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
