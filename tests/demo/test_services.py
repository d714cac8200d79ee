"""The page's server and the small services."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from examples.demo import qr
from tests.demo import stack, stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.demo.stack import Instance, Service

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def frontend(instance: Instance) -> Service:
    return instance.frontend()


@pytest.fixture(scope="module")
def whatsapp(instance: Instance) -> Service:
    return instance.start("whatsapp", "WHATSAPP_PORT", "/health")


def test_the_page_is_the_instances_own_and_needs_nothing_from_outside(frontend: Service) -> None:
    answer = frontend.ask("/")
    page = answer.body.decode()
    assert answer.headers["X-Orienter-Instance"] == "3"
    assert '<html lang="en" data-instance="3">' in page
    assert "--hue: 214;" in page
    assert "$" not in page
    nonce = re.search(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
    assert nonce is not None
    assert f'<style nonce="{nonce[1]}">' in page
    assert nonce[1] not in frontend.ask("/").body.decode()
    assert not re.search(r"(src|href)=.?(https?:)?//", page)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/@vite/client", "text/javascript"),
        ("/src/main.js", "text/javascript"),
        ("/src/api.js", "text/javascript"),
        ("/src/notes.js", "text/javascript"),
        ("/src/style.css", "text/css"),
        ("/favicon.svg", "image/svg+xml"),
        ("/@vite/version", "text/plain"),
    ],
)
def test_the_pages_files(frontend: Service, path: str, kind: str) -> None:
    answer = frontend.ask(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["Cache-Control"].startswith("no-")


@pytest.mark.parametrize(
    "path", ["/src/../index.html", "/src/..%2f..%2ffrontend.py", "/src/%2e%2e/login.js", "/src//etc"]
)
def test_no_other_files(frontend: Service, path: str) -> None:
    assert frontend.ask(path).status in {403, 404}


def test_the_page_reaches_the_api(dashboard: Service, frontend: Service) -> None:
    answer = frontend.send("/api/notes", {"text": "by way of the page"})
    assert answer.status == 201
    path = f"/api/notes/{answer.json['id']}/attachment"
    body = bytes(range(256)) * 1000
    assert frontend.ask(f"{path}?x=%20y", "PUT", body=body, headers={"Content-Type": "a/b; c=d"}).status == 200
    back = frontend.ask(path)
    assert (back.body, back.headers["Content-Type"]) == (body, "a/b; c=d")
    assert back.headers.get_all("X-Orienter-Instance") == ["3"]
    assert dashboard.ask(path).body == body
    assert frontend.ask("/api/%C3%A9 ?".replace(" ", "%20")).json["error"] == "Not found: '/api/é '"
    assert "Sign in" in frontend.ask("/dashboard/").body.decode()


def test_an_odd_query_passes_through(frontend: Service, dashboard: Service) -> None:
    assert dashboard.ask("/api/notes").status == 200
    with socket.create_connection(("127.0.0.1", frontend.port), timeout=10) as connection:
        connection.sendall(b"GET /api/notes?a=\x01[%41] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_events_pass_through_at_once(dashboard: Service, frontend: Service) -> None:
    with frontend.events() as events:
        while not events.readline().startswith(b"data:"):
            pass
        began = time.monotonic()
        dashboard.send("/api/notes", {"text": "x"})
        while not events.readline().startswith(b"data:"):
            pass
        assert time.monotonic() - began < 1


def test_a_dashboard_that_is_down_is_told(new_instance: Callable[[int], Instance]) -> None:
    service = new_instance(4).frontend()
    assert service.ask("/").status == 200
    answer = service.ask("/api/notes")
    assert answer.status == 502
    assert "the dashboard does not answer" in answer.json["error"]
    assert "WhatsApp does not answer" in service.ask("/qr").json["error"]


def test_a_stop_does_not_wait_for_streams(new_instance: Callable[[int], Instance]) -> None:
    instance = new_instance(5)
    instance.dashboard()
    service = instance.frontend()
    with service.events() as events:
        events.readline()
        code, seconds = service.stop()
    assert code == 0
    assert seconds < 2


def test_whatsapp_answers(whatsapp: Service, frontend: Service) -> None:
    assert whatsapp.ask("/health").json == {"status": "ok"}
    assert whatsapp.ask("/qr/status").json["connected"] is False
    assert "WhatsApp of instance 3" in whatsapp.ask("/qr").body.decode()
    picture = frontend.ask("/qr.png")
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.body == qr.png(qr.pattern("instance 3"))


def test_pairing_codes(whatsapp: Service) -> None:
    codes = {whatsapp.send("/pairing-code", {"phone": "+972501234567"}).json["code"] for _ in range(3)}
    assert len(codes) == 3
    assert all(re.fullmatch(r"[A-Z2-9]{4}-[A-Z2-9]{4}", code) for code in codes)
    for phone in (None, 1, "", "12", "+1 555", "1" * 16):
        assert whatsapp.send("/pairing-code", {"phone": phone}).status == 400


def test_opencode_answers(instance: Instance) -> None:
    service = instance.start("opencode", "OPENCODE_PORT", "/global/health")
    assert service.ask("/global/health").json["healthy"] is True
    page = service.ask("/")
    assert "OpenCode of instance 3" in page.body.decode()
    assert page.headers["X-Orienter-Instance"] == "3"


def test_a_service_listens_on_its_own_address_only(whatsapp: Service) -> None:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.2", whatsapp.port)) != 0


def test_a_service_listens_where_it_is_told(new_instance: Callable[[int], Instance]) -> None:
    instance = new_instance(6)
    log = instance.logs / "whatsapp.log"
    command = [sys.executable, "-m", "examples.demo.whatsapp"]
    port = int(instance.variables["WHATSAPP_PORT"])
    with stores.running(command, log, cwd=stack.ROOT, env={**instance.variables, "SERVICE_HOST": "127.0.0.2"}):

        def healthy() -> bool:
            with closing(http.client.HTTPConnection("127.0.0.2", port, timeout=2)) as connection:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200

        stores.wait_until(healthy, log)


def test_slack_stays_until_it_is_told_to_stop(new_instance: Callable[[int], Instance]) -> None:
    instance = new_instance(7)
    done = stack.run("slack", instance.variables)
    assert (done.returncode, done.stderr) == (2, "demo: SLACK_BOT_TOKEN is not set\n")
    tokens = dict.fromkeys(("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"), "x-hush")
    log = instance.logs / "slack.log"
    command = [sys.executable, "-m", "examples.demo.slack"]
    with stores.running(command, log, cwd=stack.ROOT, env={**instance.variables, **tokens}) as process:
        stores.wait_until(lambda: "is up" in log.read_text(), log)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.terminate()
        assert process.wait(timeout=5) == 0
    assert "hush" not in log.read_text()
