"""What the doctor says about `.env`."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.checks_env import (
    ignored_by_git,
    inherited,
    keys,
    lines,
    other_ports,
    present,
    secrets,
)
from orienter_tasks.commands.doctor.context import read
from orienter_tasks.commands.env import init
from tests.commands.doctor.conftest import Patient, levels, only
from tests.repositories import git

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def write(patient: Patient, text: str, mode: int = 0o600) -> Path:
    path = patient.root / ".env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_none_at_all_and_its_fix(patient: Patient) -> None:
    (patient.root / ".env.example").write_text("POSTGRES_PASSWORD=change-me\nPOSTGRES_USER=me\n")
    found = only(patient.ask(present), "warning")
    assert found.remedy == "inv env.init"
    assert found.fix is not None
    found.fix.apply()
    found.fix.apply()
    path = patient.root / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "change-me" not in path.read_text()
    assert levels(patient.ask(present)) == ["ok"]


def test_a_mode_that_others_can_read_and_its_fix(patient: Patient) -> None:
    path = write(patient, "A=1\n", 0o644)
    found = only(patient.ask(present), "warning")
    assert "0644" in found.text
    assert found.remedy == "chmod 600 .env"
    assert found.fix is not None
    found.fix.apply()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "A=1\n"


def test_a_stricter_mode_is_fine(patient: Patient) -> None:
    write(patient, "A=1\n", 0o400)
    assert levels(patient.ask(present)) == ["ok"]


def test_lines_that_are_none(patient: Patient) -> None:
    write(patient, "A=1\n# a comment\nno variable\nB=2\n")
    found = only(patient.ask(lines), "warning")
    assert "line 3" in found.text
    assert found.remedy == "sed -n '3p' .env"


def test_lines_that_are_none_are_named_once(patient: Patient) -> None:
    write(patient, "no variable\n")
    _, findings = read(patient.context())
    assert findings == []


def test_derived_variables_that_it_sets_are_named_without_their_secrets(patient: Patient) -> None:
    write(patient, "DASHBOARD_PORT=4098\nDATABASE_URL=postgresql://me:hunter2@localhost/x\nNODE_ENV=test\n")
    found = patient.ask(lines)
    assert [one.text.partition("=")[0] for one in found] == ["DASHBOARD_PORT", "DATABASE_URL"]
    assert "4098 is ignored" in found[0].text
    assert found[0].remedy == "sed -i.orienter 's/^DASHBOARD_PORT=/# &/' .env && rm .env.orienter"
    subprocess.run(["sh", "-c", found[0].remedy], cwd=patient.root, check=True)
    assert (patient.root / ".env").read_text().startswith("# DASHBOARD_PORT=4098\nDATABASE_URL=")
    assert "hunter2" not in found[1].text


def test_what_follows_the_formula_anyway_is_no_finding(patient: Patient) -> None:
    about = patient.situation()
    write(patient, f"NGINX_PORT={about.current.config.instance.ports['nginx']}\nAI_INSTANCE_ID=0\n")
    assert patient.ask(lines) == []


def test_missing_keys(patient: Patient) -> None:
    (patient.root / ".env.example").write_text("A=\nB=2\nC=3\n")
    write(patient, "B=other\n")
    found = only(patient.ask(keys), "warning")
    assert found.text == "A, C of .env.example is missing"
    assert found.remedy == "inv env.init"
    init(patient.context())
    assert (patient.root / ".env").read_text() == "B=other\nA=\nC=3\n"
    assert patient.ask(keys) == []


def test_placeholders(patient: Patient) -> None:
    write(patient, "POSTGRES_PASSWORD=change-me\nMINIO_ROOT_PASSWORD=k2jh34kjh\nSLACK_BOT_TOKEN=\nMODE=example\n")
    found = only(patient.ask(secrets), "warning")
    assert found.text == "POSTGRES_PASSWORD still has the example's placeholder"
    assert found.remedy == "inv env.init"
    init(patient.context())
    assert patient.ask(secrets) == []
    text = (patient.root / ".env").read_text()
    assert text.endswith("\nMINIO_ROOT_PASSWORD=k2jh34kjh\nSLACK_BOT_TOKEN=\nMODE=example\n")


def test_a_secret_that_only_looks_like_a_placeholder_stays(patient: Patient) -> None:
    (patient.root / ".env.example").write_text("API_TOKEN=your-token-here\nOTHER_TOKEN=get-your-own\n")
    write(patient, "API_TOKEN=sk-9xXxTodoYour8\nOTHER_TOKEN=get-your-own\n")
    assert only(patient.ask(secrets), "warning").text.startswith("OTHER_TOKEN still")
    init(patient.context())
    assert (patient.root / ".env").read_text().startswith("API_TOKEN=sk-9xXxTodoYour8\nOTHER_TOKEN=")
    assert patient.ask(secrets) == []


def test_placeholders_of_an_instance_that_has_data(patient: Patient) -> None:
    write(patient, "POSTGRES_PASSWORD=change-me\n")
    ctx = patient.context()
    ctx.claims.update(ctx.current.claim.token, placed="embedded")
    assert only(patient.ask(secrets), "warning").remedy.startswith("leave it, or change it in the server too")
    (patient.root / ".env.example").write_text("POSTGRES_DB=shop\nMINIO_ROOT_PASSWORD=change-me\nMORE=1\n")
    init(patient.context())
    assert (patient.root / ".env").read_text() == "POSTGRES_PASSWORD=change-me\nMORE=1\n"


def test_ports_of_other_instances(patient: Patient) -> None:
    own = patient.situation().current.instance.ports
    write(patient, f"MINE=http://localhost:{own['dashboard']}\nTHEIRS=http://localhost:{own['dashboard'] + 2000}\n")
    found = only(patient.ask(other_ports), "warning")
    assert found.text == (
        f"THEIRS names port {own['dashboard'] + 2000} of instance 2; this instance's is {own['dashboard']}"
    )


def test_one_that_git_sees(patient: Patient) -> None:
    write(patient, "A=1\n")
    assert patient.ask(ignored_by_git) == []
    (patient.root / ".gitignore").write_text("")
    assert only(patient.ask(ignored_by_git), "warning").remedy == "echo .env >> .gitignore"
    git(patient.root, "add", ".env")
    assert only(patient.ask(ignored_by_git), "problem").remedy == "git rm --cached .env"


def test_what_services_do_not_get_is_named(patient: Patient) -> None:
    write(patient, "AWS_PROFILE=work\n")
    found = only(patient.ask(lines), "warning")
    assert found.text == "AWS_PROFILE=work is ignored: it could lead clients of this instance's servers elsewhere"


def test_inherited_variables_that_win_over_derived_ones(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert patient.ask(inherited) == []
    patient.configure(storage={"inherit_aws": True})
    found = only(patient.ask(inherited), "warning")
    assert "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS of the environment wins" in found.text
    monkeypatch.delenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    write(patient, "AWS_ROLE_ARN=arn:aws:iam::1:role/mine\n")
    assert "derived variables win" in only(patient.ask(inherited), "ok").text
    write(patient, "AWS_PROFILE=work\n")
    assert "AWS_PROFILE of .env wins" in only(patient.ask(inherited), "warning").text
