"""Probes against real sockets: whatever a server does, asking it once costs no more than the probe's own limit."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.http import http_answer
from orienter_tasks.stack.probes import PROBE_SECONDS, http_ready, tcp_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "127.0.0.1"
LIMIT = 0.3
SLACK = 0.7  # a busy machine


class Server:
    """Accepts connections and lets a function answer each, in a thread of its own."""

    def __init__(self, answer: Callable[[socket.socket, threading.Event], None]) -> None:
        self.asked: list[bytes] = []
        self.done = threading.Event()
        self._answer = answer
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self.done.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.asked.append(connection.recv(4096))
            self._answer(connection, self.done)

    def close(self) -> None:
        self.done.set()
        socket.create_connection((HOST, self.port)).close()
        for thread in self._threads:
            thread.join(5)
        self._socket.close()


@contextmanager
def serving(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def says(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    return lambda connection, done: connection.sendall(answer)


def status(code: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {code} Some Reason\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def silent(connection: socket.socket, done: threading.Event) -> None:
    done.wait(10)


def drips(first: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send something, and then a byte every now and then for ever: each piece comes in time, the answer never."""

    def drip(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(first)
        while not done.wait(LIMIT / 4):
            connection.sendall(b"x")

    return drip


def closed_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        drips(b""),
        drips(b"HTTP/1.1 200 OK\r\nX-"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["silent", "status", "headers", "body", "endless"],
)
def test_a_server_that_never_answers_costs_the_limit(answer: Callable[[socket.socket, threading.Event], None]) -> None:
    with serving(answer) as server:
        begun = time.monotonic()
        with pytest.raises(NotReadyError, match=f"http://{HOST}:{server.port}/x: timed out"):
            http_answer(HOST, server.port, "/x", timeout=LIMIT)
        assert LIMIT * 0.9 < time.monotonic() - begun < LIMIT + SLACK
        assert server.asked[0].startswith(b"GET /x HTTP/1.1\r\n")


def test_a_server_that_does_not_even_accept_costs_the_limit() -> None:
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.settimeout(0)
            one.connect_ex((HOST, port))
            waiting.append(one)
        begun = time.monotonic()
        with pytest.raises(NotReadyError):
            http_answer(HOST, port, "/", timeout=LIMIT)
        assert time.monotonic() - begun < LIMIT + SLACK
        for one in waiting:
            one.close()


def test_the_limit_of_a_probe_is_short() -> None:
    assert PROBE_SECONDS <= 2
    with serving(silent) as server:
        begun = time.monotonic()
        with pytest.raises(NotReadyError):
            http_ready(HOST, server.port, "/")
        assert time.monotonic() - begun < PROBE_SECONDS + SLACK


@pytest.mark.parametrize("code", [200, 201, 204, 301, 302, 307, 399])
def test_2xx_and_3xx_are_ready(code: int) -> None:
    with serving(says(status(code))) as server:
        http_ready(HOST, server.port, "/")


@pytest.mark.parametrize("code", [400, 401, 404, 500, 502, 503])
def test_other_answers_are_not(code: int) -> None:
    with serving(says(status(code))) as server, pytest.raises(NotReadyError, match=f"/path answers {code}"):
        http_ready(HOST, server.port, "/path")


def test_status_and_body_are_returned() -> None:
    with serving(says(status(418, b"tea"))) as server:
        assert http_answer(HOST, server.port, "/?a=b") == (418, b"tea")
        assert b"GET /?a=b HTTP/1.1\r\n" in server.asked[0]
        assert f"Host: localhost:{server.port}\r\n".encode() in server.asked[0]
    with serving(says(b"HTTP/1.0 200 OK\r\n\r\nuntil it closes")) as server:
        assert http_answer(HOST, server.port, "/") == (200, b"until it closes")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with serving(says(chunked)) as server:
        assert http_answer(HOST, server.port, "/") == (200, b"abc")


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 302 Found\r\n",
    ],
    ids=["events", "slow body", "early hints", "several"],
)
def test_the_status_line_is_enough(first: bytes) -> None:
    with serving(drips(first)) as server:
        begun = time.monotonic()
        http_ready(HOST, server.port, "/")
        assert time.monotonic() - begun < SLACK
    failing = first.replace(b"200", b"503").replace(b"204", b"503").replace(b"302", b"503")
    with serving(drips(failing)) as server, pytest.raises(NotReadyError, match="answers 503"):
        http_ready(HOST, server.port, "/")


@pytest.mark.parametrize("first", [b"HTTP/1.1 2", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["half", "only hints"])
def test_readiness_without_a_status_costs_the_limit(first: bytes) -> None:
    with serving(drips(first)) as server:
        begun = time.monotonic()
        with pytest.raises(NotReadyError, match="timed out"):
            http_ready(HOST, server.port, "/", timeout=LIMIT)
        assert LIMIT * 0.9 < time.monotonic() - begun < LIMIT + SLACK


def test_a_large_body_is_not_read_to_its_end() -> None:
    def pour(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not done.is_set():
            connection.sendall(b"x" * 65536)

    with serving(pour) as server:
        begun = time.monotonic()
        assert http_answer(HOST, server.port, "/") == (200, b"x" * 65536)
        assert time.monotonic() - begun < PROBE_SECONDS


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"\0" * 100, b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_not_ready(answer: bytes) -> None:
    with serving(says(answer)) as server, pytest.raises(NotReadyError, match=f"http://{HOST}:{server.port}/: ."):
        http_ready(HOST, server.port, "/")


def test_an_answer_that_breaks_off_is_not_ready() -> None:
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"
    with serving(says(broken)) as server, pytest.raises(NotReadyError):
        http_answer(HOST, server.port, "/")


def test_nobody_there_is_not_ready() -> None:
    port = closed_port()
    begun = time.monotonic()
    with pytest.raises(NotReadyError, match="refused"):
        http_ready(HOST, port, "/")
    with pytest.raises(NotReadyError, match=f"{HOST}:{port}: .*refused"):
        tcp_ready(HOST, port)
    assert time.monotonic() - begun < SLACK


def test_tcp_needs_an_accept_and_nothing_else() -> None:
    with serving(silent) as server:
        begun = time.monotonic()
        tcp_ready(HOST, server.port)
        assert time.monotonic() - begun < SLACK
