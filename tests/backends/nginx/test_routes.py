"""The shipped template in front of real upstreams: who gets what, and how."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from contextlib import closing

import psutil
import pytest

from orienter_tasks.backends.nginx.health import health_token
from tests.backends.nginx.lab import RouteLab, binaries
from tests.backends.nginx.upstream import SIGNED_IN, UPGRADE, exchange, parse, receive

pytestmark = pytest.mark.embedded

BIG = 24 * 1024 * 1024


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
def test_a_target_reaches_its_service_as_it_was_spelt(lab: RouteLab, target: str, name: str) -> None:
    status, _, body = lab.get(target)
    told = json.loads(body)
    assert (status, told["name"], told["target"]) == (200, name, target)


@pytest.mark.parametrize("name", ["opencode", "dashboard", "apps", "api"])
def test_a_missing_slash_is_added_with_a_relative_location(lab: RouteLab, name: str) -> None:
    status, headers, _ = lab.get(f"/{name}?x=1")
    assert (status, headers["location"]) == (301, f"/{name}/?x=1")


def test_upstreams_learn_where_the_request_came_from(lab: RouteLab) -> None:
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
def test_websockets_pass(lab: RouteLab, target: str, name: str, inside: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        lines = [f"GET {target} HTTP/1.1", f"Host: localhost:{lab.port}", SIGNED_IN, *UPGRADE, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert receive(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        for message in (b"\x81\x02hi", b"\x82\x04\x00\xff\r\n"):
            connection.sendall(message)
            assert receive(connection, message) == message
    (seen,) = lab.upstreams[name].seen
    assert (seen.target, seen.headers["upgrade"], seen.headers["connection"]) == (inside, "websocket", "upgrade")


def test_an_offer_of_http_2_is_not_passed_on(lab: RouteLab) -> None:
    status, _, body = lab.get("/api/x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    assert status == 200
    assert "upgrade" not in json.loads(body)["headers"]


@pytest.mark.parametrize(
    ("target", "name"), [("/api/events", "dashboard"), ("/opencode/events", "opencode"), ("/events", "vite")]
)
def test_events_arrive_while_the_stream_is_open(lab: RouteLab, target: str, name: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{SIGNED_IN}\r\nConnection: close\r\n\r\n".encode()
        )
        assert b"data: first" in receive(connection, b"data: first\n\n")
        assert not lab.upstreams[name].finish.is_set()
        lab.upstreams[name].finish.set()
        assert b"data: last" in receive(connection)


def test_an_upload_reaches_its_service_before_it_has_ended(lab: RouteLab) -> None:
    with closing(socket.create_connection(("127.0.0.1", lab.port), timeout=10)) as connection:
        head = "PUT /api/notes/1/attachment HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += "Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"5\r\nfirst\r\n")
        assert lab.upstreams["dashboard"].first_bytes.wait(5)
        connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")
        status, _, body = parse(receive(connection))
    assert (status, json.loads(body.partition(b"\r\n")[2] or body)["length"]) == (200, 9)


def test_a_big_body_passes_unharmed(lab: RouteLab) -> None:
    content = hashlib.shake_256(b"seed").digest(BIG)
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
    with closing(connection):
        connection.request("POST", "/api/upload", content)
        assert connection.getresponse().status == 200
    (seen,) = lab.upstreams["dashboard"].seen
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize(("target", "name"), [("/x", "vite"), ("/api/x", "dashboard"), ("/opencode/x", "opencode")])
def test_large_headers_cookies_and_urls_pass(lab: RouteLab, target: str, name: str) -> None:
    lab.upstreams[name].headers = {"X-Session": "s" * 40_000}
    query, cookie = "q" * 40_000, "c" * 40_000
    status, headers, body = lab.get(f"{target}?{query}", f"{SIGNED_IN}; much={cookie}")
    told = json.loads(body)
    assert (status, headers["x-session"]) == (200, "s" * 40_000)
    assert told["target"].endswith(query)
    assert told["headers"]["cookie"].endswith(cookie)


NAMES = [
    "localhost",
    "LOCALHOST.",
    "orienter-3.localhost",
    "ORIENTER-3.LocalHost.",
    "app.orienter-3.localhost",
    "127.0.0.1",
    "127.9.8.7",
    "[::1]",
    "dev.test",
    "a.known.example",
    "A.Known.Example.",
]


@pytest.mark.parametrize("host", NAMES)
@pytest.mark.parametrize("port", ["", ":80"])
def test_own_names_are_answered(lab: RouteLab, host: str, port: str) -> None:
    status, _, body = parse(exchange(lab.port, "GET /x HTTP/1.1", f"Host: {host}{port}", "Connection: close"))
    assert (status, json.loads(body)["name"]) == (200, "vite")


def test_a_request_without_a_host_is_answered(lab: RouteLab) -> None:
    assert parse(exchange(lab.port, "GET /x HTTP/1.0"))[0] == 200


FOREIGN = [
    *("evil.example", "localhost.evil.example", "orienter-3.localhost.evil.example", "127.0.0.1.evil.example", "x"),
    *("orienter-2.localhost", "other.localhost", "evil-orienter-3.localhost", "known.example", "10.0.0.1", "[::2]"),
]
ODD = [
    *(
        "",
        "$host",
        "${upstream}",
        '";return',
        "it's",
        "<script>",
        "localhost@evil.example",
        "%6cocalhost",
        "[::1]x",
        "..",
    ),
    *("[::1:1]", "local/host", "localhost\\", "a b", "\x01", "local\x7fhost", "localhost\r\nHost: evil.example"),
]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("target", ["/x", "/api/x", "/opencode/x", "/health", "/qr"])
def test_a_foreign_name_gets_nothing(lab: RouteLab, host: str, target: str) -> None:
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}:{lab.port}", SIGNED_IN, "Connection: close")
    status, headers, body = parse(exchange(lab.port, *lines))
    assert (status, headers["content-type"]) == (421, "text/plain")
    assert body == f"{host} is not a name of instance 3; names of your own: nginx.hosts in invoke.yaml\n".encode()
    assert not any(upstream.seen for upstream in lab.upstreams.values())


def test_nothing_odd_for_a_name_gets_through(lab: RouteLab) -> None:
    for host in ODD:
        status, headers, body = parse(exchange(lab.port, "GET /x HTTP/1.1", f"Host: {host}", "Connection: close"))
        assert status in (400, 421), host  # by its version, nginx refuses more or fewer of them itself
        if status == 421:
            assert (headers["content-type"], headers["x-content-type-options"]) == ("text/plain", "nosniff")
            assert body.decode().startswith(f"{host} is not a name"), host
    assert not any(upstream.seen for upstream in lab.upstreams.values())


@pytest.mark.parametrize(("name", "status"), [("evil.example", 421), ("orienter-3.localhost", 200)])
def test_a_name_in_the_request_line_counts(lab: RouteLab, name: str, status: int) -> None:
    lines = (f"GET http://{name}/x HTTP/1.1", "Host: localhost", "Connection: close")
    assert parse(exchange(lab.port, *lines))[0] == status


@pytest.mark.parametrize("status", [401, 404, 500, 502, 504])
@pytest.mark.parametrize(("target", "name"), [("/api/x", "dashboard"), ("/opencode/x", "opencode")])
def test_a_services_own_error_is_left_alone(lab: RouteLab, target: str, name: str, status: int) -> None:
    lab.upstreams[name].status = status
    answered, _, body = lab.get(target, SIGNED_IN)
    assert (answered, json.loads(body)["name"]) == (status, name)


def test_nginx_answers_health_itself(lab: RouteLab) -> None:
    status, headers, body = lab.get("/health")
    told = json.loads(body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["x-orienter-instance"] == "3"
    assert headers["server"] == "nginx"
    assert (told["project"], told["instance"]) == ("orienter", 3)
    assert told["token"] == health_token(lab.config.instance)
    assert not any(upstream.seen for upstream in lab.upstreams.values())


def test_it_listens_on_loopback_only(lab: RouteLab) -> None:
    assert lab.server.process is not None
    master = psutil.Process(lab.server.process.pid)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (master, *master.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", lab.port)}


def test_nginx_has_nothing_to_complain_about(lab: RouteLab) -> None:
    assert lab.server.check_nginx(lab.config.instance.nginx_dir) == ""
    assert "[warn]" not in lab.server.log
    assert "[emerg]" not in lab.server.log
