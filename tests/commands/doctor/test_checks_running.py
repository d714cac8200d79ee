"""What runs, what died, and what is left of checkouts that are gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands.doctor.checks_running import checkouts_and_orphans, servers, stale_records
from orienter_tasks.commands.doctor.command import examine
from orienter_tasks.identity.claims import Claims
from orienter_tasks.processes.record import load_all
from tests.commands.doctor.conftest import Patient, only
from tests.configurations import settled

if TYPE_CHECKING:
    from orienter_tasks.output.checks import Check
    from tests.conftest import MakeWorktree
    from tests.integration.checkouts import Checkout, Host

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


def test_a_record_of_a_process_that_died_and_its_fix(patient: Patient) -> None:
    alive, dead = patient.start("alive", *SLEEP), patient.start("dead", *SLEEP)
    assert patient.ask(stale_records) == []
    assert dead.child is not None
    os.kill(dead.record.pid, signal.SIGKILL)
    dead.child.wait()
    found = only(patient.ask(stale_records), "warning")
    assert f"dead of instance 0 (checkout) (pid {dead.record.pid}) died" in found.text
    assert found.fix is not None
    found.fix.apply()
    found.fix.apply()
    assert patient.ask(stale_records) == []
    about = patient.situation()
    assert [record.pid for record in load_all(about.current.config.instance)] == [alive.record.pid]


def test_a_fix_that_comes_too_late_removes_no_living_record(patient: Patient) -> None:
    dead = patient.start("web", *SLEEP)
    assert dead.child is not None
    os.kill(dead.record.pid, signal.SIGKILL)
    dead.child.wait()
    found = only(patient.ask(stale_records), "warning")
    assert found.fix is not None
    again = patient.start("web", *SLEEP)
    found.fix.apply()
    about = patient.situation()
    assert [record.pid for record in load_all(about.current.config.instance)] == [again.record.pid]


def orphans(patient: Patient) -> list[Check]:
    return [one for one in patient.ask(checkouts_and_orphans) if one.topic == "orphans"]


def test_processes_of_a_checkout_that_is_gone(patient: Patient, make_worktree: MakeWorktree) -> None:
    gone = patient.beside(make_worktree(patient.root, "gone"))
    gone.context().current.claim  # noqa: B018 - this claims
    handle = gone.start("web", *SLEEP)
    assert [one.text.startswith("not seen") for one in orphans(patient)] == [True, False]
    shutil.rmtree(gone.root)
    found = only(orphans(patient), "warning")
    assert f"left of checkouts that are gone: process pid {handle.record.pid}" in found.text
    assert found.remedy == "inv cleanup.daily"


def test_processes_that_nobody_has_claimed(patient: Patient, make_worktree: MakeWorktree) -> None:
    stray = patient.beside(make_worktree(patient.root, "stray"))
    handle = stray.start("web", *SLEEP)
    Claims().release(stray.context().current.claim.token)
    found = only(orphans(patient), "warning")
    assert f"of {stray.root}, which nobody has claimed: process pid {handle.record.pid}" in found.text
    assert found.remedy == f"cd {stray.root} && inv dev.status"


def test_no_settings_no_orphans(patient: Patient) -> None:
    patient.configure(project="Not A Name")
    assert not [check for check in examine(patient.context()) if check.topic == "orphans"]


def test_what_was_never_started_has_no_servers(patient: Patient) -> None:
    assert patient.ask(servers) == []


def doctor(checkout: Checkout, code: int = 0) -> dict[str, list[tuple[str, str, str]]]:
    """Return what the doctor says: level, what and remedy by topic."""
    said: dict[str, list[tuple[str, str, str]]] = {}
    for one in checkout.inv("doctor", "--json", code=code).json["findings"]:
        said.setdefault(one["topic"], []).append((one["level"], one["what"], one["remedy"]))
    return said


@pytest.mark.embedded
def test_servers_that_answer_and_that_do_not(own_host: Host) -> None:
    main = own_host.main
    main.inv("infra.up")
    said = doctor(main)
    assert [level for level, *_ in said["servers"]] == ["ok", "ok"]
    assert "whatsapp_bot_0" in said["servers"][0][1]
    assert "orienter-data-0" in said["servers"][1][1]
    assert said["exposed"] == [("ok", "everything of this instance listens on loopback only", "")]
    assert "3 are this instance's own" in said["ports"][0][1]

    before = (main.path / ".env").read_text()
    settled(main, POSTGRES_PASSWORD="changed", MINIO_ROOT_PASSWORD="changed-too")
    said = doctor(main, 1)
    assert [level for level, *_ in said["servers"]] == ["problem", "problem"]
    assert "password authentication failed" in said["servers"][0][1]
    (main.path / ".env").write_text(before)

    main.inv("infra.down")
    assert doctor(main)["servers"] == [("ok", "instance 0 (orienter) is stopped", "")]


@pytest.mark.embedded
def test_a_server_that_was_killed_under_its_service(own_host: Host) -> None:
    main = own_host.main
    main.inv("dev", "--detach")
    record = next((main.path / ".dev-pids" / "instance-0").glob("postgres.json"))
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    time.sleep(0.5)
    said = doctor(main, 1)
    what, remedy = next(line[1:] for line in said["servers"] if line[0] == "problem")
    assert "postgres of instance 0 (orienter) does not run" in what
    assert "dashboard" in what
    assert remedy == "inv infra.up"
    assert any("postgres" in what and level == "warning" for level, what, _ in said["records"])
    main.inv(*remedy.split()[1:])
    assert levels_of(doctor(main)) <= {"ok"}


def levels_of(said: dict[str, list[tuple[str, str, str]]]) -> set[str]:
    return {level for lines in said.values() for level, *_ in lines}
