"""`dev.why` names what is wrong, the worst first, and the next command; `dev.wait` ends as soon as it is known."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.small import BASES, Running, complaint, service, wait_for, web, within
from tests.integration.test_bad_machine import run
from tests.integration.test_states import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

DASHBOARD = BASES["dashboard"]
DETACHED = ("dev", "--detach", "--quiet")
NO_SERVERS: dict[str, Any] = {"postgres": None, "minio": None}
DEAD = {"DOCKER_HOST": "unix:///nonexistent/engine.sock"}


def explained(checkout: Checkout, *words: str) -> tuple[str, str]:
    """Return what is said first to be wrong and what to run next; text and document must agree."""
    lines = checkout.inv("dev.why", *words).out.splitlines()
    assert 2 <= len(lines) <= 12
    document = checkout.inv("dev.why", *words, "--json").json
    assert lines[-1] == f"next: {document['next']}"
    found = document["findings"]
    assert not found or found[0]["what"].splitlines()[0].split(" ago")[-1][:60] in lines[1]
    return ("\n".join(lines[1:-1]), document["next"])


@pytest.mark.embedded
def test_each_fault(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(infra=NO_SERVERS)
    main = host.main
    assert explained(main) == ("– instance 0 (orienter) has not been started yet", "inv dev")
    began = time.monotonic()
    assert "nothing starts it → start it with: inv dev" in complaint(main.inv("dev.wait", code=3))
    assert time.monotonic() - began < 5, "at once, on a busy machine too"

    host.configure(main, services={"web": service("fail", "3", "1.5", port="dashboard", ready={"http": "/"})})
    with Running(main, tmp_path, *DETACHED) as start, Running(main, tmp_path, "dev.wait") as waiting:
        waiting.until("waiting for pid")
        assert waiting.process.poll() is None
        failed = complaint(waiting.end(1))
        assert failed == complaint(start.end(1))
    what, following = explained(main)
    assert "web of instance 0 (orienter) exited with code 3 before it was ready" in what
    assert "\n    cannot go on: 3" in what
    assert following == "inv dev.logs -s web --no-follow"
    assert complaint(main.inv("dev.wait", code=1)) == failed, "it is known already"

    for changes, code, words, remedy in (
        ({"services": {"web": web()}, "hooks": {"start": [{**service("fail", "4"), "name": "seed"}]}}, 1, "seed", ""),
        (
            {"services": {"web": {"command": ["absent-program"]}}, "hooks": {"start": []}},
            3,
            "absent-program",
            "install",
        ),
    ):
        host.configure(main, **changes)
        assert main.inv(*DETACHED, code=code).code == main.inv("dev.wait", code=code).code
        what, following = explained(main)
        assert words in what.splitlines()[0]
        assert remedy in following

    host.configure(main, services={"web": web()})
    with socket.create_server(("127.0.0.1", DASHBOARD)):
        main.inv(*DETACHED, code=4)
        assert f"port {DASHBOARD} is taken" in complaint(main.inv("dev.wait", code=4))
        what, following = explained(main)
        assert f"{DASHBOARD} (dashboard) of instance 0 (orienter) is held by pid" in what
        assert following.startswith("stop that process")

    host.configure(main, services={"web": web(colour="red")})
    assert explained(main)[0].startswith("✗ orienter.services.web.colour")


@pytest.mark.embedded
def test_while_it_runs(make_host: MakeHost, tmp_path: Path) -> None:
    watched = service("watch", "serve", "${DASHBOARD_PORT}", port="dashboard", ready={"http": "/"})
    bot = service("sleep", lease="bot", on_conflict="skip")
    stream = service("stream", "${WHATSAPP_PORT}", port="whatsapp", ready={"http": "/"})
    host = make_host(infra=NO_SERVERS, services={"web": watched, "bot": bot, "stream": stream})
    main, other = host.main, host.worktree(tmp_path / "other")
    host.configure(other, services={"web": web(), "bot": {**bot, "on_conflict": "refuse"}})
    with Running(main, tmp_path, *DETACHED) as start:
        document = main.inv("dev.wait", "--json").json
        assert (document["ready"], document["state"]) == (True, "running")
        start.end(0)
    assert ".localhost:" in main.inv("dev.wait").out
    assert explained(main) == ("", "inv dev.logs --no-follow")
    for name in ("web", "stream"):
        assert explained(main, "-s", name)[0] == f"✓ {name} runs and answers"

    other.inv(*DETACHED, code=4)
    what, following = explained(other)
    assert "bot runs in one instance at a time: instance 0" in what
    assert "inv dev.stop" in following
    host.configure(other, services={"web": web(), "bot": bot})
    other.inv(*DETACHED)
    assert explained(other, "-s", "bot")[0].startswith("– bot is skipped: ")
    assert "is skipped" in complaint(other.inv("dev.wait", "-s", "bot", code=3))
    other.inv("dev.wait")

    ask(DASHBOARD, "/status/503")
    assert "answers 503" in complaint(main.inv("dev.wait", "--timeout", "0.5", code=6))
    ask(DASHBOARD, "/status/200")
    ask(DASHBOARD, "/exit/7")  # a crash below a file watcher
    error = complaint(main.inv("dev.wait", code=1))
    assert f"web of instance 0 (orienter) is not answering: nothing listens on port {DASHBOARD}: told to end" in error
    what, following = explained(main)
    assert f"nothing listens on port {DASHBOARD}: told to end" in what.splitlines()[0]
    assert following == "inv dev.logs -s web --no-follow"
    (main.path / "changed").touch()
    wait_for(lambda: main.inv("dev.wait", "-s", "web", code=None).code == 0, "the watcher's next run")

    main.inv("services.stop", "-s", "bot")
    assert explained(main) == ("! stopped: bot", "inv services.start -s bot")
    main.inv("dev.stop")
    assert explained(main) == ("– nothing of instance 0 (orienter) runs", "inv dev")


@pytest.mark.root
@pytest.mark.embedded
def test_a_full_disk(make_host: MakeHost) -> None:
    main = make_host(infra=NO_SERVERS).main
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" || exit 77; dd if=/dev/zero of="$0/x" 2>/dev/null; inv dev.why'
    (main.path / "state").mkdir(mode=0o700)
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(main.path / "state")]
    answer = run(inside, within(main, {"ORIENTER_STATE_DIR": str(main.path / "state")}))
    if answer.code == 77:
        pytest.skip("root may not mount here")
    lines = answer.out.splitlines()
    assert lines[1].startswith("✗ 0 kB free for the state directory"), str(answer)
    assert lines[-1] == "next: inv cleanup.weekly --dry-run"


def test_an_engine_that_is_away(make_host: MakeHost) -> None:
    main = within(make_host("docker").main, DEAD)
    what, following = explained(main)
    assert "no Docker engine answers" in what
    assert "DOCKER_HOST" in following


@pytest.mark.docker
def test_on_docker(make_host: MakeHost, tmp_path: Path) -> None:
    """A service that is a container of its own, which is answered by the engine's proxy; then the engine goes away."""
    image = "orienter-test/nginx:local"
    contained = {
        "command": ["docker", "run", "--rm", "-p", "127.0.0.1:${DASHBOARD_PORT}:80", image],
        "port": "dashboard",
        "ready": {"http": "/", "timeout": 60},
    }
    host = make_host("docker", infra=NO_SERVERS, services={"web": contained})
    main = host.main
    main.inv(*DETACHED, code=2)
    assert "runs in a container" in explained(main)[0]
    assert "runs in a container" in complaint(main.inv("dev.wait", code=2))

    host.configure(main, services={"web": None, "other": service("sleep")})
    main.inv(*DETACHED)
    main.inv("dev.wait")
    assert explained(main) == ("", "inv dev.logs --no-follow")
    away = within(main, DEAD)
    assert "no Docker engine answers" in explained(away)[0]
    assert away.inv("dev.why", "--json").json["state"] == "unknown"
    assert "unknown what runs" in complaint(away.inv("dev.wait", code=5))
