"""Which instance this is and why, and what became of the checkouts that hold an id."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks.commands.doctor import checks_identity as identities, command
from orienter_tasks.commands.doctor.checks_running import checkouts_and_orphans
from orienter_tasks.commands.doctor.context import read
from orienter_tasks.identity.claims import Claims
from tests.commands.doctor.conftest import Patient, only
from tests.configurations import OWN_PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeRepo, MakeWorktree


def provenance(patient: Patient) -> str:
    return only(patient.ask(identities.provenance), "ok").text


def test_each_source_is_named(patient: Patient, make_worktree: MakeWorktree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance(patient) == f"instance 0 of {OWN_PROJECT}, from it is a main checkout"
    linked = patient.beside(make_worktree(patient.root, "feature-a-1"))
    assert provenance(linked) == f"instance 5 of {OWN_PROJECT}, from its worktree's name"
    (linked.root / ".env").write_text("AI_INSTANCE_ID=3\n")
    assert "instance 3" in provenance(linked)
    assert provenance(linked).endswith("AI_INSTANCE_ID in .env")
    monkeypatch.setenv("AI_INSTANCE_ID", "7")
    monkeypatch.setenv("AI_INSTANCE_ROOT", str(linked.root))
    assert "instance 7" in provenance(linked)
    assert provenance(linked).endswith("AI_INSTANCE_ID in the environment")


def test_to_look_claims_nothing(patient: Patient, isolated: Path) -> None:
    patient.ask(identities.provenance)
    assert not isolated.exists()
    patient.context().current.claim  # noqa: B018 - this claims
    before = (isolated / "claims.json").read_bytes()
    assert provenance(patient).endswith("the claim that this checkout holds")
    assert (isolated / "claims.json").read_bytes() == before


def test_an_id_that_sticks_to_the_shell(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_INSTANCE_ID", "4")
    found = only(patient.ask(identities.provenance), "warning")
    assert "follows this shell" in found.text
    assert found.remedy == "unset AI_INSTANCE_ID AI_INSTANCE_ROOT; to keep the id: echo AI_INSTANCE_ID=4 >> .env"


def test_an_id_of_another_checkout_is_refused_with_its_cure(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AI_INSTANCE_ID", "4")
    monkeypatch.setenv("AI_INSTANCE_ROOT", str(tmp_path / "elsewhere"))
    _, findings = read(patient.context())
    found = only(findings, "problem")
    assert "was exported for" in found.text
    assert "unset AI_INSTANCE_ID AI_INSTANCE_ROOT" in found.remedy


@pytest.mark.parametrize("written", ["three", "-1", "10"])
def test_an_id_that_is_none(patient: Patient, written: str) -> None:
    (patient.root / ".env").write_text(f"AI_INSTANCE_ID={written}\n")
    _, findings = read(patient.context())
    assert written in only(findings, "problem").text


def test_a_worktree_that_is_told_to_be_zero(patient: Patient, make_worktree: MakeWorktree) -> None:
    linked = patient.beside(make_worktree(patient.root, "feature-a-1"))
    (linked.root / ".env").write_text("AI_INSTANCE_ID=0\n")
    found = only(linked.ask(identities.provenance), "warning")
    assert "although this is the linked worktree feature-a-1, which would be 5" in found.text
    assert found.remedy == "sed -i.orienter 's/^AI_INSTANCE_ID=/# &/' .env && rm .env.orienter"


def test_a_worktree_that_can_only_be_zero(patient: Patient, make_worktree: MakeWorktree) -> None:
    linked = patient.beside(make_worktree(patient.root, "feature-a-1"))
    linked.configure(instances={"max": 0})
    assert only(linked.ask(identities.provenance), "warning").remedy == "raise it in invoke.yaml"


def test_an_id_that_is_taken_is_told_before_it_is_met(patient: Patient, make_worktree: MakeWorktree) -> None:
    first = patient.beside(make_worktree(patient.root, "feature-a-1"))
    first.context().current.claim  # noqa: B018 - this claims
    second = patient.beside(make_worktree(patient.root, "feature-d-4"))  # the same hash
    about, findings = read(second.context())
    assert about.current.claim.id == 6
    assert str(first.root) in only(findings, "warning").text
    assert len(Claims().read()) == 1


def test_variables_of_another_shell(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.ask(identities.inherited) == []
    about = patient.situation()
    monkeypatch.setenv("POSTGRES_PORT", about.current.config.variables["POSTGRES_PORT"])
    assert patient.ask(identities.inherited) == []
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@localhost:6432/whatsapp_bot_1")
    found = only(patient.ask(identities.inherited), "warning")
    assert "another DATABASE_URL" in found.text
    assert found.remedy == 'eval "$(inv env.export)"'
    assert "secret" not in found.text


def test_two_claims_of_one_id_or_one_port(patient: Patient, tmp_path: Path) -> None:
    claim = patient.context().current.claim
    assert patient.ask(identities.doubles) == []
    twin = msgspec.structs.replace(claim, token="twin", root=str(tmp_path / "twin"), claimed_at=time.time() + 1)
    with Claims().changing() as book:
        book.append(twin)
    found = only(patient.ask(identities.doubles), "problem")
    assert found.text == f"id 0 of {OWN_PROJECT} is claimed by {patient.root} and {tmp_path / 'twin'}"
    assert found.remedy.startswith(f"cd {tmp_path / 'twin'} && inv dev.stop")

    with Claims().changing() as book:
        book[:] = [claim, msgspec.structs.replace(twin, id=4, ports={"nginx": claim.ports["vite"]})]
    found = only(patient.ask(identities.doubles), "problem")
    assert found.text.startswith(f"port {claim.ports['vite']} is claimed by instance")


def claims_of(patient: Patient) -> dict[str, tuple[str, str]]:
    """Return what the doctor says about claims: level and remedy by what."""
    found = patient.ask(checkouts_and_orphans)
    return {one.text: (one.verdict, one.remedy) for one in found if one.topic == "claims"}


def test_what_became_of_the_checkouts(
    patient: Patient, make_repo: MakeRepo, make_worktree: MakeWorktree, tmp_path: Path
) -> None:
    patient.context().current.claim  # noqa: B018 - this claims
    trees = {name: patient.beside(make_worktree(patient.root, name)) for name in ("gone", "moved", "here")}
    trees["lost"] = patient.beside(make_repo("lost"))
    ids = {name: tree.context().current.claim.id for name, tree in trees.items()}
    for name in ("gone", "moved"):  # a moved checkout is known by what it has in DATA_DIR
        ctx = trees[name].context()
        marker = ctx.current.instance.data_dir / "claim"
        marker.parent.mkdir(parents=True)
        marker.write_text(ctx.current.claim.token)
    shutil.rmtree(trees["gone"].root)
    shutil.rmtree(trees["lost"].root)
    new = tmp_path / "worktrees" / "new place"
    trees["moved"].root.rename(new)
    moved = patient.beside(new)

    said = claims_of(patient)
    text = "\n".join(f"{level}: {what} -> {remedy}" for what, (level, remedy) in said.items())
    gone = next(what for what in said if what.startswith(f"instance {ids['gone']} "))
    assert said[gone] == ("warning", "inv cleanup.weekly"), text
    lost = next(what for what in said if what.startswith(f"instance {ids['lost']} "))
    assert said[lost] == ("warning", f"inv cleanup.instance {ids['lost']}"), text
    fine = sorted([0, ids["here"]])
    assert said[f"{fine[0]}, {fine[1]} of {OWN_PROJECT} have their checkouts"] == ("ok", ""), text

    there = claims_of(moved)  # seen from where it went
    assert not any(what.startswith(f"instance {ids['moved']} ") and str(new) not in what for what in there), there
    assert moved.context().current.claim.id == ids["moved"]


def test_an_id_that_was_had_before(patient: Patient) -> None:
    first = patient.context().current.claim
    (patient.root / ".env").write_text("AI_INSTANCE_ID=4\n")
    patient.context().current.claim  # noqa: B018 - this claims
    said = claims_of(patient)
    assert said[f"this checkout also holds id {first.id}, which it had before"] == (
        "warning",
        f"inv cleanup.instance {first.id}",
    )


def test_a_claims_file_that_cannot_be_read(patient: Patient, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolated.mkdir()
    (isolated / "claims.json").write_text("{")
    _, findings = read(patient.context())
    assert "claims file is damaged" in only(findings, "problem").text
    checks = (("instance", identities.provenance), ("claims", identities.doubles), ("claims", checkouts_and_orphans))
    monkeypatch.setattr(command, "CHECKS", checks)
    assert command.examine(patient.context()) == findings  # said once
    assert (isolated / "claims.json").read_text() == "{"


def test_settings_that_are_wrong(patient: Patient) -> None:
    patient.configure(ports={"nginx": 5432})
    patient.configure(ports={"postgres": 5432})
    _, findings = read(patient.context())
    assert "meet" in only(findings, "problem").text
    found = command.examine(patient.context())
    assert only(found, "problem") == only(findings, "problem")  # said once
    assert not [check for check in found if check.topic == "instance"]
