"""OpenCode's place: a page that nginx shows only to those who are signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo import pages, process
from examples.demo.configuration import read_instance
from examples.demo.server import serve
from examples.demo.web import answer, json_app

if TYPE_CHECKING:
    from collections.abc import Mapping


def main(environ: Mapping[str, str]) -> int:
    """Serve until told to stop."""
    instance = read_instance(environ)
    app = json_app()
    app.route("/global/health", "GET", lambda: answer({"healthy": True, "version": "demo"}))
    app.route("/", "GET", lambda: pages.render(instance, "opencode.html"))
    return serve("opencode", app, instance, instance.port("opencode"))


if __name__ == "__main__":
    process.run(main)
