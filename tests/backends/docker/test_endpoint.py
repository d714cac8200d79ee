from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker import endpoint as endpoints, engine
from orienter_tasks.backends.docker.endpoint import DEFAULT_URL, Endpoint, current, ping
from orienter_tasks.errors import BackendError
from tests import engines, programs

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_context(config: Path, name: str, url: str) -> None:
    """Lay out a context as the docker command line does."""
    meta = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    content = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}
    (meta / "meta.json").write_text(json.dumps(content))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "docker-config"
    directory.mkdir()
    return directory


def test_the_default_socket(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(endpoints, "PODMAN_URL", f"unix://{tmp_path}/none")
    assert current({"DOCKER_CONFIG": str(config)}).url == DEFAULT_URL
    (config / "config.json").write_text('{"currentContext": "default"}')
    assert current({"DOCKER_CONFIG": str(config)}).url == DEFAULT_URL
    (config / "config.json").write_text("{")
    assert current({"DOCKER_CONFIG": str(config)}).url == DEFAULT_URL


def test_the_current_context(config: Path) -> None:
    write_context(config, "colima", "unix:///tmp/colima.sock")
    write_context(config, "other", "unix:///tmp/other.sock")
    (config / "config.json").write_text('{"currentContext": "colima"}')
    found = current({"DOCKER_CONFIG": str(config)})
    assert (found.url, found.context, found.tls) == ("unix:///tmp/colima.sock", "colima", False)
    assert current({"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "other"}).socket_path == "/tmp/other.sock"
    host = {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "other", "DOCKER_HOST": "tcp://127.0.0.1:2375"}
    assert current(host).url == "tcp://127.0.0.1:2375"


def test_what_to_do_when_it_does_not_answer(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    write_context(config, "colima", "unix:///tmp/colima.sock")
    home = {"DOCKER_CONFIG": str(config)}
    assert "systemctl start docker" in current(home).how_to_reach("refused")
    assert "usermod -aG docker" in current(home).how_to_reach("Permission denied")
    by_host = current({**home, "DOCKER_HOST": "unix:///tmp/x"}).how_to_reach("refused")
    assert by_host.startswith("DOCKER_HOST chose it")
    assert by_host.endswith("unset DOCKER_HOST")
    by_context = current({**home, "DOCKER_CONTEXT": "colima"})
    assert by_context.how_to_reach("refused").startswith("docker context 'colima' chose it")
    assert by_context.how_to_reach("refused").endswith("docker context use default")
    monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    assert by_context.how_to_reach("refused").endswith("unset DOCKER_CONTEXT")


def test_the_sdk_reads_contexts_alike(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_context(config, "colima", "unix:///tmp/colima.sock")
    (config / "config.json").write_text('{"currentContext": "colima"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    from docker.context import ContextAPI

    assert ContextAPI.get_context().Host == current().url


def test_a_context_that_is_not_there_is_named(config: Path) -> None:
    found = current({"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "lost"})
    assert ping(found, 1.0).silence == "there is no such context"
    with pytest.raises(BackendError, match="docker context 'lost'"):
        _ = engine.Engine(found).api


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("unix:///var/run/docker.sock", True),
        ("npipe:////./pipe/docker_engine", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://[::1]:2375", True),
        ("tcp://localhost:2376", True),
        ("tcp://build.example:2375", False),
        ("tcp://192.0.2.1:2375", False),
        ("ssh://me@build.example", False),
        ("", False),
    ],
)
def test_an_engine_elsewhere_is_no_use(url: str, here: bool) -> None:
    endpoint = Endpoint(url, "DOCKER_HOST")
    assert endpoint.may_be_here is here
    if not here:
        assert ping(endpoint, 1.0).silence is not None


@pytest.mark.parametrize(
    ("url", "box", "socket"),
    [
        ("ssh://box", "ssh://box", "/var/run/docker.sock"),
        ("ssh://me@box.example:2222", "ssh://me@box.example:2222", "/var/run/docker.sock"),
        ("ssh://me@[::1]/run/user/1000/docker.sock", "ssh://me@[::1]", "/run/user/1000/docker.sock"),
        ("ssh://", "", "/var/run/docker.sock"),
        ("ssh://-oProxyCommand=x", "", "/var/run/docker.sock"),
        ("ssh://me:secret@box", "", "/var/run/docker.sock"),
        ("ssh://box /x", "", "/var/run/docker.sock"),
        ("unix:///x", "", "/var/run/docker.sock"),
    ],
)
def test_the_parts_of_a_url_of_another_machine(url: str, box: str, socket: str) -> None:
    endpoint = Endpoint(url, "DOCKER_HOST")
    assert (endpoint.box, endpoint.far_socket) == (box, socket)
    assert endpoint.is_remote is url.startswith("ssh://")


def test_a_context_of_another_machine(config: Path) -> None:
    write_context(config, "far", "ssh://me@box")
    found = current({"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "far"})
    assert (found.is_remote, found.box) == (True, "ssh://me@box")
    refused = found.how_to_reach("me@box: Permission denied (publickey).")
    assert refused.startswith("try: ssh ssh://me@box docker version; or take the usual engine with: ")
    by_host = current({"DOCKER_HOST": "ssh://box", "DOCKER_TLS_VERIFY": "1"})
    assert not by_host.tls
    assert by_host.how_to_reach("timed out").endswith("unset DOCKER_HOST")


def test_an_engine_elsewhere_is_never_contacted() -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError, match="on another machine") as refused:
        _ = engine.Engine(Endpoint("tcp://192.0.2.1:2375", "DOCKER_HOST")).api
    assert time.monotonic() - begun < 0.5
    assert refused.value.exit_code == 5


@contextmanager
def answering(path: Path, answer: bytes | None, *, ping: bytes | None = None) -> Iterator[Endpoint]:
    """Listen on a unix socket; None: take connections and say nothing. `ping`: what pings get instead."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as server:
        server.bind(str(path))
        server.listen()
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                asked = connection.recv(4096)
                said = ping if ping is not None and b"/_ping" in asked else answer
                if said is not None:
                    connection.sendall(said)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield Endpoint(f"unix://{path}", "a test")
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


@contextmanager
def dripping(path: Path) -> Iterator[Endpoint]:
    """Answer byte by byte, faster than a timeout between two of them."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                for byte in b"HTTP/1.1 200 OK\r\n\r\n":
                    connection.sendall(bytes([byte]))
                    time.sleep(0.1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint(f"unix://{path}", "a test")
        thread.join()


@contextmanager
def listener(path: Path) -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as server:
        server.bind(str(path))
        server.listen()
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="o-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def usual(config: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keep the usual sockets in a directory of the test's; return the environment of a user who says nothing."""
    monkeypatch.setattr(endpoints, "DEFAULT_URL", f"unix://{place}/default.sock")
    monkeypatch.setattr(endpoints, "PODMAN_URL", f"unix://{place}/podman.sock")
    (place / "run" / "podman").mkdir(parents=True)
    endpoints._usual.cache_clear()
    return {"DOCKER_CONFIG": str(config), "XDG_RUNTIME_DIR": str(place / "run")}


@pytest.mark.parametrize(
    ("listening", "chosen", "origin"),
    [
        ((), "default.sock", "the default socket"),
        (("default.sock", "run/docker.sock"), "default.sock", "the default socket"),
        (("run/docker.sock", "run/podman/podman.sock"), "run/docker.sock", "rootless Docker's socket"),
        (("run/podman/podman.sock", "podman.sock"), "run/podman/podman.sock", "rootless Podman's socket"),
        (("podman.sock",), "podman.sock", "Podman's socket"),
    ],
    ids=["none", "default", "docker", "rootless", "podman"],
)
def test_a_usual_socket(
    usual: dict[str, str], place: Path, listening: tuple[str, ...], chosen: str, origin: str
) -> None:
    with ExitStack() as stack:
        for name in listening:
            stack.enter_context(listener(place / name))
        found = current(usual)
        assert str(found) == f"unix://{place / chosen} ({origin})"
    assert current(usual) == found  # also when its engine has ended meanwhile
    assert current({**usual, "DOCKER_HOST": "unix:///tmp/x"}).origin == "DOCKER_HOST"


def test_a_socket_that_an_engine_has_left_is_passed_over(usual: dict[str, str], place: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as ended:
        ended.bind(str(place / "default.sock"))
    with listener(place / "run" / "docker.sock"):
        assert current(usual).origin == "rootless Docker's socket"


def test_what_is_seen_of_a_silent_engine(place: Path) -> None:
    assert ping(Endpoint(f"unix://{place}/none", ""), 1.0).silence == "No such file or directory"
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    assert ping(Endpoint(f"tcp://127.0.0.1:{free}", ""), 1.0).silence == "Connection refused"
    with answering(place / "mute", None) as endpoint:
        begun = time.monotonic()
        assert ping(endpoint, 0.2).silence == "timed out"
        assert time.monotonic() - begun < 0.5
    with dripping(place / "slow") as endpoint:
        begun = time.monotonic()
        assert ping(endpoint, 0.3).silence == "timed out"
        assert time.monotonic() - begun < 0.8
    with answering(place / "ok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK") as endpoint:
        assert ping(endpoint, 1.0) == (None, "")
    with answering(place / "new", b"HTTP/1.1 200 OK\r\nApi-Version: 1.53\r\nContent-Length: 2\r\n\r\n") as endpoint:
        assert ping(endpoint, 1.0) == (None, "1.53")
    with answering(place / "ill", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as endpoint:
        assert ping(endpoint, 1.0).silence == "it answers 503"
    with answering(place / "odd", b"hello\r\n\r\n") as endpoint:
        assert ping(endpoint, 1.0).silence is not None


@pytest.mark.docker
def test_no_engine_is_one_line_with_a_remedy(place: Path) -> None:
    with pytest.raises(BackendError) as refused:
        _ = engine.Engine(Endpoint(f"unix://{place}/none", "DOCKER_HOST")).api
    line = refused.value.line()
    assert "no Docker engine answers" in line
    assert f"unix://{place}/none (DOCKER_HOST): No such file or directory" in line
    assert "--backend embedded" in line
    assert refused.value.exit_code == 5


def test_the_question_loads_no_sdk(place: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{place}/none", "PATH": ""}
    done = subprocess.run(programs.command("ask_engine"), env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.docker
def test_the_real_engine_answers_at_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    assert engine.answers()
    assert time.monotonic() - begun < 0.5
    facts = engine.shared().facts
    assert facts.version
    assert facts.version in engine.shared().description
    assert engine.shared() is engine.shared()
    engine.shared().close()


@pytest.mark.docker
def test_the_real_engine_is_known_by_its_own_description() -> None:
    first, second = engine.Engine(), engine.Engine()
    try:
        components = [each["Name"] for each in first.api.version()["Components"]]
        assert first.facts.product == ("Podman" if "Podman Engine" in components else "Docker")
        assert first.facts == second.facts
        if engines.ENGINE:
            kind = first.facts.product.lower() + ("-rootless" if first.facts.rootless else "")
            assert kind == engines.ENGINE
    finally:
        first.close()
        second.close()


@pytest.mark.docker
def test_the_real_engine_through_a_context(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = current()
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    write_context(config, "mine", real.url)
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    through = engine.Engine()
    try:
        assert through.endpoint.context == "mine"
        assert through.facts.version
    finally:
        through.close()
