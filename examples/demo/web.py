"""JSON in, JSON out: the small layer between bottle and the services' own code."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import bottle

from examples.demo.errors import BadInputError, DemoError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_JSON = 64 * 1024


def json_app() -> Any:
    """Return a bottle application that answers faults as {"error": …}."""
    app = bottle.Bottle()
    app.default_error_handler = _plain_error
    app.install(_told)
    return app


def answer(document: object, status: int = 200, **headers: str) -> Any:
    """Return a JSON answer that no cache keeps; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(document, ensure_ascii=False)
    named |= {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return bottle.HTTPResponse(body=body, status=status, headers=named)


def read_body(limit: int) -> bytes:
    """Return the request's body; TooLargeError beyond `limit` bytes."""
    if bottle.request.content_length > limit:
        raise TooLargeError(f"the body is larger than {limit} bytes")
    body: bytes = bottle.request.body.read(limit + 1)
    if len(body) > limit:
        raise TooLargeError(f"the body is larger than {limit} bytes")
    return body


def read_object() -> dict[str, object]:
    """Return the request's body as a JSON object; BadInputError if it is anything else."""
    try:
        document = json.loads(read_body(LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise BadInputError("the body is not JSON") from error
    if not isinstance(document, dict):
        raise BadInputError("the body is not a JSON object")
    return document


def _plain_error(error: Any) -> str:
    bottle.response.content_type = "application/json"
    return json.dumps({"error": str(error.body or error.status_line)})


def _told(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
        except DemoError as error:
            return answer({"error": str(error)}, error.status)

    return wrapped
