"""HTML pages in the instance's colours, complete in one answer."""

from __future__ import annotations

import secrets
import zlib
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import bottle

if TYPE_CHECKING:
    from examples.demo.configuration import Instance

STATIC = Path(__file__).with_name("static")
TWO_DIGITS = 10


def render(instance: Instance, template: str, **values: str) -> Any:
    """Fill a template of `static/`; values are escaped, and only the page's own styles and scripts may run."""
    nonce = secrets.token_urlsafe(16)
    known = {"id": str(instance.id), "hue": str(instance.hue), "nonce": nonce, **values}
    source = Template((STATIC / template).read_text(encoding="utf-8"))
    page = source.substitute({name: escape(value) for name, value in known.items()}, theme=_theme())
    policy = (
        f"default-src 'self'; style-src 'self' 'nonce-{nonce}'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
    }
    return bottle.HTTPResponse(body=page, headers=headers)


def static_file(name: str) -> Any:
    """Return a file of `static/`, asked for again each time."""
    answer = bottle.static_file(name, root=str(STATIC))
    answer.set_header("Cache-Control", "no-cache")
    return answer


def icon(instance: Instance) -> Any:
    """Return the instance's id on its colour, for the browser's tab."""
    source = Template((STATIC / "icon.svg").read_text(encoding="utf-8"))
    size = 22 if instance.id < TWO_DIGITS else 17
    body = source.substitute(id=instance.id, hue=instance.hue, size=size)
    return bottle.HTTPResponse(body=body, headers={"Content-Type": "image/svg+xml", "Cache-Control": "no-cache"})


def version() -> Any:
    """Return a word that changes whenever a file of `static/` does."""
    files = sorted(path for path in STATIC.rglob("*") if path.is_file())
    stamps = "".join(f"{path.name} {path.stat().st_mtime_ns}\n" for path in files)
    body = f"{zlib.crc32(stamps.encode()):08x}"
    return bottle.HTTPResponse(body=body, headers={"Content-Type": "text/plain", "Cache-Control": "no-store"})


def _theme() -> str:
    return (STATIC / "theme.css").read_text(encoding="utf-8")
