"""Each instance has a host name of its own: it is shown, in the documents, and nginx answers by it."""

from __future__ import annotations

import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.load import load_settings
from tests import slot
from tests.backends.nginx.upstream import UPGRADE, exchange, parse, receive
from tests.integration.browsers import Chromium, keeps_sessions_apart
from tests.integration.checkouts import demo_host
from tests.integration.conftest import BACKENDS
from tests.integration.small import BASES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.small import MakeHost

DROPPED = {"postgres": None, "minio": None}
PROJECT = slot.project("host_names")


def status(host: str) -> int:
    """Ask the main checkout's nginx by a name; return the status of its answer."""
    port = BASES["nginx"]
    return parse(exchange(port, "GET /health HTTP/1.1", f"Host: {host}:{port}", "Connection: close"))[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_of_its_own(make_host: MakeHost, backend: str) -> None:
    host = make_host(backend, project=PROJECT, infra=DROPPED, services={"web": None})
    stranger = make_host(backend, project=slot.project("stranger"))
    main, port = host.main, BASES["nginx"]
    name = load_settings({"project": PROJECT}).hostname(0)
    by_name, plain = f"http://{name}:{port}", f"http://localhost:{port}"
    assert "_" not in name

    main.inv("infra.up")
    assert [status(each) for each in (name, "localhost", "127.0.0.1", "[::1]")] == [200] * 4
    assert [status(each) for each in ("x." + PROJECT, name.replace("-0.", "-1."), "evil.example")] == [421] * 3
    for task in ("dev.announce", "dev.status", "env.show", "instances"):
        out = main.inv(task, code=None).out
        assert by_name in out, task
        assert plain not in out, task
    assert by_name in stranger.main.inv("instances").out  # it does not know these settings
    for task in ("dev.status", "env.show", "instances"):
        document = main.inv(task, "--json", code=None).json
        (one,) = document.get("instances", [document])
        assert (one["url"], one["host_url"]) == (plain, by_name), task

    host.configure(main, nginx={"hostname": "", "hosts": ["dev.example.test"]})
    main.inv("nginx.reload")
    assert [status(each) for each in (name, "localhost", "dev.example.test")] == [421, 200, 200]
    for checkout, task in ((main, "dev.announce"), (main, "dev.status"), (stranger.main, "instances")):
        out = checkout.inv(task, code=None).out
        assert plain in out, task
        assert name not in out, task
    assert main.inv("dev.status", "--json", code=None).json["host_url"] == plain


@pytest.mark.embedded
def test_vite_updates_a_page_by_its_host_name(make_host: MakeHost, node_modules: Path) -> None:
    """The websocket is opened as Vite's client in a browser does; names that Vite refuses get as far as Vite."""
    vite = [
        "node",
        str(node_modules / "vite/bin/vite.js"),
        "--port",
        "${VITE_PORT}",
        "--strictPort",
        "--host",
        LOOPBACK,
    ]
    service = {"command": vite, "port": "vite", "ready": {"http": "/@vite/client"}}
    host = make_host(infra=DROPPED, services={"web": None, "vite": service}, nginx={"hosts": ["tunnel.example"]})
    page, port = host.main.path / "index.html", BASES["nginx"]
    page.write_text("<p>first</p>\n")
    host.main.inv("dev", "--detach")
    name = host.main.inv("env.show", "--json").json["host_url"].removeprefix("http://")
    assert name.endswith(f".localhost:{port}")

    def get(path: str, at: str = name) -> tuple[int, str]:
        status, _, body = parse(exchange(port, f"GET {path} HTTP/1.1", f"Host: {at}", "Connection: close"))
        return status, body.decode()

    assert [get("/", at)[0] for at in (f"localhost:{port}", "tunnel.example", "evil.example")] == [200, 403, 421]
    assert "<p>first</p>" in get("/")[1]
    token = re.search(r'wsToken = "([^"]+)"', get("/@vite/client")[1])
    assert token is not None
    with closing(socket.create_connection((LOOPBACK, port), timeout=20)) as connection:
        lines = (f"GET /?token={token[1]} HTTP/1.1", f"Host: {name}", f"Origin: http://{name}", *UPGRADE)
        connection.sendall("\r\n".join([*lines, "Sec-WebSocket-Protocol: vite-hmr", "", ""]).encode())
        assert receive(connection, b'"connected"').startswith(b"HTTP/1.1 101 ")
        page.write_text("<p>second</p>\n")
        assert b'"full-reload"' in receive(connection, b'"full-reload"')
    assert "<p>second</p>" in get("/")[1]


@pytest.mark.embedded
def test_two_logged_in_at_once_in_one_chromium(tmp_path: Path, shared_cluster: None) -> None:
    with Chromium(tmp_path) as browser, demo_host(tmp_path / "home", "embedded", slot.project("two")) as host:
        other = host.worktree(tmp_path / "other")
        for checkout in (host.main, other):
            checkout.inv("dev", "--detach")
        keeps_sessions_apart(browser, host.main, other)
