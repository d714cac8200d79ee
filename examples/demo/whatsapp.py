"""The WhatsApp bot's place: a health check, a picture to scan and pairing codes. It connects to nothing."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import bottle

from examples.demo import pages, process, qr
from examples.demo.configuration import read_instance
from examples.demo.errors import BadInputError
from examples.demo.server import serve
from examples.demo.web import answer, json_app, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.demo.configuration import Instance

PHONE = re.compile(r"\+?[0-9]{7,15}")
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE_SECONDS = 60


def build(instance: Instance) -> Any:
    """Return the application."""
    picture = qr.png(qr.pattern(f"instance {instance.id}"))
    state = {"connected": False, "qr": True, "instance": instance.id}
    app = json_app()
    app.route("/health", "GET", lambda: answer({"status": "ok"}))
    app.route("/qr", "GET", lambda: pages.render(instance, "qr.html"))
    app.route("/qr.png", "GET", lambda: bottle.HTTPResponse(body=picture, headers={"Content-Type": "image/png"}))
    app.route("/qr/status", "GET", lambda: answer(state))
    app.route("/pairing-code", "POST", pairing_code)
    return app


def pairing_code() -> Any:
    """Answer with a fresh code of eight letters for a phone number."""
    phone = read_object().get("phone")
    if not isinstance(phone, str) or not PHONE.fullmatch(phone):
        raise BadInputError('"phone" is not a number like +972501234567')
    code = "".join(secrets.choice(LETTERS) for _ in range(8))
    return answer({"code": f"{code[:4]}-{code[4:]}", "expires_in": CODE_SECONDS})


def main(environ: Mapping[str, str]) -> int:
    """Serve until told to stop."""
    instance = read_instance(environ)
    return serve("whatsapp", build(instance), instance, instance.port("whatsapp"))


if __name__ == "__main__":
    process.run(main)
