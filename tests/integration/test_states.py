"""State is what a service does: a service whose process runs but does not answer is not called running anywhere."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.nginx.upstream import get
from tests.integration.small import BASES, WEB, Running, complaint, service, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

pytestmark = pytest.mark.embedded

SLACK = 6.0  # of a busy machine
DASHBOARD, VITE = BASES["dashboard"], BASES["vite"]
WATCHED = service("watch", "serve", "${DASHBOARD_PORT}", port="dashboard", ready={"http": "/"})
SICK = service("serve", "${VITE_PORT}", port="vite", ready={"http": "/"})


def ask(port: int, path: str) -> None:
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()


def parts(checkout: Checkout, *words: str) -> dict[str, dict[str, Any]]:
    """Return what a command says of each component."""
    document = checkout.inv(*words, "--json").json
    document = document["instances"][0] if "instances" in document else document
    return {part["name"]: part for part in document["components"]} | {"": document}


def page(path: str) -> str:
    """What nginx answers: status and body."""
    status, _, body = get(BASES["nginx"], path)
    return f"{status} {body.decode()}"


def test_not_answering(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(services={"web": WATCHED, "sick": SICK})
    main = host.main
    main.inv("dev", "--detach", "--quiet")
    assert {part["state"] for part in parts(main, "dev.status").values()} == {"running"}

    ask(DASHBOARD, "/exit/7")
    ask(VITE, "/status/503")
    wait_for(lambda: parts(main, "instances")["web"]["state"] == "not answering", "the end of a watcher's child")
    listed = parts(main, "instances")
    assert (listed["web"]["running"], listed["sick"]["state"]) == (True, "running")  # listeners alone
    assert listed["web"]["what"].endswith(f"; nothing listens on port {DASHBOARD}: told to end")
    assert listed["web"]["last_lines"][-1] == "told to end"
    assert (listed[""]["state"], listed[""]["services"]) == ("partial", {"running": 1, "of": 2})
    listing = main.inv("instances").out
    assert "partial, web not answering" in listing
    assert "the last lines of web of instance 0 (orienter):" in listing

    found = parts(main, "dev.status")
    assert (found["web"]["state"], found["sick"]["state"]) == ("not answering", "not answering")
    assert f"http://127.0.0.1:{VITE}/ answers 503" in found["sick"]["what"]
    assert found[""]["state"] == "partial"
    shown = main.inv("dev.status").out
    assert "not answering" in shown
    assert "told to end" in shown

    said = main.inv("doctor", "--json", code=1).json["findings"]
    problems = [(one["what"], one["remedy"]) for one in said if one["level"] == "problem"]
    assert [remedy for _, remedy in problems] == [f"inv dev.logs -s {name} --no-follow" for name in ("sick", "web")]
    assert f"web of instance 0 (orienter) is not answering: nothing listens on port {DASHBOARD}" in problems[1][0]

    record = main.path / ".dev-pids" / "instance-0" / "web.json"
    written = json.loads(record.read_text())
    record.write_text(json.dumps({**written, "started_at": written["started_at"] - 1000}))
    again = complaint(main.inv("dev", "--detach", code=1))  # it has had its time
    assert f"is not answering, nothing listens on port {DASHBOARD}: told to end" in again

    with Running(main, tmp_path, "dev.attach") as run:
        run.until(f"web is not answering: nothing listens on port {DASHBOARD}: told to end")
        assert f": nothing listens on port {DASHBOARD}: told to end\nsee: inv dev.status\n" in page("/api/x")
        (main.path / "changed").touch()
        run.until("web answers again")
        ask(VITE, "/status/200")
        assert parts(main, "dev.status")[""]["state"] == "running"
        assert page("/api/x").startswith(("200", "404"))
        ask(DASHBOARD, "/exit/8")
        begun = time.monotonic()
        wait_for(lambda: run.err.count("web is not answering") == 2, "the second crash")
        assert time.monotonic() - begun < 2 + SLACK
        assert "sick" not in run.err
        run.send(signal.SIGINT)
        run.end(130)


def test_a_start_that_failed_is_remembered_until_the_next(make_host: MakeHost) -> None:
    host = make_host(services={"web": service("fail", "3", **WEB)})  # with a port: without, being slow is being well
    main = host.main
    for words in ("infra.up", "infra.down"):  # on a busy disk, initdb can take longer than the service needs to fail
        main.inv(words)
    why = complaint(main.inv("dev", "--detach", code=1)).partition(" → ")[0].removeprefix("error: ")
    found = parts(main, "dev.status")
    failure = found[""]["failed_start"]
    assert (failure["component"], failure["what"], failure["last_lines"]) == ("web", why, ["cannot go on: 3"])
    assert abs(failure["at"] - time.time()) < 60
    assert (found[""]["state"], found["web"]["state"]) == ("stopped", "failed")
    assert found["web"]["ended_at"] == failure["at"]
    shown = main.inv("dev.status").out
    assert "exited with code 3" in shown
    assert "the last lines of web of instance 0 (orienter):\n  cannot go on: 3" in shown
    listing = main.inv("instances").out
    assert "stopped, web failed" in listing
    assert "  cannot go on: 3" in listing
    assert parts(main, "instances")["web"]["what"] == why

    with socket.create_server(("127.0.0.1", DASHBOARD)):  # what failed need not be a component
        host.configure(main, services={"web": WATCHED})
        main.inv("dev", "--detach", code=4)
        assert f"ago: instance 0 (orienter) cannot start: port {DASHBOARD}" in main.inv("dev.status").out
    main.inv("dev", "--detach", "--quiet")
    found = parts(main, "dev.status")
    assert (found[""]["state"], found[""]["failed_start"]) == ("running", None)


LATE = 600.0  # seconds: no test waits for it
CRASHES = {
    "watch": (
        service("watch", "crash", "boop", port="dashboard", ready={"http": "/", "timeout": LATE}),
        f"is not answering, nothing listens on port {DASHBOARD}: Error: boop",
    ),
    "listened": (
        {
            "command": [
                *("sh", "-c"),
                "timeout 2 ${PYTHON} -m http.server ${DASHBOARD_PORT} --bind 127.0.0.1; echo 'Error: boop'; sleep 1000",
            ],
            "port": "dashboard",
            "ready": {"http": "/absent", "timeout": LATE},
        },
        f"is not answering, nothing listens on port {DASHBOARD}: Error: boop",
    ),
}


def test_a_crash_below_a_watcher_ends_the_start(make_host: MakeHost) -> None:
    host = make_host()
    for web, error in CRASHES.values():
        host.configure(host.main, services={"web": web})
        answer = host.main.inv("dev", "--detach", code=1)
        assert error in complaint(answer)
        assert "see: inv dev.logs -s web --no-follow" in complaint(answer)


def test_tsx_watch(make_host: MakeHost, node_modules: Path) -> None:
    command = [str(node_modules / ".bin" / "tsx"), "watch", "--clear-screen=false", "main.ts"]
    web = {"command": command, "port": "dashboard", "ready": {"http": "/", "timeout": LATE}}
    host = make_host(services={"web": web})
    main, source = host.main, host.main.path / "main.ts"
    main.inv("infra.up")  # on a busy disk, initdb can take longer than the service needs to crash
    source.write_text("const = 3\n")
    assert 'main.ts:1:6: ERROR: Expected identifier but found "="' in complaint(main.inv("dev", "--detach", code=1))
    source.write_text(
        'import http from "node:http"\n'
        'http.createServer((_, answer) => answer.end("ok")).listen(Number(process.env.DASHBOARD_PORT), "127.0.0.1")\n'
    )
    main.inv("dev", "--detach")
    source.write_text('throw new Error("boop")\n')
    wait_for(lambda: parts(main, "dev.status")["web"]["what"].endswith(": Error: boop"), "the crash")
    assert parts(main, "instances")["web"]["state"] == "not answering"


def test_vite_with_a_broken_configuration(make_host: MakeHost, node_modules: Path) -> None:
    command = [str(node_modules / ".bin" / "vite"), "--port", "${VITE_PORT}", "--host", "127.0.0.1"]
    host = make_host(services={"web": {"command": command, "port": "vite", "ready": {"timeout": LATE}}})
    host.main.inv("infra.up")
    (host.main.path / "vite.config.js").write_text("export default {\n")
    error, _, _ = complaint(host.main.inv("dev", "--detach", code=1)).partition(" → ")
    assert "web of instance 0 (orienter) exited with code 1 before it was ready: " in error
    assert "Expected" in error
