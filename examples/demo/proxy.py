"""Hand requests on to another of the instance's services, as Vite's own proxy does."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 30.0
PIECE = 64 * 1024
ONE_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Upstream:
    """A WSGI application that answers with what another server answers."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self._host = host
        self._port = port

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        """Answer one request; 502 if the other server does not."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
        try:
            connection.request(
                environ["REQUEST_METHOD"],
                _target(environ),
                body=environ["wsgi.input"].read(),
                headers=_headers(environ),
            )
            response = connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            start_response("502 Bad Gateway", [("Content-Type", "application/json")])
            fault = {"error": f"{self._name} does not answer on {self._host}:{self._port}"}
            return iter([json.dumps(fault).encode()])
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in ONE_HOP]
        start_response(f"{response.status} {response.reason}", kept)
        return _pieces(connection, response, environ["waitress.client_disconnected"])


def _pieces(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, gone: Callable[[], bool]
) -> Iterator[bytes]:
    with closing(connection), response:
        while not gone():
            try:
                piece = response.read1(PIECE)
            except (OSError, http.client.HTTPException):
                return
            if not piece:
                return
            yield piece


def _target(environ: dict[str, Any]) -> str:
    path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/:@!$&'()*+,;=~")
    query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe="%/?:@!$&'()*+,;=~[]")
    return f"{path}?{query}" if query else path


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    sent = {key[5:].replace("_", "-"): str(value) for key, value in environ.items() if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            sent[key.replace("_", "-")] = environ[key]
    return {name: value for name, value in sent.items() if name.lower() not in ONE_HOP} | {"Connection": "close"}
