"""Who holds this instance's ports, and what of it can be reached from elsewhere. With real sockets."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.checks_ports import exposed, held
from orienter_tasks.machine import ports
from tests import slot
from tests.commands.doctor.conftest import Patient, levels, only
from tests.configurations import OWN_PORTS, OWN_PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import MakeRepo

SERVICE = {"command": ["true"], "port": "dashboard"}
LISTEN = """
import socket, sys, time
held = []
for place in sys.argv[1:]:
    address, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    held.append(socket.create_server((address, int(port)), family=family))
print("ready", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def stranger(port: int, directory: Path) -> Iterator[int]:
    """A process of nobody's that listens on a port; its pid."""
    command = [sys.executable, "-c", LISTEN, f"127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def wait_for(*wanted: int) -> None:
    deadline = time.monotonic() + 10
    while any(ports.is_free(port) for port in wanted):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_free(patient: Patient) -> None:
    found = only(patient.ask(held), "ok")
    assert f"dashboard {OWN_PORTS['dashboard']}" in found.text
    assert found.text.endswith("none is in use")


def test_a_stranger_is_named_and_a_free_id_offered(patient: Patient, tmp_path: Path) -> None:
    port = OWN_PORTS["postgres"]
    (tmp_path / "its directory").mkdir()
    with stranger(port, tmp_path / "its directory") as pid, stranger(port + 1000, tmp_path) as _:
        found = only(patient.ask(held), "problem")
        assert f"{port} (postgres) of instance 0" in found.text
        assert f"pid {pid} (" in found.text
        assert f"in {tmp_path / 'its directory'})" in found.text
        # id 1 is not offered: its PostgreSQL would meet the other one
        assert found.remedy == "end that, or: AI_INSTANCE_ID=2 inv dev (another id has other data)"


def test_no_id_is_free(patient: Patient, tmp_path: Path) -> None:
    patient.configure(instances={"max": 0})
    with stranger(OWN_PORTS["nginx"], tmp_path):
        assert only(patient.ask(held), "problem").remedy == "end that, or: inv instances"


def test_a_port_that_nothing_here_uses_may_be_taken(patient: Patient, tmp_path: Path) -> None:
    with stranger(OWN_PORTS["vite"], tmp_path):
        assert levels(patient.ask(held)) == ["ok"]


def test_another_instance_on_the_port_is_named_as_such(patient: Patient, make_repo: MakeRepo) -> None:
    patient.context().current.claim  # noqa: B018 - this claims
    other = patient.beside(make_repo("other"))
    other.configure(project=f"{OWN_PROJECT}-b", ports=slot.bases(skip=len(OWN_PORTS)))
    claim = other.context().current.claim
    from orienter_tasks.identity.claims import Claims

    Claims().update(claim.token, ports={"nginx": OWN_PORTS["nginx"]})
    with stranger(OWN_PORTS["nginx"], other.root):
        found = only(patient.ask(held), "problem")
    assert f"instance {claim.id} of {OWN_PROJECT}-b in {other.root}" in found.text


def test_its_own_are_its_own(patient: Patient) -> None:
    patient.configure(services={"dashboard": SERVICE})
    port = OWN_PORTS["dashboard"]
    patient.start("dashboard", sys.executable, "-c", LISTEN, f"127.0.0.1:{port}")
    wait_for(port)
    assert "1 is this instance's own" in only(patient.ask(held), "ok").text
    assert levels(patient.ask(exposed)) == ["ok"]


def test_a_service_that_other_machines_can_reach(patient: Patient) -> None:
    patient.configure(services={"dashboard": SERVICE})
    port, debug = OWN_PORTS["dashboard"], slot.port()
    patient.start("dashboard", sys.executable, "-c", LISTEN, f"0.0.0.0:{port}", f":::{debug}")
    wait_for(port, debug)
    found = patient.ask(exposed)
    assert levels(found) == ["warning", "warning"]
    assert found[0].text.startswith(f"dashboard listens on 0.0.0.0, port {port}: other machines can reach it (pid ")
    assert "${SERVICE_HOST} in orienter.services.dashboard.command" in found[0].remedy
    assert f"port {debug}" in found[1].text
    assert f"sudo iptables -I INPUT ! -i lo -p tcp --dport {port} -j DROP" in found[0].remedy
    assert "accept it: orienter.services.dashboard.exposed: true" in found[0].remedy
    assert "accept it" not in found[1].remedy

    patient.configure(services={"dashboard": {**SERVICE, "exposed": True}})
    assert levels(patient.ask(exposed)) == ["ok", "warning"]
