"""Who listens: the kernel and psutil agree."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.machine import ports
from orienter_tasks.processes import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def of_kernel(pids: Iterable[int]) -> list[sockets.Listening]:
    return sockets.Sockets().of_kernel(pids)


LINUX = pytest.param(of_kernel, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs netlink"))
READERS = [LINUX, sockets.of_psutil]
CHILD = """
import socket, sys
made = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)]
print(*(one.getsockname()[1] for one in made), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[tuple[int, list[int]]]:
    """A process of another pid and its two ports."""
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
        process.communicate()


@pytest.mark.parametrize("read", READERS)
def test_every_kind_of_address(read: Callable[[Iterable[int]], list[sockets.Listening]]) -> None:
    wanted = set()
    with ExitStack() as opened:
        for address, options in (
            ("127.0.0.1", {}),
            ("0.0.0.0", {}),
            ("127.0.0.7", {}),
            ("::1", {"family": socket.AF_INET6}),
            ("::", {"family": socket.AF_INET6, "dualstack_ipv6": True}),
            ("::ffff:127.0.0.1", {"family": socket.AF_INET6, "dualstack_ipv6": True}),
        ):
            made = opened.enter_context(socket.create_server((address, 0), **options))
            wanted.add(sockets.Listening(made.getsockname()[1], address, os.getpid()))
        unused = opened.enter_context(socket.socket())
        unused.bind(("127.0.0.1", 0))
        client = opened.enter_context(
            socket.create_connection(
                ("127.0.0.1", next(each.port for each in wanted if each.address == "127.0.0.1")), timeout=5
            )
        )
        seen = read([os.getpid()])
        assert wanted <= set(seen)
        assert not {unused.getsockname()[1], client.getsockname()[1]} & {each.port for each in seen}
    assert not wanted & set(read([os.getpid()]))


@pytest.mark.parametrize("read", READERS)
def test_of_whom_was_asked(
    read: Callable[[Iterable[int]], list[sockets.Listening]], child: tuple[int, list[int]]
) -> None:
    pid, (four, six) = child
    seen = {sockets.Listening(four, "127.0.0.1", pid), sockets.Listening(six, "::1", pid)}
    assert set(read([pid])) == seen
    assert set(read([os.getpid(), pid, 2**22 - 1])) >= seen
    assert not seen & set(read([os.getpid()]))
    assert read([]) == read([2**22 - 1]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs netlink")
def test_an_answer_of_many_messages_is_read_whole() -> None:
    with ExitStack() as opened:
        made = [
            opened.enter_context(socket.create_server((address, 0), family=family))
            for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
            for _ in range(300)  # a message has about a hundred; 1,024 files may be open
        ]
        wanted = {sockets.Listening(one.getsockname()[1], one.getsockname()[0], os.getpid()) for one in made}
        assert len(wanted) == 600
        assert wanted <= set(of_kernel([os.getpid()]))
        assert wanted <= set(sockets.of_psutil([os.getpid()]))


@pytest.mark.skipif(sys.platform != "linux", reason="needs netlink")
def test_a_kernel_that_does_not_answer(child: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SOCK_DIAG", 31)  # no such protocol
    with pytest.raises(OSError, match="rotocol"):
        of_kernel([child[0]])
    assert {each.port for each in sockets.of([child[0]])} == set(child[1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs netlink")
def test_a_kernel_that_refuses_the_question(child: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BY_FAMILY", 99)  # no such question: the answer is an error
    with pytest.raises(OSError, match="does not tell"):
        of_kernel([child[0]])
    assert {each.port for each in sockets.of([child[0]])} == set(child[1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs netlink")
def test_both_tell_the_same_of_the_whole_machine() -> None:
    def differences() -> set[sockets.Listening]:
        pids = psutil.pids()
        before, seen, after = (set(read(pids)) for read in (of_kernel, sockets.of_psutil, of_kernel))
        return ((before & after) - seen) | (seen - (before | after))

    # psutil reads /proc/net/tcp in pieces, and can miss a socket while others on the machine close theirs
    assert not set.intersection(*(differences() for _ in range(3)))


def test_a_connection_of_ours_keeps_no_port() -> None:
    """A server may listen where it came from, at once; the system gives such ports to clients, and ours are many."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = ports.connect("localhost", server.getsockname()[1], 5.0)
        near, _ = server.accept()
        port = client.getsockname()[1]
        client.close()
        assert near.recv(1) == b""
        near.close()
        with socket.create_server(("127.0.0.1", port)):
            pass
    with pytest.raises(OSError, match="refused"):
        ports.connect("127.0.0.1", port, 5.0)
