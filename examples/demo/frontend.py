"""Vite's place: the page that shows which instance this is, and its notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.demo import pages, process
from examples.demo.configuration import read_instance
from examples.demo.errors import ConfigurationError
from examples.demo.proxy import Upstream
from examples.demo.server import serve
from examples.demo.web import json_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from examples.demo.configuration import Instance

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared with, not listened on


class Frontend:
    """Serve the page, and hand what belongs to other services on to them."""

    def __init__(self, instance: Instance, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams
        self._app = json_app()
        self._app.route("/", "GET", lambda: pages.render(instance, "index.html"))
        self._app.route("/favicon.svg", "GET", lambda: pages.icon(instance))
        self._app.route(r"/src/<name:re:[a-z]+\.(?:js|css)>", "GET", lambda name: pages.static_file(f"src/{name}"))
        self._app.route("/@vite/client", "GET", lambda: pages.static_file("client.js"))
        self._app.route("/@vite/version", "GET", pages.version)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        path: str = environ.get("PATH_INFO", "")
        for prefix, upstream in self._upstreams.items():
            if path.startswith(prefix):
                return upstream(environ, start_response)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


def _whatsapp_port(environ: Mapping[str, str], instance: Instance) -> int:
    value = environ.get("WHATSAPP_API_PORT", "")
    if not value:
        return instance.port("whatsapp")
    if not value.isdecimal():
        raise ConfigurationError(f"WHATSAPP_API_PORT is not a number: {value!r}")
    return int(value)


def main(environ: Mapping[str, str]) -> int:
    """Serve the page until told to stop."""
    instance = read_instance(environ)
    host = "127.0.0.1" if instance.host in EVERYWHERE else instance.host
    whatsapp = Upstream("WhatsApp", host, _whatsapp_port(environ, instance))
    dashboard = Upstream("the dashboard", host, instance.port("dashboard"))
    app = Frontend(instance, {"/api/": dashboard, "/dashboard/": dashboard, "/apps/": dashboard, "/qr": whatsapp})
    return serve("frontend", app, instance, instance.port("vite"))


if __name__ == "__main__":
    process.run(main)
