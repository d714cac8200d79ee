"""`remote.open`: an instance of another machine, as if it were here, and nothing of it afterwards."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from pg8000 import native

from orienter_tasks.commands import remote
from orienter_tasks.errors import ConfigError
from orienter_tasks.machine import ports
from tests.commands.machines import NAME, Machine
from tests.integration.checkouts import INV
from tests.integration.small import BASES, Running, complaint, kill, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.small import MakeHost

OPEN = ("remote.open", "--inv", str(INV))


@pytest.fixture
def machine(tmp_path: Path, clusters: Path) -> Iterator[Machine]:
    with Machine(tmp_path / "machine", clusters) as made:
        yield made


def page(path: str = "/") -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{BASES['nginx']}{path}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def nothing_left(machine: Machine) -> None:
    wait_for(lambda: not machine.clients(), "the end of ssh")
    wait_for(lambda: ports.is_free(BASES["nginx"]), "the port")
    assert ports.is_free(BASES["postgres"])


@pytest.mark.embedded
def test_as_if_it_were_here(make_host: MakeHost, machine: Machine, tmp_path: Path) -> None:
    there = make_host(infra={"minio": None}).main
    here = make_host(infra={"postgres": None, "minio": None}).main
    caller, place = machine.visible_from(here), f"{NAME}:{there.path}"
    machine.inv(there, "dev", "--detach")
    assert ports.is_free(BASES["nginx"])

    with Running(caller, tmp_path, *OPEN, place) as going:
        going.until("forwarding; Ctrl-C ends it")
        assert f"-0.localhost:{BASES['nginx']}" in going.out
        page("/dashboard/")
        url = urlsplit(json.loads(machine.inv(there, "env.export", "--format", "json"))["DATABASE_URL"])
        login = native.Connection(str(url.username), "127.0.0.1", url.path[1:], url.port or 0, url.password)
        assert login.run("SELECT 1") == [[1]]
        login.close()
        opened = [each for client in machine.clients() for each in client.net_connections("tcp")]
        listening = {address for (address, _) in (each.laddr for each in opened if each.status == psutil.CONN_LISTEN)}
        assert listening == {"127.0.0.1"}

        second = complaint(caller.inv(*OPEN, place, code=4))
        assert "has ports that are taken here" in second
        assert "ssh" in caller.inv("infra.up", code=4).err, "a start here names what holds them"

        machine.cut()
        going.until(f"the link to {NAME} is lost")
        going.until(f"{NAME} is back after")
        page("/dashboard/")

        machine.inv(there, "dev.stop")
        going.until("does not answer")
        machine.inv(there, "infra.up")
        going.until("answers again")
        going.send(signal.SIGINT)
        going.end(0)
    nothing_left(machine)

    with Running(caller, tmp_path, *OPEN, place) as going:
        going.until("forwarding; Ctrl-C ends it")
        kill(going.process.pid)
        nothing_left(machine)

    here.inv("infra.up")
    told = complaint(caller.inv(*OPEN, place, code=4))
    assert f"({here.path}) uses here" in told
    here.inv("dev.stop")

    machine.inv(there, "dev.stop")
    assert f"is stopped → start it there: ssh {NAME}" in complaint(caller.inv(*OPEN, place, code=3))
    assert "has no directory /nowhere" in complaint(caller.inv(*OPEN, f"{NAME}:/nowhere", code=3))
    assert "has no program /no/inv" in complaint(caller.inv("remote.open", "--inv", "/no/inv", place, code=3))
    machine.known.write_text("")
    told = complaint(caller.inv(*OPEN, place, code=5))
    assert f"{NAME} cannot be reached: Host key verification failed" in told
    machine.trust()


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("box:code/shop", "box", "code/shop"),
        ("me@box:/srv/x y", "me@box", "/srv/x y"),
        ("me@[::1]:~/a:b", "me@[::1]", "~/a:b"),
        ("ssh://me@box:2222/srv/shop", "ssh://me@box:2222", "/srv/shop"),
    ],
)
def test_places(text: str, host: str, path: str) -> None:
    assert remote.parse(text) == remote.Place(host, path)


@pytest.mark.parametrize(
    "text", ["", "box", "box:", ":path", "-oProxyCommand=x:path", "a b:c", "box:a\nb", "ssh://box"]
)
def test_places_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"remote\.open: expected USER@BOX:PATH"):
        remote.parse(text)
