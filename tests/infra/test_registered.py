"""A component that a host registers in its tasks.py is one of the infrastructure everywhere, without another change."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from orienter_tasks.infra import all as infra
from tests import slot
from tests.configurations import prepared
from tests.infra import echo
from tests.integration.left import nothing_left
from tests.integration.small import SmallHost, pid_of, states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.checkouts import Checkout

PORTS = slot.bases((*slot.NAMES, "echo"))
FILES = (Path(echo.__file__), echo.SERVER)
REGISTER = "register(ENTRY, Echo)\n"
BEFORE = f"""\
from echo import ENTRY, Echo
from {infra.__name__} import register

{REGISTER}
from orienter_tasks import ns

__all__ = ["ns"]
"""
AFTER = BEFORE.replace(f"{REGISTER}\n", "") + f"\n{REGISTER}"
ALL = {"postgres": True, "minio": True, "nginx": True, "echo": True}


def register(host: SmallHost, tasks: str) -> None:
    """Give the main checkout the component's files, and a tasks.py."""
    for file in FILES:
        (host.main.path / file.name).write_bytes(file.read_bytes())
    (host.main.path / "tasks.py").write_text(tasks, encoding="utf-8")
    host.git("add", "--all")
    host.git("commit", "--quiet", "--message=An echo")


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory, clusters: Path) -> Iterator[Checkout]:
    """The main checkout of a host on the embedded backend, whose infrastructure is up."""
    directory = tmp_path_factory.mktemp("echo")
    with prepared(directory / "state", clusters):
        yield from started(directory, clusters, "embedded", AFTER)


def started(directory: Path, clusters: Path, backend: str, tasks: str) -> Iterator[Checkout]:
    host = SmallHost(directory / "x", backend, clusters, ports=PORTS, services={"web": None}, timeouts={"stop": 3.0})
    try:
        register(host, tasks)
        host.main.inv("infra.up")
        yield host.main
    finally:
        host.clean_up()


def echoed(checkout: Checkout, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", PORTS["echo"]), timeout=5) as sock:
        sock.sendall(words)
        return sock.recv(100)


@pytest.mark.embedded
class TestEmbedded:
    """One after the other, on one running instance."""

    def test_it_is_started_and_seen(self, main: Checkout) -> None:
        assert states(main) == ALL
        assert echoed(main, b"hello\n") == b"hello\n"
        status = main.inv("dev.status").out
        assert "partial" not in status
        (row,) = [line for line in status.splitlines() if line.startswith("echo ")]
        assert row.split()[1:3] == ["running", str(PORTS["echo"])]
        (instance,) = main.inv("instances", "--json").json["instances"]
        assert instance["state"] == "running"
        assert instance["ports"]["echo"] == PORTS["echo"]
        assert instance["services"] == {"running": 0, "of": 0}
        assert {part["name"]: part["kind"] for part in instance["components"]} == dict.fromkeys(ALL, "process")
        assert f"localhost:{PORTS['echo']}, valley valley_0" in main.inv("dev.announce").out

    def test_its_variables_are_the_instances(self, main: Checkout) -> None:
        shown = main.inv("env.show", "--json").json
        assert shown["variables"]["ECHO_PORT"] == str(PORTS["echo"])
        assert shown["variables"]["ECHO_VALLEY"] == "valley_0"
        password = main.variables["ECHO_PASSWORD"]
        assert f"ECHO_PASSWORD={password}\n" in (main.path / ".env").read_text()
        assert password not in json.dumps(shown)
        assert main.variables["ECHO_URL"] == f"echo://:{password}@127.0.0.1:{PORTS['echo']}/valley_0"

    def test_the_compose_file_has_it(self, main: Checkout) -> None:
        parsed = yaml.safe_load(main.inv("infra.compose").out)
        service = parsed["services"]["echo"]
        assert service["ports"] == [f"127.0.0.1:{PORTS['echo']}:7"]
        assert service["environment"] == {"ECHO_PASSWORD": main.variables["ECHO_PASSWORD"]}
        (mount,) = service["volumes"]
        assert mount.partition(":")[0] in parsed["volumes"]

    def test_its_log_is_told(self, main: Checkout) -> None:
        assert "listening" in main.inv("infra.logs", "-s", "echo", "--no-follow").out
        assert "listening" in main.inv("dev.logs", "--no-follow").out
        assert "known: postgres, minio, nginx, echo" in main.inv("infra.logs", "-s", "ecko", code=2).err

    def test_it_is_restarted(self, main: Checkout) -> None:
        pid = pid_of(main, "echo")
        main.inv("dev.restart", "-s", "echo")
        assert pid_of(main, "echo") != pid
        assert echoed(main, b"again\n") == b"again\n"

    def test_doctor_logs_in_to_it(self, main: Checkout) -> None:
        told = main.inv("doctor", code=None).out
        assert f"echo answers on {PORTS['echo']}: valley_0" in told
        assert "echo on Python" in told
        assert f"echo {PORTS['echo']}" in told

    def test_its_names_are_proved_for_every_id(self, main: Checkout) -> None:
        assert "valley_9" in main.inv("test.env").out

    def test_verify_looks_into_it(self, main: Checkout) -> None:
        document = main.inv("infra.verify", "--json").json
        (instance,) = document["instances"]
        assert (instance["valley"], instance["valleys"]) == ("valley_0", ["valley_0"])
        assert PORTS["echo"] in instance["ports"]
        assert "echo" in {process["component"] for process in instance["processes"]}
        assert instance["data"][str(main.works_in("echo"))] == "echo"
        assert ("valleys", "ok") in {(check["topic"], check["verdict"]) for check in document["checks"]}

    def test_a_service_may_not_have_its_name(self, main: Checkout) -> None:
        written = (main.path / "invoke.yaml").read_text()
        settings = json.loads(written)
        settings["orienter"]["services"]["echo"] = {"command": ["true"]}
        (main.path / "invoke.yaml").write_text(json.dumps(settings))
        try:
            assert "echo is a component of the infrastructure" in main.inv("env.show", code=2).err
        finally:
            (main.path / "invoke.yaml").write_text(written)

    def test_it_is_stopped_and_its_data_goes_last(self, main: Checkout) -> None:
        data = main.works_in("echo")
        assert "again" in (data / "lines").read_text()
        main.inv("infra.down")
        nothing_left([main])
        assert data.is_dir()
        main.inv("infra.up")
        main.inv("cleanup.instance", "0", "--yes")
        nothing_left([main])
        assert not data.exists()


@pytest.mark.docker
def test_in_docker(tmp_path: Path, clusters: Path) -> None:
    for main in started(tmp_path, clusters, "docker", BEFORE):
        assert states(main) == ALL
        assert echoed(main, b"hello\n") == b"hello\n"
        assert "listening" in main.inv("infra.logs", "-s", "echo", "--no-follow").out
        main.inv("dev.restart", "-s", "echo")
        assert f"echo answers on {PORTS['echo']}: valley_0" in main.inv("doctor", code=None).out
        document = main.inv("infra.verify", "--json").json
        assert "echo" in document["instances"][0]["data"].values()
        main.inv("infra.down", "--volumes", "--yes")
        nothing_left([main])
