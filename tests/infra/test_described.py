"""Servers that a host only describes in its settings are infrastructure everywhere: real ones, on both backends."""

from __future__ import annotations

import json
import shutil
import smtplib
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests import slot
from tests.configurations import prepared
from tests.integration.checkouts import IMAGES
from tests.integration.left import nothing_left
from tests.integration.small import SmallHost, complaint, pid_of, states, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.checkouts import Checkout

PORTS = slot.bases((*slot.NAMES, "mail", "cache"))
MAIL: Mapping[str, Any] = {
    "port": 1025,
    "program": [
        *("${PYTHON}", "-m", "aiosmtpd", "-n", "-l", "${SERVICE_HOST}:${MAIL_PORT}"),
        *("-c", "aiosmtpd.handlers.Mailbox", "box"),
    ],
    "ready": {"expect": "220 "},
    "data": True,
    "exports": {"SMTP_URL": "smtp://127.0.0.1:${MAIL_PORT}", "MAIL_BOX": "${DATA_DIR} ${AI_INSTANCE_ID}"},
}
CACHE: Mapping[str, Any] = {
    "port": 11211,
    "image": [f"{IMAGES}/memcached:local", "-m", "16", "-p", "${CACHE_PORT}", "-l", "${SERVICE_HOST}"],
    "program": ["memcached", "-m", "16", "-p", "${CACHE_PORT}", "-l", "${SERVICE_HOST}"],
    "ready": {"send": "version\r\n", "expect": "VERSION "},
    "env": {"CACHE_OF": "${AI_INSTANCE_ID} on ${CACHE_PORT}"},
    "exports": {"MEMCACHE_SERVERS": "127.0.0.1:${CACHE_PORT}"},
}
STOP = {"stop": 3.0}
needs_memcached = pytest.mark.skipif(shutil.which("memcached") is None, reason="memcached is not installed")


def started(directory: Path, clusters: Path, backend: str, infra: Mapping[str, Any]) -> Iterator[Checkout]:
    host = SmallHost(
        directory / "x", backend, clusters, ports=PORTS, infra=infra, services={"web": None}, timeouts=STOP
    )
    try:
        host.main.inv("infra.up")
        yield host.main
    finally:
        host.clean_up()


def said(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(words)
        return sock.recv(1000)


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory, clusters: Path) -> Iterator[Checkout]:
    """The main checkout of a host with both, on the embedded backend, whose infrastructure is up."""
    directory = tmp_path_factory.mktemp("described")
    with prepared(directory / "state", clusters):
        yield from started(directory, clusters, "embedded", {"mail": MAIL, "cache": CACHE})


