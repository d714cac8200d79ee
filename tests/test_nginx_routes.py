"""The shipped template in front of real upstreams: who gets what, and what becomes of it when somebody is missing."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks import nginx
from tests.nginx_lab import Nginx, Upstream, binaries, exchange, get, make_site, parse, receive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orienter_tasks.backends.backend import Site

pytestmark = pytest.mark.embedded

SIGNED_IN = "Cookie: session=good"
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
BIG = 24 * 1024 * 1024


@dataclass(frozen=True)
class Lab:
    """An nginx and all its upstreams."""

    site: Site
    server: Nginx
    upstreams: Mapping[str, Upstream]

    @property
    def port(self) -> int:
        return self.site.instance.ports["nginx"]

    def get(self, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        return get(self.port, target, *headers)


@pytest.fixture(scope="module", params=binaries())
def running_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("routes")
    site = make_site(directory / "checkout")
    server = Nginx(site, binaries()[request.param], directory / "run")
    config = nginx.config_dir(site.instance)
    config.mkdir(parents=True)
    for file in nginx.plan(site, server.nginx_facts(), config):
        file.path.write_text(file.content, encoding="utf-8")
    names = ("vite", "dashboard", "whatsapp", "opencode")
    with ExitStack() as stack:
        started = {name: stack.enter_context(Upstream(name, site.instance.ports[name]).running()) for name in names}
        stack.enter_context(server.running())
        yield Lab(site, server, started)


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    for upstream in running_lab.upstreams.values():
        upstream.reset()
    return running_lab


def test_some_nginx_is_at_hand() -> None:
    assert binaries(), "install the extra `embedded`"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/", "vite"),
        ("/?token=a%20b", "vite"),
        ("/@vite/client", "vite"),
        ("/@fs//home/me/a%20b.ts?import", "vite"),
        ("/src/main.ts?t=1", "vite"),
        ("/node_modules/.vite/deps/react.js?v=1", "vite"),
        ("/apifoo", "vite"),
        ("/qrcode.js", "vite"),
        ("/healthy", "vite"),
        ("/api/notes?q=a%20b&r=%2F", "dashboard"),
        ("/api/files/a%2Fb//c", "dashboard"),
        ("/apps/1/", "dashboard"),
        ("/dashboard/", "dashboard"),
        ("/dashboard/login.js", "dashboard"),
        ("/qr", "whatsapp"),
        ("/qr?x=1", "whatsapp"),
        ("/qr/", "whatsapp"),
        ("/qr/status", "whatsapp"),
        ("/qr.png", "whatsapp"),
        ("/pairing-code", "whatsapp"),
    ],
)
def test_a_target_reaches_its_service_as_it_was_spelt(lab: Lab, target: str, name: str) -> None:
    status, _, body = lab.get(target)
    told = json.loads(body)
    assert (status, told["name"], told["target"]) == (200, name, target)


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ("/opencode/", "/"),
        ("/opencode/?x=1", "/?x=1"),
        ("/opencode/session/a%2Fb%20c?x=%2F&y=1", "/session/a%2Fb%20c?x=%2F&y=1"),
        ("/opencode/a//twice", "/a//twice"),
        ("/opencode/opencode/", "/opencode/"),
        ("//opencode/x", "/x"),
    ],
)
def test_opencode_gets_the_target_without_its_prefix(lab: Lab, target: str, inside: str) -> None:
    status, _, body = lab.get(target, SIGNED_IN)
    told = json.loads(body)
    assert (status, told["name"], told["target"]) == (200, "opencode", inside)


@pytest.mark.parametrize("name", ["opencode", "dashboard", "apps", "api"])
def test_a_missing_slash_is_added_with_a_relative_location(lab: Lab, name: str) -> None:
    status, headers, _ = lab.get(f"/{name}?x=1")
    assert (status, headers["location"]) == (301, f"/{name}/?x=1")


@pytest.mark.parametrize(
    "target",
    [
        *("/opencode/", "/opencode/session", "//opencode/session", "/./opencode/session", "/%6fpencode/session"),
        *("/x/../opencode/session", "/opencode/../opencode/session", "/opencode%2Fsession", "/OpenCode/session"),
        *("/opencode/..%2Fopencode/session", "/dashboard/..%2fopencode/session", "/.opencode-auth"),
    ],
)
@pytest.mark.parametrize("cookie", ["Cookie: session=bad", "X-No-Cookie: 1"])
def test_no_spelling_leads_to_opencode_without_a_session(lab: Lab, target: str, cookie: str) -> None:
    status, headers, _ = lab.get(target, cookie)
    assert lab.upstreams["opencode"].seen == []
    if status == 302:
        assert headers["location"] == "/dashboard/"


def test_nobody_outside_asks_the_guard(lab: Lab) -> None:
    assert lab.get("/.opencode-auth", SIGNED_IN)[0] == 404
    assert lab.upstreams["dashboard"].seen == []


def test_whoever_is_not_signed_in_is_sent_to_the_login(lab: Lab) -> None:
    status, headers, _ = lab.get("/opencode/session?x=1")
    assert (status, headers["location"]) == (302, "/dashboard/")
    assert [seen.target for seen in lab.upstreams["dashboard"].seen] == ["/api/auth/validate"]


def test_the_dashboard_is_asked_without_the_body(lab: Lab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=10)
    with closing(connection):
        headers = {"Cookie": "session=good", "Authorization": "Bearer abc", "Upgrade": "h2c"}
        connection.request("POST", "/opencode/session?x=1", b"prompt", headers)
        assert json.loads(connection.getresponse().read())["length"] == 6
    (asked,) = lab.upstreams["dashboard"].seen
    assert (asked.method, asked.target, asked.body) == ("GET", "/api/auth/validate", b"")
    assert asked.headers["x-original-uri"] == "/opencode/session?x=1"
    assert asked.headers["x-original-method"] == "POST"
    assert asked.headers["authorization"] == "Bearer abc"
    assert asked.headers["cookie"] == "session=good"
    assert not {"upgrade", "content-length", "transfer-encoding"} & asked.headers.keys()


def test_a_chunked_body_passes_the_guard_whole(lab: Lab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=10)
    with closing(connection):
        pieces = iter([b"a" * 70000, b"b"])
        connection.request("POST", "/opencode/session", pieces, {"Cookie": "session=good"}, encode_chunked=True)
        assert json.loads(connection.getresponse().read())["length"] == 70001


def test_a_redirect_of_opencode_keeps_the_prefix(lab: Lab) -> None:
    lab.upstreams["opencode"].status, lab.upstreams["opencode"].headers = 302, {"Location": "/session/1"}
    status, headers, _ = lab.get("/opencode/session", SIGNED_IN)
    assert (status, headers["location"]) == (302, "/opencode/session/1")


def test_upstreams_learn_where_the_request_came_from(lab: Lab) -> None:
    _, _, body = lab.get("/api/x", "X-Forwarded-For: 10.0.0.9")
    headers = json.loads(body)["headers"]
    assert headers["host"] == headers["x-forwarded-host"] == f"localhost:{lab.port}"
    assert headers["x-forwarded-port"] == str(lab.port)
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    ("target", "name", "inside"),
    [
        ("/?token=1", "vite", "/?token=1"),
        ("/api/socket", "dashboard", "/api/socket"),
        ("/opencode/ws", "opencode", "/ws"),
    ],
)
def test_websockets_pass(lab: Lab, target: str, name: str, inside: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        lines = [f"GET {target} HTTP/1.1", f"Host: localhost:{lab.port}", SIGNED_IN, *UPGRADE, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert receive(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        for message in (b"\x81\x02hi", b"\x82\x04\x00\xff\r\n"):
            connection.sendall(message)
            assert receive(connection, message) == message
    (seen,) = lab.upstreams[name].seen
    assert (seen.target, seen.headers["upgrade"], seen.headers["connection"]) == (inside, "websocket", "upgrade")


def test_an_offer_of_http_2_is_not_passed_on(lab: Lab) -> None:
    status, _, body = lab.get("/api/x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    assert status == 200
    assert "upgrade" not in json.loads(body)["headers"]


def test_a_websocket_to_opencode_needs_a_session(lab: Lab) -> None:
    answer = exchange(lab.port, "GET /opencode/ws HTTP/1.1", "Host: localhost", *UPGRADE, until=b"\r\n\r\n")
    assert parse(answer)[0] == 302
    assert lab.upstreams["opencode"].seen == []


@pytest.mark.parametrize(
    ("target", "name"), [("/api/events", "dashboard"), ("/opencode/events", "opencode"), ("/events", "vite")]
)
def test_events_arrive_while_the_stream_is_open(lab: Lab, target: str, name: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{SIGNED_IN}\r\nConnection: close\r\n\r\n".encode())
        assert b"data: first" in receive(connection, b"data: first\n\n")
        assert not lab.upstreams[name].finish.is_set()
        lab.upstreams[name].finish.set()
        assert b"data: last" in receive(connection)


def test_an_upload_reaches_its_service_before_it_has_ended(lab: Lab) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        head = (
            "PUT /api/notes/1/attachment HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode() + b"5\r\nfirst\r\n")
        assert lab.upstreams["dashboard"].first_bytes.wait(5)
        connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")
        status, _, body = parse(receive(connection))
    assert (status, json.loads(body.partition(b"\r\n")[2] or body)["length"]) == (200, 9)


def test_a_big_body_passes_unharmed(lab: Lab) -> None:
    content = hashlib.shake_256(b"seed").digest(BIG)
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
    with closing(connection):
        connection.request("POST", "/api/upload", content)
        assert connection.getresponse().status == 200
    (seen,) = lab.upstreams["dashboard"].seen
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("status", [401, 404, 500, 502, 504])
@pytest.mark.parametrize(("target", "name"), [("/api/x", "dashboard"), ("/opencode/x", "opencode")])
def test_a_services_own_error_is_left_alone(lab: Lab, target: str, name: str, status: int) -> None:
    lab.upstreams[name].status = status
    answered, _, body = lab.get(target, SIGNED_IN)
    assert (answered, json.loads(body)["name"]) == (status, name)


def test_nginx_answers_health_itself(lab: Lab) -> None:
    status, headers, body = lab.get("/health")
    told = json.loads(body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["x-orienter-instance"] == "3"
    assert headers["server"] == "nginx"
    assert (told["project"], told["instance"]) == ("orienter", 3)
    assert told["token"] == nginx.health_token(lab.site.instance)
    assert not any(upstream.seen for upstream in lab.upstreams.values())


def test_it_listens_on_loopback_only(lab: Lab) -> None:
    assert lab.server.process is not None
    master = psutil.Process(lab.server.process.pid)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (master, *master.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", lab.port)}


def test_nginx_has_nothing_to_complain_about(lab: Lab) -> None:
    assert lab.server.check_nginx(nginx.config_dir(lab.site.instance)) == ""
    assert "[warn]" not in lab.server.log
    assert "[emerg]" not in lab.server.log


@pytest.fixture
def deserted(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An nginx none of whose upstreams runs."""
    directory = tmp_path_factory.mktemp("deserted")
    site = make_site(directory / "checkout")
    server = Nginx(site, running_lab.server.binary, directory / "run")
    config = nginx.config_dir(site.instance)
    config.mkdir(parents=True)
    for file in nginx.plan(site, server.nginx_facts(), config):
        file.path.write_text(file.content, encoding="utf-8")
    with server.running():
        yield Lab(site, server, {})


