"""Which backend each component gets: its own setting, what is asked for, what it has, what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.errors import ConfigError
from orienter_tasks.identity.claims import Claim, Claims
from orienter_tasks.infra import choice
from orienter_tasks.infra.choice import NONE
from orienter_tasks.instance.backends import Backends, read, together
from orienter_tasks.settings.load import load_settings
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.settings.model import BackendChoice, BackendName

MIXED = Backends("docker", {"nginx": "embedded", "minio": "embedded"})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> set[BackendName]:
    """The backends that this machine has."""
    there: set[BackendName] = {"docker", "embedded"}
    monkeypatch.setattr(choice, "available", lambda name, settings, servers: name in there)
    monkeypatch.setattr(choice, "_wants_native_nginx", lambda settings: False)
    return there


def chosen(asked: BackendChoice, own: Backends = NONE, **apart: str) -> Backends:
    infra = {name: {"backend": backend} for name, backend in apart.items()}
    return choice.choose(asked, load_settings({"infra": infra}), own)


def test_one_for_all(machine: set[BackendName]) -> None:
    assert chosen("auto") == chosen("docker") == Backends("docker")
    machine.discard("docker")
    assert chosen("auto") == Backends("embedded")
    assert chosen("docker") == Backends("docker"), "a start says that it is not there"


def test_nginx_is_native_where_that_of_the_engine_would_reach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_wants_native_nginx", lambda settings: True)
    assert chosen("auto") == Backends("docker", {"nginx": "embedded"})
    assert chosen("auto", NONE, nginx="docker") == chosen("auto", Backends("docker")) == Backends("docker")


def test_a_servers_own_setting_outranks_what_is_asked_for() -> None:
    assert chosen("docker", nginx="embedded", minio="embedded") == MIXED
    assert chosen("embedded", postgres="docker") == Backends("embedded", {"postgres": "docker"})
    assert chosen("docker", nginx="docker") == Backends("docker")


def test_where_all_are_set_nothing_else_is_needed(machine: set[BackendName]) -> None:
    machine.clear()
    every = dict.fromkeys(("postgres", "minio", "nginx"), "embedded")
    assert chosen("auto", NONE, **every) == chosen("docker", NONE, **every) == Backends("embedded")
    found = chosen("auto", NONE, **{**every, "postgres": "docker"})
    assert {name: found.of(name) for name in every} == {**every, "postgres": "docker"}


def test_what_it_has_stays_unless_something_else_is_asked_for() -> None:
    assert chosen("auto", MIXED) == MIXED
    assert chosen("auto", Backends("embedded")) == Backends("embedded")
    assert chosen("docker", MIXED) == Backends("docker")
    assert chosen("docker", MIXED, minio="embedded") == Backends("docker", {"minio": "embedded"})
    assert chosen("auto", MIXED, postgres="embedded") == Backends("embedded")


def test_what_the_settings_drop_stays_where_it_was() -> None:
    own = Backends("docker", {"redis": "embedded"})
    assert chosen("auto", own) == own
    assert chosen("auto", own, redis="docker") == Backends("docker")
    assert chosen("embedded", own).of("redis") == "embedded"


def test_settings_that_keep_what_was_chosen(tmp_path: Path) -> None:
    config = make_config(tmp_path, infra={"postgres": {"backend": "embedded", "port": 5433}, "minio": None})
    kept = choice.kept(config.settings, MIXED)
    assert (
        choice.choose("docker", kept) == choice.choose(kept.backend, kept) == Backends("docker", {"nginx": "embedded"})
    )
    assert kept.servers == config.settings.servers
    assert choice.kept(config.settings, Backends("embedded")).own_backend("postgres") is None


def test_as_text() -> None:
    for backends in (Backends(), Backends("docker"), MIXED, Backends("embedded", {"postgres": "docker"})):
        assert read(backends.text) == backends
    assert (MIXED.text, MIXED.word, str(MIXED)) == (
        "docker minio:embedded nginx:embedded",
        "mixed",
        "docker, embedded: nginx, minio",
    )
    assert (str(Backends()), Backends().used, bool(Backends())) == ("", {""}, False)
    assert together({"postgres": "docker", "minio": "embedded"}).of("nginx") == "docker"


def test_a_backend_of_a_later_version_is_refused_where_it_is_used(tmp_path: Path) -> None:
    for text in ("podman", "docker nginx:podman"):
        with pytest.raises(ConfigError, match="unknown backend: podman") as caught:
            choice.make(read(text), make_config(tmp_path))
        assert caught.value.hint == "update orienter-tasks"


def test_older_versions_keep_the_claim_of_a_mixed_instance(tmp_path: Path) -> None:
    """They know one word, which they write again as it is, and refuse where it is used."""
    fields: dict[str, Any] = {"main_root": "/one", "git_dir": "", "device": 1, "ports": {"nginx": 80}}
    claim = Claim(token="abc", project="orienter", id=1, root="/one", worktree="one", placed=MIXED.text, **fields)
    with Claims(tmp_path).changing() as claims:
        claims.append(claim)
    (stored,) = msgspec.json.decode((tmp_path / "claims.json").read_bytes())["claims"]
    assert stored["backend"] == "docker minio:embedded nginx:embedded"
    assert {*stored} == {field.encode_name for field in msgspec.structs.fields(Claim)}
    assert Claims(tmp_path).read()[0].backends == MIXED
