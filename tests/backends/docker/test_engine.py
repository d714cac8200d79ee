"""An engine that goes away in the middle: every error is one of ours, and the next run finishes the job."""

from __future__ import annotations

import contextlib
import gc
import re
import socket
import threading
import time
from importlib.metadata import requires
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker.endpoint import Endpoint, current
from orienter_tasks.backends.nginx.configuration import apply
from orienter_tasks.errors import BackendError, CheckError, NotFoundError
from orienter_tasks.infra.docker import DockerBackend
from orienter_tasks.stack.component import LogRequest
from tests.backends.contract import component, down, up
from tests.backends.docker.test_endpoint import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.docker.lab import DockerLab

pytestmark = [
    pytest.mark.docker,
    # the SDK leaves a socket to the garbage collector when it cannot connect it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Passage:
    """A unix socket that leads to the real engine until it is closed."""

    def __init__(self, path: Path) -> None:
        self.endpoint = Endpoint(f"unix://{path}", "a test")
        self.requests = 0
        self.close_at = -1
        self._path = path
        self._sockets: list[socket.socket] = []
        self._open = True
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Go away as a killed engine does: no answer is finished, nobody listens any more."""
        self._open = False
        self._path.unlink(missing_ok=True)
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        self.close()
        for one in [self._listener, *self._sockets]:
            one.close()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            far.connect(current().socket_path)
            self._sockets += [near, far]
            threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if requests and data.startswith((b"GET", b"POST", b"DELETE")):
                    self.requests += 1
                    if self.requests == self.close_at:
                        self.close()
                        return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def passage(tmp_path: Path) -> Iterator[Passage]:
    passage = Passage(tmp_path / "engine.sock")
    yield passage
    passage.release()
    gc.collect()


@pytest.fixture
def through(lab: DockerLab, config: InstanceConfig, passage: Passage) -> DockerBackend:
    """A backend whose engine can go away."""
    return DockerBackend(config, lab.engine_at(passage.endpoint))


def test_an_engine_that_went_away(
    lab: DockerLab, config: InstanceConfig, passage: Passage, through: DockerBackend
) -> None:
    apply(config, through)
    assert up(through, config, ["minio", "nginx"]) == ["minio", "nginx"]
    minio = component(through, "minio")
    passage.close()
    time.sleep(0.3)
    verbs: list[Callable[[], object]] = [
        lambda: minio.start(lambda text: None),
        minio.probe,
        lambda: minio.stop(1),
        lambda: list(minio.logs(LogRequest(lines=1))),
        through.status,
        through.name_conflicts,
        through.bound_ports,
        through.data_volumes,
        through.remove_data,
        through.remove_network,
        through.reload_nginx,
        lambda: through.check_nginx(config.instance.nginx_dir),
    ]
    for verb in verbs:
        with pytest.raises(BackendError, match="no Docker engine answers") as refused:
            verb()
        assert refused.value.exit_code == 5
        assert "Traceback" not in refused.value.line()
    down(lab.backend(config))


@pytest.mark.parametrize("at", range(2, 9))
def test_a_start_that_is_cut_short_anywhere_is_finished_by_the_next(
    lab: DockerLab, config: InstanceConfig, passage: Passage, through: DockerBackend, at: int
) -> None:
    passage.close_at = at  # the requests are: ping, version, container, image, volume, network, …, create, start
    with pytest.raises(BackendError):
        component(through, "minio").start(lambda text: None)
    assert passage.requests >= at

    backend = lab.backend(config)
    up(backend, config, ["minio"])
    down(backend)
    assert len(backend.remove_data()) == 1


def test_a_log_that_is_followed_ends_with_the_engine(
    lab: DockerLab, config: InstanceConfig, passage: Passage, through: DockerBackend
) -> None:
    up(lab.backend(config), config, ["postgres"])
    postgres = component(through, "postgres")
    seen: list[Exception] = []

    def listen() -> None:
        try:
            list(postgres.logs(LogRequest(lines=1, follow=threading.Event())))
        except BackendError as error:
            seen.append(error)

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.3)
    passage.close()
    listener.join(3)
    assert not listener.is_alive()
    assert len(seen) == 1


def test_a_log_that_is_followed_ends_with_its_container(lab: DockerLab, config: InstanceConfig) -> None:
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    minio = component(backend, "minio")
    listener = threading.Thread(target=lambda: list(minio.logs(LogRequest(lines=1, follow=threading.Event()))))
    listener.start()
    time.sleep(0.3)
    down(backend)
    listener.join(3)
    assert not listener.is_alive()


def test_refusals_are_told_in_one_line(lab: DockerLab) -> None:
    engine = lab.engine
    with pytest.raises(NotFoundError, match=r"(?i)Docker cannot look: .*no such container"), engine.talking("look"):
        engine.api.inspect_container("none")
    with pytest.raises(CheckError, match="Docker cannot ask") as refused, engine.talking("ask"):
        engine.api.containers(filters={"nonsense": "1"})
    assert "nonsense" in str(refused.value)


@pytest.mark.parametrize("version", ["1.44", "1.99"])
def test_the_version_of_the_api_is_the_engines(lab: DockerLab, tmp_path: Path, version: str) -> None:
    """Neither the SDK's client nor the reader insists on one, nor do we on a version of the SDK but the oldest."""
    pong = f"HTTP/1.1 200 OK\r\nApi-Version: {version}\r\nContent-Length: 2\r\n\r\nOK".encode()
    with answering(tmp_path / "s", pong) as endpoint:
        engine = lab.engine_at(endpoint)
        assert (engine.api.api_version, engine.api_version) == (version, version)
    (wanted,) = [each for each in requires("orienter-tasks") or () if each.startswith("docker")]
    assert re.fullmatch(r"docker>=[\d.]+", wanted)


def test_one_client_serves_many_threads(lab: DockerLab) -> None:
    engine = lab.engine_at(current())
    clients = set()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            clients.add(id(engine.api))
            for _ in range(10):
                engine.api.containers()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(clients) == 1
