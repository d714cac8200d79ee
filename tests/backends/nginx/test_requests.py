"""What a real nginx notes as a request of somebody, and what not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.nginx import configuration, requests
from orienter_tasks.stack.probes import http_ready
from tests.backends.nginx.lab import NOTED, SMALL, write_template
from tests.backends.nginx.upstream import UPGRADE, exchange, get
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.nginx.lab import Nginx, RouteLab

pytestmark = pytest.mark.embedded


def noted(server: Nginx) -> Path:
    return server.runtime / NOTED


def test_a_byte_for_any_number_of_requests(lab: RouteLab) -> None:
    file = noted(lab.server)
    before = file.stat().st_size
    get(lab.port, "/api/x")
    wait_for(lambda: file.stat().st_mtime > time.time() - requests.EVERY, "the first request")
    seen = time.time()
    for _ in range(50):
        get(lab.port, "/api/x")
    assert file.stat().st_size <= before + 1 + (time.time() - seen) / requests.EVERY + 1


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/health", ()),
        ("/api/events", ("Accept: text/event-stream",)),
        ("/api/x", ("User-Agent: orienter-probe",)),
        ("/elsewhere", ("Host: evil.example",)),
    ],
    ids=["health", "events", "probe", "foreign host"],
)
def test_what_is_no_use(running: Nginx, target: str, headers: tuple[str, ...]) -> None:
    port, file = running.config.instance.ports["nginx"], noted(running)
    os.utime(file, (0, 0))
    host = () if any(each.startswith("Host") for each in headers) else ("Host: localhost",)
    exchange(port, f"GET {target} HTTP/1.1", "Connection: close", *host, *headers)
    exchange(port, f"GET {target} HTTP/1.1", "Connection: close", *host, *headers)
    assert file.stat().st_mtime == 0
    get(port, "/api/x")  # the first request to count
    wait_for(lambda: file.stat().st_mtime > 0, "a request")


def test_our_own_probe_and_a_websocket(lab: RouteLab) -> None:
    file = noted(lab.server)
    os.utime(file, (0, 0))
    http_ready("127.0.0.1", lab.port, "/api/x")
    ends = exchange(lab.port, "GET /api/x HTTP/1.1", "Host: localhost", *UPGRADE, until=b"\r\n\r\n")
    assert ends.startswith(b"HTTP/1.1 101")
    get(lab.port, "/health")  # a worker does one thing after the other: the websocket's end is behind it
    assert file.stat().st_mtime == 0


def test_a_template_with_a_log_of_its_own_is_left_alone(server: Nginx) -> None:
    configuration.apply(server.config, server)
    assert requests.are_noted(server.config.instance)
    write_template(server.config, SMALL % "    access_log off;")
    configuration.apply(server.config, server)
    assert not requests.are_noted(server.config.instance)
    assert "limit_req" not in (server.config.instance.nginx_dir / requests.MAIN).read_text(encoding="utf-8")
