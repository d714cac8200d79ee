"""Two hosts: this repository's own configuration on test ports, and a quite different one with twenty-one ids."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import slot
from tests.conftest import CLEARED, ENGINE, KEPT
from tests.integration.checkouts import DEMO, TEST_IMAGES, Host, demo_host
from tests.repositories import GIT_ENV

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Checkout

OWN_PROJECT = slot.project("test-doctor")
OWN_PORTS = slot.bases()
SHOP_PORTS = slot.bases(
    ("nginx", "gateway", "catalogue", "postgres", "minio_api", "minio_console"), skip=len(OWN_PORTS)
)
SHOP_ID = 12
SHOP_TEMPLATE = """\
{% extends "nginx-local.conf.j2" %}
{% block server %}
    location /gateway/ {
        proxy_pass http://{{ upstream }}:{{ gateway_port }}/;
    }
{% endblock %}
"""


def shop() -> dict[str, Any]:
    """Settings of a host with other services, other bases and more ids than the default's."""
    serve = ["${PYTHON}", "-m", "http.server", "--bind", "${SERVICE_HOST}"]
    return {
        "project": slot.project("test-doctor-shop"),
        "instances": {"max": 20},
        "ports": {**dict.fromkeys(("whatsapp", "dashboard", "opencode", "vite")), **SHOP_PORTS},
        "database": {"name": "shop", "user": "keeper"},
        "storage": {"bucket": "shop-pictures"},
        "nginx": {"template": "shop.conf.j2"},
        "docker": TEST_IMAGES,
        "services": {
            **dict.fromkeys(("frontend", "dashboard", "opencode", "whatsapp", "slack")),
            "catalogue": {
                "command": [*serve, "${CATALOGUE_PORT}"],
                "port": "catalogue",
                "ready": {"http": "/"},
                "needs": ["postgres"],
            },
            "gateway": {
                "command": [*serve, "${GATEWAY_PORT}"],
                "port": "gateway",
                "ready": {"http": "/"},
                "needs": ["catalogue"],
                "env": {"UPSTREAM": "http://127.0.0.1:${CATALOGUE_PORT}"},
            },
        },
        "hooks": {"before_services": [{"name": "greet", "command": ["${PYTHON}", "-c", "print('hello')"]}]},
    }


def make_own(directory: Path, backend: str) -> Host:
    """This repository's own configuration, with the demo application."""
    return demo_host(directory, backend, OWN_PROJECT, timeouts={"stop": 5.0})


def make_shop(directory: Path, backend: str) -> Host:
    """The other configuration; its main checkout is instance 12."""
    made = Host(directory, backend, {**shop(), "timeouts": {"stop": 5.0}}, DEMO)
    (made.main.path / "templates").mkdir()
    (made.main.path / "templates" / "shop.conf.j2").write_text(SHOP_TEMPLATE)
    settled(made.main, AI_INSTANCE_ID=str(SHOP_ID), POSTGRES_PASSWORD="a word of 'its' own")
    return made


@contextmanager
def prepared(state: Path, clusters: Path) -> Iterator[None]:
    """Have a state directory that shares PostgreSQL's template, for what several tests use: `isolated` is for each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _variables(state, clusters):
            if value is None:
                patch.delenv(name)
            else:
                patch.setenv(name, value)
        yield


def _variables(state: Path, clusters: Path) -> Iterator[tuple[str, str | None]]:
    """Make the directory; give the variables to set (None: unset)."""
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "cache").exists():
        (state / "cache").symlink_to(clusters)
    for name in os.environ:
        if name.startswith(CLEARED) and not name.startswith((*KEPT, *ENGINE)):
            yield name, None
    yield from GIT_ENV.items()
    yield "ORIENTER_STATE_DIR", str(state)


def settled(checkout: Checkout, **variables: str) -> Checkout:
    """Write lines into a checkout's `.env`, in place of former ones of those names."""
    path = checkout.path / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0] not in variables]
    path.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in variables.items())]) + "\n")
    path.chmod(0o600)
    return checkout