@needs_memcached
@pytest.mark.embedded
class TestEmbedded:
    """One after the other, on one running instance."""

    def test_they_are_started_and_seen(self, main: Checkout) -> None:
        assert states(main) == dict.fromkeys(("postgres", "minio", "nginx", "mail", "cache"), True)
        (instance,) = main.inv("instances", "--json").json["instances"]
        assert instance["state"] == "running"
        assert instance["services"] == {"running": 0, "of": 0}, "seen without the settings that describe them"
        assert (instance["ports"]["mail"], instance["ports"]["cache"]) == (PORTS["mail"], PORTS["cache"])
        assert f"localhost:{PORTS['mail']}" in main.inv("dev.announce").out

    def test_each_serves(self, main: Checkout) -> None:
        with smtplib.SMTP("127.0.0.1", PORTS["mail"], timeout=5) as client:
            client.sendmail("a@example.test", ["b@example.test"], "Subject: hello\r\n\r\nfrom the test\r\n")
        (letter,) = (main.works_in("mail") / "box" / "new").iterdir()
        assert "from the test" in letter.read_text()
        assert said(PORTS["cache"], b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"

    def test_variables(self, main: Checkout) -> None:
        assert main.variables["SMTP_URL"] == f"smtp://127.0.0.1:{PORTS['mail']}"
        assert main.variables["MEMCACHE_SERVERS"] == f"127.0.0.1:{PORTS['cache']}"
        assert main.variables["MAIL_BOX"] == f"{main.variables['DATA_DIR']} 0"
        shown = main.inv("env.show", "--json").json
        assert shown["variables"]["CACHE_PORT"] == str(PORTS["cache"])

    def test_the_compose_file_leaves_out_what_has_no_image(self, main: Checkout) -> None:
        told = main.inv("infra.compose").out
        assert "# Left out, as the settings give them no image: mail.\n" in told
        assert yaml.safe_load(told)["services"].keys() == {"postgres", "minio", "nginx", "cache"}

    def test_logs_stats_and_doctor(self, main: Checkout) -> None:
        assert "known: postgres, minio, nginx, mail, cache" in main.inv("infra.logs", "-s", "mole", code=2).err
        main.inv("infra.logs", "-s", "mail", "--no-follow")
        parts = {part["name"] for part in main.inv("infra.stats", "--json").json["components"]}
        assert {"mail", "cache"} <= parts
        told = main.inv("doctor", code=None).out
        assert f"mail {PORTS['mail']}" in told
        assert "cache by memcached" in told

    def test_a_restart(self, main: Checkout) -> None:
        pid = pid_of(main, "cache")
        main.inv("dev.restart", "-s", "cache")
        assert pid_of(main, "cache") != pid
        assert said(PORTS["cache"], b"get k\r\n") == b"END\r\n"

    def test_verify(self, main: Checkout) -> None:
        (instance,) = main.inv("infra.verify", "--json").json["instances"]
        assert {PORTS["mail"], PORTS["cache"]} <= {*instance["ports"]}
        assert instance["data"][str(main.works_in("mail"))] == "mail"

    def test_ports_and_names_of_every_id(self, main: Checkout) -> None:
        assert "✓ no two ports meet              100 ports of 10 ids" in main.inv("test.env").out

    def test_data_that_cannot_be_copied_is_named(self, main: Checkout) -> None:
        assert "mail: its data cannot be copied" in main.inv("data.snapshot", "one").err
        main.inv("data.rm", "one", "--yes")

    def test_those_that_the_settings_no_longer_have_are_stopped_and_their_data_removed(self, main: Checkout) -> None:
        data = main.works_in("mail")
        file = main.path / "invoke.yaml"
        settings = json.loads(file.read_text())
        del settings["orienter"]["infra"]
        file.write_text(json.dumps(settings))
        main.inv("dev.stop")
        nothing_left([main])
        assert data.is_dir()
        assert "mail-data-0" in main.inv("dev.stop", "--volumes", "--yes").err
        assert not data.exists()


@pytest.mark.docker
def test_in_docker(tmp_path: Path, clusters: Path) -> None:
    for main in started(tmp_path, clusters, "docker", {"cache": {**CACHE, "data": "/data"}}):
        assert states(main)["cache"]
        assert said(PORTS["cache"], b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"
        service = yaml.safe_load(main.inv("infra.compose").out)["services"]["cache"]
        assert service["ports"] == [f"127.0.0.1:{PORTS['cache']}:11211"]
        assert service["environment"] == {"CACHE_OF": "0 on 11211"}
        assert service["command"][-4:] == ["-p", "11211", "-l", "0.0.0.0"]
        main.inv("dev.restart", "-s", "cache")
        assert said(PORTS["cache"], b"get k\r\n") == b"END\r\n"
        document = main.inv("infra.verify", "--json").json
        assert "cache" in document["instances"][0]["data"].values()
        file = main.path / "invoke.yaml"
        settings = json.loads(file.read_text())
        del settings["orienter"]["infra"]
        file.write_text(json.dumps(settings))
        main.inv("dev.stop", "--volumes", "--yes")
        nothing_left([main])


def containers(label: str) -> str:
    listed = ["docker", "ps", "-aq", "--filter", f"label={label}"]
    return subprocess.run(listed, capture_output=True, text=True, check=True).stdout


@pytest.mark.docker
@pytest.mark.embedded
def test_a_service_that_is_a_container_is_told_the_way(tmp_path: Path, clusters: Path) -> None:
    label = f"orienter-test-box={slot.project('box')}"
    port = "127.0.0.1:${DASHBOARD_PORT}:80"
    command = ["docker", "run", "--rm", "--label", label, "-p", port, f"{IMAGES}/nginx:local"]
    box = {"command": command, "port": "dashboard", "ready": {"http": "/"}}
    infra = {"postgres": None, "minio": None}
    host = SmallHost(tmp_path / "x", "embedded", clusters, ports=PORTS, infra=infra, services={"web": None, "box": box})
    try:
        said = complaint(host.main.inv("dev", "--detach", code=2))
        assert "box of instance 0 (orienter) runs in a container, whose port" in said
        assert "describe it as a server instead: orienter.infra.box" in said
        wait_for(lambda: not containers(label), "the end of its container")
    finally:
        host.clean_up()
