"""Whether the services' programs are there."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.commands.doctor import checks_services as programs
from orienter_tasks.services import lease
from orienter_tasks.settings import defaults
from tests.commands.doctor.conftest import Patient, levels, only

if TYPE_CHECKING:
    from pathlib import Path

ALL = {"WHATSAPP_ENABLED": "true", **dict.fromkeys(defaults.SERVICES["slack"]["requires_env"], "set")}


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which nothing is."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def put(path: Path, *names: str) -> None:
    for name in names:
        (path / name).symlink_to(sys.executable)


def test_orients_own_services_need_node_and_its_friends(patient: Patient, empty_path: Path) -> None:
    patient.settings["services"] = {}
    (patient.root / ".env").write_text("".join(f"{name}={value}\n" for name, value in ALL.items()))
    found = {one.text.split(" ")[0]: one for one in patient.ask(programs.found) if one.verdict == "problem"}
    assert set(found) == {"pnpm", "opencode", "npx"}
    assert "orienter.services.frontend, orienter.services.dashboard need it" in found["pnpm"].text
    assert found["pnpm"].remedy.startswith("corepack enable pnpm")
    assert found["opencode"].remedy == "npm install --global opencode-ai"
    assert "node" in found["npx"].remedy
    assert "node is not on PATH, and npx, pnpm needs it" in only(patient.ask(programs.node), "problem").text

    put(empty_path, "pnpm", "npx", "opencode", "node")
    assert levels(patient.ask(programs.found)) == ["ok"]
    assert patient.ask(programs.node) == []


def test_what_is_not_started_needs_nothing(patient: Patient, empty_path: Path) -> None:
    patient.settings["services"] = {name: None for name in defaults.SERVICES if name != "slack"}
    assert patient.ask(programs.found) == []
    assert "slack is not started: SLACK_BOT_TOKEN" in only(patient.ask(programs.skipped), "ok").text


def test_a_service_that_needs_no_node_is_not_asked_for_it(patient: Patient, empty_path: Path) -> None:
    patient.configure(services={"api": {"command": ["${PYTHON}", "-m", "api"]}})
    assert levels(patient.ask(programs.found)) == ["ok"]
    assert patient.ask(programs.node) == []


def test_a_program_and_a_directory_of_the_checkouts_own(patient: Patient) -> None:
    patient.configure(services={"api": {"command": ["./run", "${DASHBOARD_PORT}"], "cwd": "services/api"}})
    found = [one for one in patient.ask(programs.found) if one.verdict == "problem"]
    assert found[0].remedy == f"mkdir -p {patient.root}/services/api"
    assert found[1].text == "./run is not there, and orienter.services.api needs it"
    place = patient.root / "services" / "api"
    place.mkdir(parents=True)
    shutil.copy(sys.executable, place / "run")
    assert levels(patient.ask(programs.found)) == ["ok"]


def test_a_hook_and_a_variable_that_nobody_sets(patient: Patient) -> None:
    patient.configure(hooks={"before_services": [{"name": "migrate", "command": ["${MIGRATE}", "up"]}]})
    found = only(patient.ask(programs.found), "problem")
    assert "hook migrate.command: ${MIGRATE} is not set" in found.text
    assert found.remedy == "see: inv env.show"


def test_packages_that_were_not_installed(patient: Patient, empty_path: Path) -> None:
    put(empty_path, "pnpm", "node")
    patient.configure(services={"web": {"command": ["pnpm", "dev"]}})
    (patient.root / "package.json").write_text('{"dependencies": {}}')
    assert levels(patient.ask(programs.found)) == ["ok"]
    (patient.root / "package.json").write_text('{"devDependencies": {"vite": "7"}}')
    assert only(patient.ask(programs.found), "problem").remedy == "npm install"
    (patient.root / "pnpm-lock.yaml").write_text("")
    assert only(patient.ask(programs.found), "problem").remedy == "pnpm install"
    (patient.root / "node_modules").mkdir()
    assert levels(patient.ask(programs.found)) == ["ok"]


def test_a_lease_that_another_instance_holds(patient: Patient, tmp_path: Path) -> None:
    patient.configure(services={"whatsapp": {"command": [sys.executable], "lease": "whatsapp"}})
    about = patient.situation()
    assert list(programs.leases(about)) == []
    lease.take("whatsapp", replace(about.current.config.instance, id=3, root=tmp_path / "other"), "whatsapp")
    found = only(patient.ask(programs.leases), "problem")
    assert f"whatsapp runs in instance 3 ({tmp_path / 'other'}" in found.text
    assert found.remedy.endswith("inv dev --no-whatsapp")
    patient.configure(services={"whatsapp": {"command": [sys.executable], "lease": "whatsapp", "enabled_by": "NEVER"}})
    assert levels(patient.ask(programs.leases)) == ["ok"]
