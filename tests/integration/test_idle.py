"""`inv dev.stop --idle` and IDLE: what counts as use and what does not, with real clients of everything."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.backends.nginx import requests
from orienter_tasks.identity.claims import Claims, of_claim
from tests.backends.nginx.upstream import UPGRADE, get
from tests.integration.conftest import BACKENDS
from tests.integration.small import Running, complaint, connected, query, service, states, wait_for, web

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost, SmallHost

POOL = Path(__file__).with_name("pool.py")
LIMIT = "1"
LONG_AGO = 3600.0


class Used:
    """A running instance, whose requests so far are made to be of long ago."""

    def __init__(self, host: SmallHost, directory: Path) -> None:
        self.host, self.main, self.directory = host, host.main, directory
        (claim,) = Claims().read()
        self.instance = of_claim(claim)

    def forget(self) -> None:
        """Let the last request be of long ago."""
        at = time.time() - LONG_AGO
        if self.host.backend == "embedded":
            os.utime(self.instance.nginx_dir / requests.NATIVE, (at, at))
        else:
            words = ["touch", "-d", f"@{at:.0f}", requests.IN_CONTAINER]
            subprocess.run(["docker", "exec", self.instance.container("nginx"), *words], check=True)

    def outcome(self, *words: str) -> str:
        """Return what would become of it."""
        answer = self.main.inv("dev.stop", "--idle", LIMIT, "--dry-run", *words)
        heading, row = answer.out.splitlines()
        assert heading.split() == ["ID", "WORKTREE", "STATE", "OUTCOME"]
        return row.partition(" running ")[2].strip()

    @property
    def listed(self) -> dict[str, Any]:
        """What `instances` says of it."""
        (found,) = self.main.inv("instances", "--json").json["instances"]
        return dict(found)

    def require_idle(self) -> None:
        """Require that it may be stopped once it was left alone for a second."""
        wait_for(lambda: self.outcome().startswith("would stop: idle for "), f"{self.outcome()}: {self.listed}")
        assert self.listed["used_now"] == []
        assert self.listed["idle_seconds"] >= float(LIMIT)

    def require_used(self, how: str) -> None:
        """Require that it stays, and why."""
        wait_for(lambda: self.outcome() == f"stays: in use: {how}", f"{how}, not {self.outcome()}")
        assert self.listed["used_now"] == [how]
        assert self.listed["idle_seconds"] == 0

    def require_used_since(self, began: float) -> None:
        """Require that it was used after a moment."""
        idle = self.listed["idle_seconds"]
        assert idle <= time.time() - began + 0.1  # the kernel counts in ticks


def talking(port: int) -> socket.socket:
    """Open a websocket."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall("\r\n".join(["GET /api/x HTTP/1.1", "Host: localhost", *UPGRADE, "", ""]).encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 101")
    return connection


@pytest.fixture(params=BACKENDS)
def used(request: pytest.FixtureRequest, make_host: MakeHost, tmp_path: Path) -> Used:
    bot = service("sleep", lease="tester")
    pool = {**web(), "command": ["${PYTHON}", "pool.py"], "needs": ["postgres"]}
    host = make_host(request.param, services={"web": pool, "bot": bot})
    (host.main.path / "pool.py").write_bytes(POOL.read_bytes())
    host.main.inv("dev", "--detach", "--quiet")
    return Used(host, tmp_path)


def test_what_counts(used: Used) -> None:
    main, ports = used.main, used.instance.ports
    assert main.inv("dev.stop", "--idle", "2h", "--dry-run", "--all").out.count("has the lease tester") == 1
    used.require_used("has the lease tester")
    main.inv("services.stop", "-s", "bot")

    # our own probes and what a page keeps open do not count as requests; the service's connections are its own
    used.forget()
    main.inv("dev.wait", code=None)
    main.inv("dev.status")
    with closing(talking(ports["nginx"])), closing(talking(ports["dashboard"])) as direct:
        used.require_idle()
        began = time.time()
        direct.sendall(b"still there")
        assert direct.recv(4096) == b"still there"
        used.require_used_since(began)
        used.require_idle()
    assert get(ports["nginx"], "/health", "User-Agent: curl")[0] == 200
    used.require_idle()

    assert get(ports["nginx"], "/api/x")[0] == 200
    wait_for(lambda: used.outcome().startswith("stays: used "), "a request")
    assert used.listed["idle_seconds"] < LONG_AGO
    used.forget()

    began = time.time()
    main.inv("env.exec", "--", "true")
    used.require_used_since(began)
    with connected(main):
        used.require_used("connected to postgres")
    with Running(main, used.directory, "infra.psql", "--", "-c", "SELECT pg_sleep(600)") as psql:
        inside = f"runs psql in {used.instance.container('postgres')}"
        used.require_used("connected to postgres" if used.host.backend == "embedded" else inside)
        end_sleep(main)
        psql.end()

    configuration = used.instance.nginx_dir / requests.MAIN
    configuration.rename(configuration.with_suffix(".aside"))
    assert used.outcome() == "stays: it is not known whether it is used: its nginx does not note requests"
    assert used.listed["idle_seconds"] is None
    configuration.with_suffix(".aside").rename(configuration)

    assert "stays: used " in main.inv("dev.stop", "--idle", "1h").out
    assert states(main)["web"]
    used.require_idle()
    assert "stopped: idle for " in main.inv("dev.stop", "--idle", LIMIT, "--all").out
    assert states(main) == {}
    assert main.inv("dev.stop", "--idle", LIMIT, "--all").out.rstrip().endswith("stays: it does not run")


def end_sleep(main: Checkout) -> None:
    """End the statement that sleeps."""
    sleeping = "query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    statement = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {sleeping}"
    wait_for(lambda: query(main, statement), "a statement that sleeps")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--idle", "soon"], "error: --idle: invalid duration 'soon' → write seconds, or 30s, 10m, 2h, 1d"),
        (["--idle="], "error: --idle: invalid duration '' → write seconds, or 30s, 10m, 2h, 1d"),
        (["--idle", "2h", "--volumes"], "error: --idle only stops instances: their data stays → leave --volumes out"),
    ],
    ids=["a word", "nothing", "data"],
)
def test_bad_input(make_host: MakeHost, words: list[str], what: str) -> None:
    main = make_host().main
    assert complaint(main.inv("dev.stop", *words, code=2)) == what


def test_where_nothing_runs(make_host: MakeHost) -> None:
    main = make_host().main
    for words in (["--all", "--dry-run"], ["--dry-run"], ["--all"], []):
        answer = main.inv("dev.stop", "--idle", "2h", *words)
        assert (answer.out, answer.err) == ("", "no instance is running\n")
        assert Claims().read() == [] or not words
