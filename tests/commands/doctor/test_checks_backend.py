"""The backend and why it is that one; the engine and the embedded programs, as they are and as they may be broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.commands.doctor import checks_backend as engines, command as examination
from orienter_tasks.errors import OrienterError
from orienter_tasks.instance.backends import Backends
from tests.commands.doctor.conftest import Patient, levels, only
from tests.repositories import git

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_LIKE = [{"Base": "172.17.0.0/12", "Size": 16}, {"Base": "192.168.0.0/16", "Size": 20}]


def test_the_backend_that_is_asked_for(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.decided(patient.situation()) == (Backends("embedded"), "orienter.backend says so")
    patient.configure(backend="docker")
    monkeypatch.setenv("ORIENTER_BACKEND", "embedded")
    assert engines.decided(patient.situation()) == (Backends("embedded"), "ORIENTER_BACKEND says so")
    patient.configure(backend="auto")
    monkeypatch.delenv("ORIENTER_BACKEND")
    found, why = engines.decided(patient.situation())
    assert found == Backends("embedded")
    assert "no Docker engine answers" in why


def test_the_backend_that_has_the_data_wins(patient: Patient) -> None:
    ctx = patient.context()
    ctx.claims.update(ctx.current.claim.token, placed="embedded")
    patient.configure(backend="docker")
    found = patient.ask(engines.backend)
    assert levels(found) == ["warning", "ok"]
    assert "docker is asked for, but this instance was started on embedded" in found[0].text
    assert found[0].remedy == "inv infra.down --volumes, then inv dev"


def test_an_engine_that_is_needed_and_does_not_answer(patient: Patient) -> None:
    patient.configure(backend="docker")
    assert "no engine answers" in only(patient.ask(engines.backend), "problem").text
    found = only(patient.ask(engines.engine), "problem")
    assert "unix:///nowhere/docker.sock" in found.text
    assert "DOCKER_HOST chose it" in found.remedy


def test_an_engine_that_is_not_needed_may_be_silent(patient: Patient) -> None:
    assert "none is needed" in only(patient.ask(engines.engine), "ok").text


def test_neither_backend(patient: Patient, tmp_path: Path) -> None:
    patient.configure(backend="auto", embedded={"nginx": str(tmp_path / "missing")})
    found = [finding for finding in examination.examine(patient.context()) if finding.topic == "backend"]
    assert levels(found) == ["problem"]
    assert "orienter.embedded.nginx" in found[0].text


def test_an_unknown_backend(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    from orienter_tasks.commands.doctor.context import read

    monkeypatch.setenv("ORIENTER_BACKEND", "podman")
    _, findings = read(patient.context())
    assert {one.remedy for one in findings if one.verdict == "problem"} == {"use auto, docker or embedded"}


@pytest.mark.embedded
def test_the_embedded_programs_say_what_they_are(patient: Patient) -> None:
    found = only(patient.ask(engines.embedded), "ok")
    assert "PostgreSQL" in found.text
    assert "nginx/" in found.text


@pytest.mark.embedded
def test_an_embedded_program_of_another_system(patient: Patient, tmp_path: Path) -> None:
    alien = tmp_path / "nginx"
    alien.write_bytes(b"\x7fELF but no more")
    alien.chmod(0o755)
    patient.configure(embedded={"nginx": str(alien)})
    found = only(patient.ask(engines.embedded), "problem")
    assert f"{alien} cannot run here" in found.text
    assert "built for another system" in found.remedy


@pytest.mark.docker
def test_the_engine_says_what_it_is(patient: Patient) -> None:
    patient.configure(backend="docker")
    found = {finding.topic: finding for finding in patient.ask(engines.engine)}
    assert set(found) == {"engine", "nginx", "images", "networks"}
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert found["engine"].text.startswith(("Docker ", "Podman "))


@pytest.mark.docker
def test_an_image_that_is_not_here(patient: Patient) -> None:
    patient.configure(backend="docker", docker={"minio": "orienter-test/nowhere:1"})
    found = only(patient.ask(engines.engine), "warning")
    assert found.topic == "images"
    assert found.remedy == "docker pull orienter-test/nowhere:1"


@pytest.mark.docker
def test_networks_that_run_out(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.configure(backend="docker")
    monkeypatch.setattr(engines, "DEFAULT_NETWORKS", 1)  # the default bridge has taken it
    found = only(patient.ask(engines.engine), "problem")
    assert found.topic == "networks"
    assert "docker network prune" in found.remedy
    monkeypatch.setattr(engines, "DEFAULT_NETWORKS", 1000)
    monkeypatch.setattr(engines, "FEW_NETWORKS", 1001)
    assert only(patient.ask(engines.engine), "warning").topic == "networks"


@pytest.mark.parametrize(
    ("pools", "networks"),
    [
        ([], 31),
        (DEFAULT_LIKE, 32),
        ([{"Base": "10.10.0.0/16", "Size": 24}], 256),
        ([{"Base": "10.10.0.0/24", "Size": 24}], 1),
    ],
)
def test_how_many_networks_fit(pools: list[dict[str, Any]], networks: int) -> None:
    assert engines.capacity(pools) == networks


def test_an_engine_that_goes_away_in_the_middle_is_a_finding(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> list[Any]:
        raise OrienterError("the engine went away", hint="start it")

    monkeypatch.setattr(examination, "CHECKS", (("engine", gone),))
    (found,) = examination.examine(patient.context())
    assert (found.verdict, found.text, found.remedy) == ("problem", "the engine went away", "start it")


@pytest.mark.embedded
def test_migrations_that_need_what_the_server_lacks(patient: Patient, tmp_path: Path) -> None:
    (patient.root / "first.sql").write_text('CREATE EXTENSION plpgsql;\nCREATE EXTENSION "no-such-thing";\n')
    assert patient.ask(engines.migrations) == [], "git does not track it"
    git(patient.root, "add", "first.sql")
    found = only(patient.ask(engines.migrations), "warning")
    assert found.text == "postgres lacks no-such-thing, which first.sql:2 needs"
    assert "orienter.database.extensions" in found.remedy
    assert found in [one for one in examination.examine(patient.context()) if one.topic == "migrations"]
    patient.configure(infra={"postgres": None})
    assert patient.ask(engines.migrations) == []


@pytest.mark.embedded
def test_extensions_that_the_settings_want(patient: Patient) -> None:
    patient.configure(database={"extensions": ["no-such-thing"]})
    found = only(patient.ask(engines.backend), "problem")
    assert "lacks no-such-thing of orienter.database.extensions" in found.text
    assert "inv dev --backend docker" in found.remedy
