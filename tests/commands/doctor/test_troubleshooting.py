"""Every symptom of the troubleshooting guide: it is produced, and what the tool itself says leads to the cure."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.configurations import OWN_PORTS, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Checkout, Host

HOLD = """
import socket, sys, time
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(600)
"""
pytestmark = pytest.mark.embedded


def worktree(host: Host, name: str = "feature-a-1") -> Checkout:
    return host.worktree(host.directory / "claude-worktrees" / "orienter" / name)


def problems(checkout: Checkout) -> list[dict[str, Any]]:
    """Return the problems that the doctor finds; there must be some."""
    found = checkout.inv("doctor", "--json", code=1).json["findings"]
    return [one for one in found if one["level"] == "problem"]


def warnings(checkout: Checkout) -> list[dict[str, Any]]:
    found = checkout.inv("doctor", "--json", code=None).json["findings"]
    return [one for one in found if one["level"] == "warning"]


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program of somebody else's on the port of the main checkout's PostgreSQL."""
    command = [sys.executable, "-c", HOLD, str(OWN_PORTS["postgres"])]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


class TestPortConflicts:
    """«Address already in use», «port is already allocated»."""

    def test_end_the_holder(self, own_host: Host, stranger: subprocess.Popen[bytes]) -> None:
        answer = own_host.main.inv("dev", "--detach", code=4)
        assert f"port {OWN_PORTS['postgres']} is taken" in answer.err
        assert f"pid {stranger.pid} (" in answer.err  # whom, and
        assert "hint: stop that process, or use another id: AI_INSTANCE_ID=N inv dev" in answer.err  # what to do
        stranger.kill()
        stranger.wait()
        own_host.main.inv("infra.up")
        own_host.main.inv("doctor")

    def test_use_the_id_that_the_doctor_names(self, own_host: Host, stranger: subprocess.Popen[bytes]) -> None:
        (found,) = problems(own_host.main)
        assert found["topic"] == "ports"
        assert f"pid {stranger.pid} (" in found["what"]
        offered = re.search(r"AI_INSTANCE_ID=(\d+) inv dev", found["remedy"])
        assert offered is not None
        own_host.main.inv("infra.up", AI_INSTANCE_ID=offered[1])
        assert stranger.poll() is None  # nothing of a stranger's was touched
        own_host.main.inv("infra.down", "--volumes", "--yes", AI_INSTANCE_ID=offered[1])

    def test_another_instance_is_named_by_its_checkout(self, own_host: Host) -> None:
        own_host.main.inv("infra.up")
        other = worktree(own_host)
        shifted = {name: port - 5000 for name, port in OWN_PORTS.items()}
        own_host.configure(other, project=f"{own_host.project}-b", ports=shifted)
        answer = other.inv("infra.up", code=None)  # id 5 would have the main checkout's ports: it gets another
        assert answer.code == 0, answer
        assert "this checkout is instance" in answer.err
        other.inv("infra.down", "--volumes", "--yes")


class TestDatabaseConnection:
    """«ECONNREFUSED localhost:5432»."""

    def test_it_was_not_started(self, own_host: Host) -> None:
        own_host.main.inv("env.init")
        answer = own_host.main.inv("services.start", "-s", "dashboard", code=3)
        assert "postgres" in answer.err
        assert "hint: start it with: inv infra.up" in answer.err
        own_host.main.inv("infra.up")
        own_host.main.inv("services.start", "-s", "dashboard")

    def test_the_password_is_another_than_the_datas(self, own_host: Host) -> None:
        main = own_host.main
        main.inv("infra.up")
        main.inv("infra.down")
        before = (main.path / ".env").read_text()
        settled(main, POSTGRES_PASSWORD="changed")
        answer = main.inv("infra.up", code=1)
        assert "refuses user 'aibot'" in answer.err
        assert "put that back into .env, or start over with: inv infra.down --volumes" in answer.err
        (main.path / ".env").write_text(before)
        main.inv("infra.up")
        settled(main, POSTGRES_PASSWORD="changed")
        main.inv("infra.down", "--volumes", "--yes")
        main.inv("infra.up")

    def test_a_shell_with_another_instances_address(self, own_host: Host) -> None:
        main = own_host.main
        main.inv("env.init")
        answer = main.inv("doctor", DATABASE_URL="postgresql://aibot@localhost:6432/whatsapp_bot_1")
        assert "another DATABASE_URL" in answer.out
        assert 'eval "$(inv env.export)"' in answer.out
        right = main.variables["DATABASE_URL"]
        assert "DATABASE_URL" not in main.inv("doctor", DATABASE_URL=right).out