def test_a_missing_service_is_named_at_once(deserted: Lab) -> None:
    ports = deserted.site.instance.ports
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
        assert body == f"{service} of instance 3 does not answer on port {port}; see: inv dev.status\n".encode()


def test_a_missing_opencode_is_named_to_whoever_is_signed_in(deserted: Lab) -> None:
    ports = deserted.site.instance.ports
    with Upstream("dashboard", ports["dashboard"]).running():
        assert deserted.get("/opencode/x")[0] == 302
        status, _, body = deserted.get("/opencode/x", SIGNED_IN)
    assert status == 502
    assert body.startswith(f"opencode of instance 3 does not answer on port {ports['opencode']}".encode())


def test_a_big_body_for_a_missing_service_is_answered_too(deserted: Lab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", deserted.port, timeout=10)
    with closing(connection):
        connection.request("POST", "/api/upload", b"x" * 5_000_000)
        response = connection.getresponse()
        assert response.status == 502
        assert response.read().startswith(b"dashboard of instance 3")


def test_a_service_that_accepts_nothing_is_given_up_soon(deserted: Lab) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", deserted.site.instance.ports["vite"]), backlog=0))
        waiting = stack.enter_context(socket.create_connection(full.getsockname()))
        assert waiting.getpeername() == full.getsockname()
        began = time.monotonic()
        status, _, body = deserted.get("/")
    assert time.monotonic() - began < 2.9
    assert status == 504
    assert body.startswith(b"frontend of instance 3 does not answer")
