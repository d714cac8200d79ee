"""What the demo's servers share: listen, mark every answer with the instance, stop on SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

from waitress import create_server
from waitress.wasyncore import ExitNow

from examples.demo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from examples.demo.configuration import Instance

LOG = logging.getLogger("demo")
THREADS = 16
LARGEST_BODY = 64 * 1024 * 1024
STOP_SECONDS = 0.5
READING = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_SERVER_ERROR = 500

WSGI = Any
"""A WSGI application; waitress and bottle come without types."""


class Marked:
    """Add the instance's id to each answer, refuse what other sites send, log what changes something."""

    def __init__(self, app: WSGI, instance_id: int) -> None:
        self._app = app
        self._headers = [("X-Orienter-Instance", str(instance_id)), ("X-Content-Type-Options", "nosniff")]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")

        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            if method not in READING or int(status[:3]) >= FIRST_SERVER_ERROR:
                LOG.info("%s %s %s", method, path, status)
            present = {name.lower() for name, _ in headers}
            added = [header for header in self._headers if header[0].lower() not in present]
            return start_response(status, headers + added, exc_info)

        # Browsers say where a request comes from; the cookie alone would let any open page write here.
        if method not in READING and _from_elsewhere(environ):
            start("403 Forbidden", [("Content-Type", "application/json")])
            return [b'{"error": "requests from other sites are refused"}']
        answer: Iterable[bytes] = self._app(environ, start)
        return answer


def _from_elsewhere(environ: dict[str, Any]) -> bool:
    """Whether a page of another site, or of another port, sent a request; programs other than browsers say nothing."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.partition("://")[2].lower() != environ.get("HTTP_HOST", "").lower():
        return True
    return environ.get("HTTP_SEC_FETCH_SITE") == "cross-site"


def serve(name: str, app: WSGI, instance: Instance, port: int) -> int:
    """Serve until SIGTERM or SIGINT and return 0; an answer that does not end on its own is cut off."""
    _raise_on_signals()
    with _listen(instance.host, port) as listener:
        server = create_server(
            Marked(app, instance.id),
            sockets=[listener],
            threads=THREADS,
            ident=f"demo-{name}",
            max_request_body_size=LARGEST_BODY,
            channel_request_lookahead=1,  # or a client that went away is noticed only when something is written
        )
        logging.getLogger("waitress").setLevel(logging.WARNING)
        LOG.info("%s of instance %d listens on http://%s:%d", name, instance.id, instance.host, port)
        try:
            server.run()
        except ExitNow:
            _ignore_signals()
        logging.getLogger("waitress").setLevel(logging.ERROR)  # it would warn of each open event stream
        server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        server.close()
    LOG.info("%s stopped", name)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _raise_on_signals() -> None:
    def stop(signum: int, frame: object) -> None:  # noqa: ARG001
        raise ExitNow  # the one exception that waitress's loop neither swallows nor answers with a long wait

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
