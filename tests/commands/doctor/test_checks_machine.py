"""Python, git and disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor import checks_machine as machine
from tests.commands.doctor.conftest import Patient, levels, only

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import MakeWorktree


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
