"""What becomes of a request when a service is missing."""

from __future__ import annotations

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.nginx import notices
from orienter_tasks.backends.nginx.configuration import LOCAL, plan
from tests.backends.nginx.upstream import SIGNED_IN, Upstream

if TYPE_CHECKING:
    from tests.backends.nginx.lab import RouteLab

pytestmark = pytest.mark.embedded


def test_a_missing_service_is_named_at_once(deserted: RouteLab) -> None:
    ports = deserted.config.instance.ports
    for target, service, port in [
        ("/", "frontend", ports["vite"]),
        ("/api/x", "dashboard", ports["dashboard"]),
        ("/qr", "whatsapp", ports["whatsapp"]),
        ("/opencode/", "dashboard", ports["dashboard"]),
    ]:
        began = time.monotonic()
        status, headers, body = deserted.get(target)
        assert time.monotonic() - began < 1
        assert (status, headers["content-type"]) == (502, "text/plain")
        assert body == f"{service} of instance 3 is not answering on port {port}; why: inv dev.status\n".encode()


def test_a_missing_opencode_is_named_to_whoever_is_signed_in(deserted: RouteLab) -> None:
    ports = deserted.config.instance.ports
    with Upstream("dashboard", ports["dashboard"]).running():
        assert deserted.get("/opencode/x")[0] == 302
        status, _, body = deserted.get("/opencode/x", SIGNED_IN)
    assert status == 502
    assert body.startswith(f"opencode of instance 3 is not answering on port {ports['opencode']}".encode())


def test_the_page_says_why(deserted: RouteLab) -> None:
    port = deserted.config.instance.ports["dashboard"]
    notices.show(deserted.config, {"dashboard": "nothing listens:\x1b[31m SyntaxError: <b>\n$x\udc80", "nobody": "?"})
    status, headers, body = deserted.get("/api/x")
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (502, "text/plain", "nosniff")
    first, why, last = body.decode().splitlines()
    assert first == f"dashboard of instance 3 is not answering on port {port}"
    assert why.partition(": ")[2] == "nothing listens: SyntaxError: <b> $x\ufffd"
    assert last == "see: inv dev.status"
    assert deserted.get("/")[2].startswith(b"frontend of instance 3 is not answering on")
    assert deserted.get("/.no-dashboard")[2] != body  # internal: only in place of an answer
    with closing(http.client.HTTPConnection("127.0.0.1", deserted.port, timeout=10)) as connection:
        connection.request("POST", "/api/x", b"x" * 5_000_000)
        response = connection.getresponse()
        assert (response.status, response.read()) == (502, body)
    notices.show(deserted.config, {})
    assert deserted.get("/api/x")[2] != body
    assert deserted.get("/api/x")[0] == 502


def test_a_big_body_for_a_missing_service_is_answered_too(deserted: RouteLab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", deserted.port, timeout=10)
    with closing(connection):
        connection.request("POST", "/api/upload", b"x" * 5_000_000)
        response = connection.getresponse()
        assert response.status == 502
        assert response.read().startswith(b"dashboard of instance 3")


def test_a_service_that_accepts_nothing_is_given_up_soon(deserted: RouteLab) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(
            socket.create_server(("127.0.0.1", deserted.config.instance.ports["vite"]), backlog=0)
        )
        waiting = stack.enter_context(socket.create_connection(full.getsockname()))
        assert waiting.getpeername() == full.getsockname()
        began = time.monotonic()
        status, _, body = deserted.get("/")
    assert time.monotonic() - began < 2.9
    assert status == 504
    assert body.startswith(b"frontend of instance 3 is not answering")


@pytest.mark.parametrize(("slow", "expected"), [(True, 504), (False, 502)])
def test_a_service_that_was_reached_is_not_called_dead(deserted: RouteLab, slow: bool, expected: int) -> None:
    assert "proxy_read_timeout 1s;" in (deserted.config.instance.nginx_dir / LOCAL).read_text()
    with (
        socket.create_server(("127.0.0.1", deserted.config.instance.ports["vite"])) as listener,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(deserted.get, "/")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if slow:
                answer.exception()  # while the connection is open
        status, _, body = answer.result()
    assert status == expected
    assert body.startswith(b"frontend of instance 3 gave no complete answer on port")


def test_a_slow_answer_is_awaited_for_an_hour(deserted: RouteLab) -> None:
    server, directory = deserted.server, deserted.config.instance.nginx_dir
    (local,) = [file for file in plan(deserted.config, server.nginx_facts(), directory) if file.path.name == LOCAL]
    assert "proxy_read_timeout 1h;" in local.content