class TestIsolation:
    """Instances that interfere with each other, or the wrong data shows up."""

    def test_a_service_that_is_configured_to_another_instances_database(self, own_host: Host) -> None:
        main, other = own_host.main, worktree(own_host)
        main.inv("infra.up")
        other.inv("infra.up")
        own_host.configure(other, services={"frontend": {**demo("frontend"), "env": {"POSTGRES_DB": "whatsapp_bot_0"}}})
        other.inv("services.start", "-s", "frontend")
        answer = main.inv("infra.verify", code=1)
        assert "POSTGRES_DB=whatsapp_bot_0" in answer.err
        remedy = answer.err.partition("hint: ")[2].strip()
        assert remedy == f"cd {other.path} && inv dev.restart -s frontend"
        own_host.configure(other, services={"frontend": {**demo("frontend"), "env": {}}})
        path, _, command = remedy.removeprefix("cd ").partition(" && inv ")
        assert path == str(other.path)
        other.inv(*shlex.split(command))
        main.inv("infra.verify")


class TestWhatsApp:
    """It keeps disconnecting, or several QR codes appear."""

    def test_a_second_one_is_refused_with_the_firsts_name(self, own_host: Host) -> None:
        main, other = own_host.main, worktree(own_host)
        main.inv("dev", "--detach")
        other.inv("infra.up")
        assert other.variables["WHATSAPP_ENABLED"] == "false"
        answer = other.inv("dev", "--detach", "--enable-whatsapp", code=4)
        assert f"instance 0 ({main.path}" in answer.err
        assert "stop it there with: inv dev.stop, or start instance 5 (feature-a-1) with --no-whatsapp" in answer.err
        answer = other.inv("doctor", code=1, WHATSAPP_ENABLED="true")
        assert f"cd {main.path} && inv services.stop -s whatsapp; or here: inv dev --no-whatsapp" in answer.out
        main.inv("services.stop", "-s", "whatsapp")
        other.inv("dev", "--detach", "--enable-whatsapp")
        assert b"pairs with no phone" in other.request("GET", "/qr")


class TestDetection:
    """A worktree is instance 0, or its ports are not offset."""

    def test_an_id_in_dotenv(self, own_host: Host) -> None:
        other = settled(worktree(own_host), AI_INSTANCE_ID="0")
        (found,) = [one for one in warnings(other) if one["topic"] == "instance"]
        assert "although this is the linked worktree feature-a-1, which would be 5" in found["what"]
        subprocess.run(["sh", "-c", found["remedy"]], cwd=other.path, check=True)
        assert not (other.path / ".env.bak").exists()
        assert other.inv("env.show", "--json").json["id"] == 5

    def test_a_shell_of_another_checkout(self, own_host: Host) -> None:
        main, other = own_host.main, worktree(own_host)
        main.inv("env.init")
        exported = main.variables
        number, root = exported["AI_INSTANCE_ID"], exported["AI_INSTANCE_ROOT"]
        answer = other.inv("env.show", code=4, AI_INSTANCE_ID=number, AI_INSTANCE_ROOT=root)
        assert f"was exported for {main.path}, but this checkout is {other.path}" in answer.err
        assert "hint: run: unset AI_INSTANCE_ID AI_INSTANCE_ROOT" in answer.err
        answer = other.inv("doctor", code=1, AI_INSTANCE_ID=number, AI_INSTANCE_ROOT=root)
        assert "unset AI_INSTANCE_ID AI_INSTANCE_ROOT" in answer.err
        assert other.inv("env.show", "--json").json["id"] == 5

    def test_ports_that_dotenv_sets(self, own_host: Host) -> None:
        other = settled(worktree(own_host), DASHBOARD_PORT="4098", POSTGRES_PASSWORD="x")
        ignored = [one for one in warnings(other) if one["topic"] == ".env" and "is ignored" in one["what"]]
        assert len(ignored) == 1
        assert other.variables["DASHBOARD_PORT"] == str(OWN_PORTS["dashboard"] + 5000)
        subprocess.run(["sh", "-c", ignored[0]["remedy"]], cwd=other.path, check=True)
        assert not [one for one in warnings(other) if "is ignored" in one["what"]]

    def test_from_a_directory_within(self, own_host: Host) -> None:
        other = worktree(own_host)
        assert other.inv("env.show", "--json", cwd=other.path / "examples" / "demo").json["id"] == 5


def demo(name: str) -> dict[str, Any]:
    return {"command": ["${PYTHON}", "-m", f"examples.demo.{name}"]}
