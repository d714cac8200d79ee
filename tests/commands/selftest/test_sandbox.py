"""Throwaway checkouts: what they are like, and that they go away again, also after a run that was killed."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands.selftest import sandbox as sandboxes
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.instance.dotenv import read_dotenv
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.machine import worktree
from orienter_tasks.settings.load import load_settings
from tests.configurations import OWN_PORTS, OWN_PROJECT
from tests.integration.checkouts import TEST_IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.settings.model import Settings
    from tests.conftest import MakeRepo


@pytest.fixture
def settings() -> Settings:
    # with ids up to 7 all ports lie below those that the system gives to clients
    raw = {"project": OWN_PROJECT, "ports": OWN_PORTS, "docker": TEST_IMAGES, "instances": {"max": 7}}
    return load_settings(raw)


def of(host: Path, settings: Settings) -> HostConfig:
    return HostConfig(settings, read_dotenv(host / ".env")[0], host)


def test_the_ground_is_its_own(make_repo: MakeRepo, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_repo("host")
    (host / "templates").mkdir()
    (host / ".env").write_text("AI_INSTANCE_ID=3\nexport AI_INSTANCE_ROOT=/x\nPOSTGRES_PASSWORD=p\n")
    monkeypatch.setenv("AI_INSTANCE_ID", "5")
    monkeypatch.setenv("AI_INSTANCE_ROOT", str(host))
    before = dict(os.environ)
    with sandboxes.open_sandbox(of(host, settings)) as sandbox:
        assert "AI_INSTANCE_ID" not in os.environ
        ctx = sandbox.instance("one", RunOptions(backend="embedded"))
        root, number = ctx.root, ctx.current.instance.id
        assert worktree.read(root).linked
        assert worktree.read(root).main_root == sandbox.directory / "repository"
        assert (root / ".env").read_text() == f"POSTGRES_PASSWORD=p\nAI_INSTANCE_ID={number}\n"
        assert (root / ".env").stat().st_mode & 0o777 == 0o600
        assert (root / "templates").resolve() == host / "templates"
        assert ctx.current.instance.project.startswith(f"{OWN_PROJECT}-test-")
        assert ctx.current.instance.ports["nginx"] == OWN_PORTS["nginx"] + number * 1000
        with sandboxes.open_sandbox(of(host, settings)) as beside:
            other = beside.instance("one", RunOptions(backend="embedded")).current.instance
            assert other.id < number
            assert sandboxes.left(host, OWN_PROJECT) == []
        assert [claim.id for claim in sandbox.claims()] == [claim.id for claim in Claims().read()] == [number]
    assert dict(os.environ) == before
    assert [path.name for path in (host / ".dev-data").iterdir()] == [".gitignore"]
    assert Claims().read() == []
    assert worktree.read(host).git_dir == host / ".git"


def test_it_goes_away_when_something_fails(make_repo: MakeRepo, settings: Settings) -> None:
    host = make_repo("host")

    def interrupted() -> None:
        with sandboxes.open_sandbox(of(host, settings)) as sandbox:
            sandbox.folder("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in (host / ".dev-data").iterdir()] == [".gitignore"]


def test_a_hosts_hooks_do_not_run(make_repo: MakeRepo, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_repo("host")
    hooks = host / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "pre-commit", "post-commit"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    config = host / "config"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n[commit]\n\tgpgsign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(host / ".git"))
    with sandboxes.open_sandbox(of(host, settings)) as sandbox:
        assert sandbox.checkout("one").is_dir()


def test_no_git(make_repo: MakeRepo, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from orienter_tasks.errors import NotFoundError

    host = make_repo("host")
    monkeypatch.setenv("PATH", str(tmp_path))
    with sandboxes.open_sandbox(of(host, settings)) as sandbox:
        sandbox.folder("for templates only")
        with pytest.raises(NotFoundError, match="git is not on PATH"):
            sandbox.checkout("one")


def test_ids_whose_ports_nobody_has(settings: Settings) -> None:
    assert list(sandboxes.free_ids(settings, []))[:2] == [7, 6]
    with socket.create_server(("127.0.0.1", OWN_PORTS["postgres"] + 7000)):
        assert list(sandboxes.free_ids(settings, []))[:2] == [6, 5]
        with socket.create_server(("127.0.0.1", OWN_PORTS["vite"] + 6000)):  # it is not the infrastructure's
            assert list(sandboxes.free_ids(settings, []))[:2] == [6, 5]


def test_ids_that_are_claimed_are_left_alone(
    make_repo: MakeRepo, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_INSTANCE_ID", "7")
    raw = {"project": "another", "backend": "embedded", "ports": OWN_PORTS}
    claim = RunContext(make_repo("other"), raw, options=RunOptions()).current.claim
    assert list(sandboxes.free_ids(settings, [claim]))[:2] == [6, 5]


def test_too_few_ids(make_repo: MakeRepo) -> None:
    settings = load_settings({"ports": OWN_PORTS, "instances": {"max": 0}})
    with sandboxes.open_sandbox(of(make_repo("host"), settings)) as sandbox:
        sandbox.instance("one", RunOptions(backend="embedded"))
        with pytest.raises(CheckError, match="needs an id whose ports are free, and there is none"):
            sandbox.instance("two", RunOptions(backend="embedded"))
