"""OpenCode behind the dashboard's word: no way to it without a session."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.backends.nginx.upstream import SIGNED_IN, UPGRADE, exchange, parse

if TYPE_CHECKING:
    from tests.backends.nginx.lab import RouteLab

pytestmark = pytest.mark.embedded


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
def test_opencode_gets_the_target_without_its_prefix(lab: RouteLab, target: str, inside: str) -> None:
    status, _, body = lab.get(target, SIGNED_IN)
    told = json.loads(body)
    assert (status, told["name"], told["target"]) == (200, "opencode", inside)


@pytest.mark.parametrize(
    "target",
    [
        *("/opencode/", "/opencode/session", "//opencode/session", "/./opencode/session", "/%6fpencode/session"),
        *("/x/../opencode/session", "/opencode/../opencode/session", "/opencode%2Fsession", "/OpenCode/session"),
        *("/opencode/..%2Fopencode/session", "/dashboard/..%2fopencode/session", "/.opencode-auth"),
    ],
)
@pytest.mark.parametrize("cookie", ["Cookie: session=bad", "X-No-Cookie: 1"])
def test_no_spelling_leads_to_opencode_without_a_session(lab: RouteLab, target: str, cookie: str) -> None:
    status, headers, _ = lab.get(target, cookie)
    assert lab.upstreams["opencode"].seen == []
    if status == 302:
        assert headers["location"] == "/dashboard/"


def test_nobody_outside_asks_the_guard(lab: RouteLab) -> None:
    assert lab.get("/.opencode-auth", SIGNED_IN)[0] == 404
    assert lab.upstreams["dashboard"].seen == []


def test_whoever_is_not_signed_in_is_sent_to_the_login(lab: RouteLab) -> None:
    status, headers, _ = lab.get("/opencode/session?x=1")
    assert (status, headers["location"]) == (302, "/dashboard/")
    assert [seen.target for seen in lab.upstreams["dashboard"].seen] == ["/api/auth/validate"]


def test_the_dashboard_is_asked_without_the_body(lab: RouteLab) -> None:
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


def test_a_chunked_body_passes_the_guard_whole(lab: RouteLab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=10)
    with closing(connection):
        pieces = iter([b"a" * 70000, b"b"])
        connection.request("POST", "/opencode/session", pieces, {"Cookie": "session=good"}, encode_chunked=True)
        assert json.loads(connection.getresponse().read())["length"] == 70001


def test_a_redirect_of_opencode_keeps_the_prefix(lab: RouteLab) -> None:
    lab.upstreams["opencode"].status, lab.upstreams["opencode"].headers = 302, {"Location": "/session/1"}
    status, headers, _ = lab.get("/opencode/session", SIGNED_IN)
    assert (status, headers["location"]) == (302, "/opencode/session/1")


def test_a_websocket_to_opencode_needs_a_session(lab: RouteLab) -> None:
    answer = exchange(lab.port, "GET /opencode/ws HTTP/1.1", "Host: localhost", *UPGRADE, until=b"\r\n\r\n")
    assert parse(answer)[0] == 302
    assert lab.upstreams["opencode"].seen == []
