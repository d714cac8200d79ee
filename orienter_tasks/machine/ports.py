"""Ports of this machine: which are free, and which may be bound."""

from __future__ import annotations

import errno
import socket
import time

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether nothing listens on a loopback port, IPv4 or IPv6."""
    return _bindable(socket.AF_INET, LOOPBACK, port) and _bindable(socket.AF_INET6, "::1", port)


def any_free() -> int:
    """Return a port on which nothing listens, of those that the system gives to clients."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def await_free(port: int, seconds: float) -> bool:
    """Wait until a port is free, and return whether it is.

    A port without a listener may be in use by a client for a while: the system assigns high ports to clients.
    """
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Connect from a port on which another process may listen as soon as this connection has ended.

    Raises:
        OSError: nothing answers.
    """
    failure: OSError = OSError(f"{host} has no address")
    name = host.encode() if host.isascii() else host  # for a str, Python imports its IDNA codec
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.settimeout(timeout)
            made.connect(address)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def may_bind(port: int) -> bool:
    """Whether this process has the privilege to bind a port, taken or not."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return True


def _bindable(family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except PermissionError:
        return not _answers(family, address, port)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _answers(family: int, address: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        return client.connect_ex((address, port)) == 0
