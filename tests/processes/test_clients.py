"""Who is connected from outside, as the kernel and psutil tell it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.processes import sockets
from orienter_tasks.processes.clients import Connections, OutsideClient
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT = """
import socket, sys
made = [socket.create_connection((host, int(port))) for host, port in zip(sys.argv[1::2], sys.argv[2::2])]
print(flush=True)
sys.stdin.read()
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs netlink")


@pytest.fixture(params=[pytest.param("kernel", marks=LINUX), "psutil"])
def connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Connections:
    if request.param == "psutil":
        monkeypatch.setattr(sockets, "SOCK_DIAG", 31)  # no such protocol
    return Connections(sockets.Sockets())


@pytest.fixture
def servers() -> Iterator[dict[int, socket.socket]]:
    """Servers of this process: for IPv4, and for both kinds."""
    with ExitStack() as opened:
        four = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        both = opened.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
        yield {server.getsockname()[1]: server for server in (four, both)}


def test_those_of_other_processes(connections: Connections, servers: dict[int, socket.socket]) -> None:
    four, both = servers
    words = ["127.0.0.1", str(four), "127.0.0.1", str(both), "::1", str(both)]
    with (
        subprocess.Popen([sys.executable, "-c", CONNECT, *words], stdin=-1, stdout=-1) as client,
        ExitStack() as opened,
    ):
        assert client.stdout is not None
        client.stdout.readline()
        for port in (four, both, both):
            opened.enter_context(servers[port].accept()[0])
        seen = connections.from_outside(servers, lambda: [os.getpid()])
        assert sorted(each.port for each in seen) == sorted([four, both, both])
        assert connections.from_outside(servers, lambda: [os.getpid(), client.pid]) == []
        assert connections.from_outside([four], lambda: [client.pid]) == []
        assert connections.from_outside([1], lambda: pytest.fail("nothing is connected: nobody's files are read")) == []
        client.communicate()


@LINUX
def test_it_was_silent_since_the_last_question_and_answer(servers: dict[int, socket.socket]) -> None:
    port, server = next(iter(servers.items()))

    def silent() -> float:
        (found,) = Connections(sockets.Sockets()).from_outside([port], list)
        assert found.silent is not None
        return found.silent

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client, server.accept()[0] as near:
        wait_for(lambda: silent() > 0.3, "silence")
        began = time.monotonic()
        for _ in range(3):  # such as pings that nobody answers
            client.sendall(b"?")
            assert near.recv(1) == b"?"
        assert silent() > 0.3
        near.sendall(b"!")
        assert client.recv(1) == b"!"
        assert silent() <= time.monotonic() - began + 0.1


def test_without_a_kernel_that_tells_silence_is_not_known(
    servers: dict[int, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SOCK_DIAG", 31)
    port, server = next(iter(servers.items()))
    with socket.create_connection(("127.0.0.1", port), timeout=5), server.accept()[0]:
        assert Connections(sockets.Sockets()).from_outside([port], list) == [OutsideClient(port, None)]
