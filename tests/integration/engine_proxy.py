"""A door before the engine's socket that can be shut: the engine itself goes on, for everybody else."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def serve_each(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Serve each client of a listener in a thread of its own, until the listener is closed."""

    def accept() -> None:
        with contextlib.suppress(OSError), listener:
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Door:
    """Passes bytes on to the engine until it is shut.

    Args:
        path: where it listens; DOCKER_HOST is to be `unix://` and this.
        shut_before: shut before the first request that holds these bytes.
    """

    def __init__(self, path: Path, shut_before: bytes = b"") -> None:
        self._path = path
        self._shut_before = shut_before
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self.is_shut = False
        serve_each(self._listener, self._serve)

    @property
    def environ(self) -> dict[str, str]:
        """The variables that lead through it."""
        return {"DOCKER_HOST": f"unix://{self._path}"}

    def shut(self) -> None:
        """Cut every connection, and let nobody in any more."""
        self.is_shut = True
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        _end(self._listener)  # which also wakes its thread
        with self._lock:
            for each in self._open:
                _end(each)

    def _serve(self, client: socket.socket) -> None:
        with client, _connect() as engine:
            with self._lock:
                self._open |= {client, engine}
            back = threading.Thread(target=self._pass_on, args=(engine, client, b""), daemon=True)
            back.start()
            self._pass_on(client, engine, self._shut_before)
            back.join()
            with self._lock:
                self._open -= {client, engine}

    def _pass_on(self, source: socket.socket, target: socket.socket, shut_before: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if shut_before and shut_before in data:
                    self.shut()
                    return
                target.sendall(data)
        _end(source)
        _end(target)


@contextlib.contextmanager
def door(path: Path, shut_before: bytes = b"") -> Iterator[Door]:
    """A door that is shut in the end."""
    made = Door(path, shut_before)
    try:
        yield made
    finally:
        made.shut()


class SlowEngine:
    """Asks the engine, and passes on its answer one byte a second; with `hangs` only its answers to pings, at once."""

    def __init__(self, path: Path, *, hangs: bool) -> None:
        self._hangs = hangs
        self._ended = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self.environ = {"DOCKER_HOST": f"unix://{path}"}

    def __enter__(self) -> SlowEngine:
        serve_each(self._listener, self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        _end(self._listener)

    def _serve(self, client: socket.socket) -> None:
        with client, _connect() as engine, contextlib.suppress(OSError):
            while request := client.recv(65536):
                if self._hangs and b"/_ping" not in request:
                    self._ended.wait()
                    return
                engine.sendall(request)
                answer = engine.recv(65536)
                for byte in answer if not self._hangs else ():
                    client.sendall(bytes([byte]))
                    if self._ended.wait(1.0):
                        return
                client.sendall(answer if self._hangs else b"")


class MuteEngine:
    """Answers so many requests with `OK` and none after that; DOCKER_HOST is to be `unix://` and this path."""

    def __init__(self, path: Path, answers: int) -> None:
        self._answers = answers
        self._kept: list[socket.socket] = []
        self.asked_in_vain = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> MuteEngine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)
        self._thread.join()
        for each in self._kept:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                client.recv(65536)
                if self._answers:
                    self._answers -= 1
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
                    client.close()
                else:
                    self._kept.append(client)
                    self.asked_in_vain.set()


def _connect() -> socket.socket:
    """Connect to the engine that these tests use."""
    found = endpoint.current(os.environ)
    if found.socket_path:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(found.socket_path)
        return connection
    host, _, port = found.url.rpartition("://")[2].partition(":")
    return socket.create_connection((host, int(port)))


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
