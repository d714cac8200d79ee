"""Python, git and disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands.doctor import checks_machine as machine
from orienter_tasks.services import last_start
from tests.commands.doctor.conftest import Patient, levels, only
from tests.configurations import OWN_PORTS

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.output.checks import Verdict
    from tests.conftest import MakeRepo, MakeWorktree


def test_the_interpreter_is_named(patient: Patient) -> None:
    (found,) = patient.ask(machine.python)
    assert found.verdict == "ok"
    assert "Python 3." in found.text
    assert "invoke" in found.text


def test_an_old_interpreter_is_a_problem(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (99, 0))
    assert only(patient.ask(machine.python), "problem").remedy


def test_a_main_checkout_and_a_worktree_are_told_apart(patient: Patient, make_worktree: MakeWorktree) -> None:
    assert f"{patient.root} is a main checkout" in only(patient.ask(machine.git), "ok").text
    linked = patient.beside(make_worktree(patient.root, "side"))
    assert f"is a linked worktree of {patient.root}" in only(linked.ask(machine.git), "ok").text


def test_no_checkout_at_all(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    found = only(patient.beside(tmp_path / "plain").ask(machine.git), "warning")
    assert "is not a git checkout" in found.text


def test_no_git(patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = only(patient.ask(machine.git), "problem")
    assert found.text == "git is not on PATH"
    assert "git" in found.remedy


def test_a_git_that_cannot_run(patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "cannot run" in only(patient.ask(machine.git), "problem").text


def test_room_on_the_disk(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = 10**18
    monkeypatch.setattr(machine, "LOW", 0)
    monkeypatch.setattr(machine, "NONE_LEFT", 0)
    assert levels(patient.ask(machine.disk)) == ["ok"]
    monkeypatch.setattr(machine, "LOW", huge)
    assert only(patient.ask(machine.disk), "warning").remedy == "inv cleanup.weekly --dry-run"
    monkeypatch.setattr(machine, "NONE_LEFT", huge)
    assert levels(patient.ask(machine.disk)) == ["problem"]


def test_a_host_name_that_the_system_does_not_resolve(patient: Patient) -> None:
    assert machine.resolved("localhost") != []
    assert machine.resolved("nowhere.invalid") == []
    patient.configure(nginx={"hostname": "a{id}.invalid"})
    found = only(patient.ask(machine.hostname), "warning")
    assert "does not resolve a0.invalid" in found.text
    assert "services use 127.0.0.1 and are not affected" in found.text
    assert found.remedy == "echo '127.0.0.1 a0.invalid' | sudo tee -a /etc/hosts"
    patient.configure(nginx={"hostname": ""})
    assert patient.ask(machine.hostname) == []


@pytest.mark.parametrize(
    ("addresses", "verdict", "words"),
    [
        ([], "ok", "browsers and curl find"),
        (["127.0.0.1", "::1"], "ok", "leads to this machine"),
        (["127.0.0.1", "192.0.2.1"], "warning", "leads to 192.0.2.1 and not to this machine"),
        (["fe80::1%lo"], "warning", "leads to fe80::1%lo"),
    ],
)
def test_where_a_host_name_leads(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, addresses: list[str], verdict: Verdict, words: str
) -> None:
    monkeypatch.setattr(machine, "resolved", lambda _: addresses)
    assert words in only(patient.ask(machine.hostname), verdict).text


def test_two_projects_with_one_host_name(patient: Patient, make_repo: MakeRepo) -> None:
    other = patient.beside(make_repo("other"))
    for each, project in ((other, "other"), (patient, "one")):
        each.configure(project=project, nginx={"hostname": "same-{id}.localhost"})
    other.configure(ports={name: base + 20_000 for name, base in OWN_PORTS.items()})  # else it gets another id
    assert levels(patient.ask(machine.hostname)) == ["ok"]
    instance = other.context().current.instance
    instance.pid_dir.mkdir(parents=True)
    last_start.remember(instance, None)
    assert (
        "same-0.localhost is the host name of instance 0 (other) of other too"
        in only(patient.ask(machine.hostname), "warning").text
    )
