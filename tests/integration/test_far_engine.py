"""`DOCKER_HOST=ssh://…`: servers on another machine, forwarded here; nginx, services and the page here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from pg8000 import native

from orienter_tasks.machine import ports
from tests.commands.machines import NAME, Machine
from tests.integration.checkouts import TEST_IMAGES
from tests.integration.small import BASES, Running, complaint, kill, pid_of, states, wait_for, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

pytestmark = pytest.mark.docker
URL = f"ssh://{NAME}"


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="o-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def far(short: Path) -> Iterator[Machine]:
    """Another machine with its own engine."""
    if os.geteuid() != 0:
        pytest.skip("another machine with an engine takes root")
    (short / "clusters").mkdir()
    with Machine(short / "m", short / "clusters") as made:
        made.start_engine(TEST_IMAGES["postgres"], TEST_IMAGES["minio"])
        yield made


@pytest.fixture
def caller(far: Machine, short: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    """A checkout whose engine is the far one."""
    monkeypatch.setenv("ORIENTER_STATE_DIR", str(short / "state"))
    far.trust()
    made = far.visible_from(make_host("auto").main, DOCKER_HOST=URL)
    yield made
    far.trust()
    made.inv("dev.stop", "--volumes", "--yes", code=None)
    assert (far.docker("ps", "-aq"), far.docker("volume", "ls", "-q")) == ([], [])
    wait_for(lambda: not far.clients(), "the end of ssh")
    shutil.rmtree(short / "state")


@contextmanager
def holding(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def postgres_port(checkout: Checkout) -> int:
    return urlsplit(checkout.variables["DATABASE_URL"]).port or 0


def query(checkout: Checkout, statement: str) -> list[list[object]]:
    url = urlsplit(checkout.variables["DATABASE_URL"])
    login = native.Connection(str(url.username), "127.0.0.1", url.path[1:], url.port or 0, url.password)
    try:
        return [list(row) for row in login.run(statement) or ()]
    finally:
        login.close()


def test_servers_there_all_else_here(far: Machine, caller: Checkout, tmp_path: Path) -> None:
    with holding(BASES["postgres"]):
        told = caller.inv("dev", "--detach", code=4)
        assert f"({os.getpid()})" in told.err or f"pid {os.getpid()}" in told.err, str(told)
    assert far.docker("ps", "-aq") == [], "nothing was started"

    caller.inv("dev", "--detach")
    names = far.docker("ps", "--format", "{{.Names}}")
    assert sorted(name.split("-")[-2] for name in names) == ["minio", "postgres"]
    assert all(
        address.startswith("127.0.0.1:")
        for line in far.docker("ps", "--format", "{{.Ports}}")
        for address in line.split(", ")
        if "->" in address
    )
    assert states(caller) == dict.fromkeys(("link", "minio", "nginx", "postgres", "web"), True)
    link = psutil.Process(pid_of(caller, "link"))
    listening = {each.laddr[0] for each in link.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    caller.request("GET", "/dashboard/")
    query(caller, "CREATE TABLE kept AS SELECT 1 AS one")
    caller.inv("infra.verify")
    assert "link: ready" in caller.inv("infra.up").err + caller.inv("infra.up").out
    assert pid_of(caller, "link") == link.pid, "it goes on"

    kill(link.pid)
    assert states(caller)["link"] is False
    assert "link of" in caller.inv("dev.why").out
    caller.inv("dev.restart", "-s", "web")
    assert query(caller, "SELECT one FROM kept") == [[1]]

    with Running(caller, tmp_path, "dev") as going:
        going.until("Ctrl-C stops this instance")
        far.cut()
        going.until("the connection to the engine is lost")
        going.until("the engine is back after")
        assert query(caller, "SELECT one FROM kept") == [[1]]
        going.send(signal.SIGINT)
        going.end(130)
    assert far.docker("ps", "-aq") == []
    assert ports.is_free(BASES["postgres"])


def test_data_and_what_is_left_there(far: Machine, caller: Checkout) -> None:
    caller.inv("infra.up")
    query(caller, "CREATE TABLE kept AS SELECT 1 AS one")
    caller.inv("data.snapshot", "before")
    query(caller, "DROP TABLE kept")
    restored = caller.inv("data.restore", "before", "--yes", "--no-backup")
    assert query(caller, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'") == [[1]], str(restored)

    far.known.write_text("")
    far.cut()
    refused = complaint(caller.inv("infra.up", code=5))
    assert "Host key verification failed" in refused
    left = complaint(caller.inv("dev.stop", code=5))
    assert "may still run: no Docker engine answers" in left
    assert "→ when it answers again: inv dev.stop" in left
    assert "postgres" in " ".join(far.docker("ps", "--format", "{{.Names}}"))
    assert caller.inv("dev.status", "--json", code=None).json["state"] == "unknown"
    caller.inv("dev.stop", "--volumes", "--yes", code=5)
    far.trust()

    caller.inv("dev.stop")
    before, taken = far.logins, postgres_port(caller)
    with holding(taken):
        assert str(taken) in complaint(caller.inv("infra.up", code=4))
    assert far.logins == before, "what is taken here is known before anything is started or asked"
    caller.inv("infra.up")
    assert far.logins == before + 1, "the link is the only login of a start"
    caller.inv("dev.stop")
    elsewhere = complaint(caller.inv("infra.up", code=4, DOCKER_HOST=""))
    assert f"its data on another Docker engine ({URL}" in elsewhere


def test_a_forwarded_socket_is_not_local(far: Machine, caller: Checkout, short: Path) -> None:
    settings = json.loads((caller.path / "invoke.yaml").read_text())
    settings["orienter"]["infra"] = {"nginx": {"backend": "embedded"}}
    (caller.path / "invoke.yaml").write_text(json.dumps(settings))
    path = short / "forwarded.sock"
    words = [str(far.directory / "bin" / "ssh"), "-N", "-L", f"{path}:/var/run/docker.sock", NAME]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ssh:
        try:
            wait_for(path.exists, "the socket")
            told = complaint(caller.inv("infra.up", code=5, DOCKER_HOST=f"unix://{path}"))
            assert "is not on this machine" in told
            assert "DOCKER_HOST=ssh://USER@BOX" in told
            assert far.docker("ps", "-aq") == []
        finally:
            ssh.terminate()


def test_a_context_and_a_port_that_is_taken_there(far: Machine, caller: Checkout, short: Path) -> None:
    chosen = within(caller, {"DOCKER_HOST": "", "DOCKER_CONFIG": str(short / "docker")})
    for words in (("create", "box", "--docker", f"host={URL}"), ("use", "box")):
        subprocess.run(["docker", "context", *words], env=chosen.environ, check=True, stdout=subprocess.DEVNULL)
    taken = postgres_port(caller)
    with far.holding(taken):
        told = complaint(chosen.inv("infra.up", code=4))
        assert f"port {taken} is in use by" in told
        assert f"on {URL}" in told
        assert far.docker("ps", "-aq") == []
        wait_for(lambda: not far.clients(), "the end of ssh")
    chosen.inv("infra.up")
    assert query(caller, "SELECT 1") == [[1]]
    chosen.inv("dev.stop")


def test_a_far_socket_where_no_engine_is(caller: Checkout) -> None:
    told = complaint(caller.inv("infra.up", code=5, DOCKER_HOST=f"{URL}/nowhere.sock"))
    assert "no engine answers at /nowhere.sock there" in told
