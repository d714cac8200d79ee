"""A run settles first and derives once; what only reads settles nothing and needs no backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.errors import BackendError, ConfigError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.infra import choice, embedded
from orienter_tasks.instance.variables import derive
from orienter_tasks.lifecycle import config, stop
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from tests import slot
from tests.repositories import git

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.instance.variables import Variables
    from tests.conftest import MakeRepo

RAW: dict[str, Any] = {"project": slot.project("lifecycle"), "ports": slot.bases(), "backend": "embedded"}


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backend of each derivation."""
    seen: list[str] = []

    def counted(*words: Any, backend: str, **others: Any) -> Variables:
        seen.append(backend)
        return derive(*words, backend=backend, **others)

    monkeypatch.setattr(config, "derive", counted)
    return seen


@pytest.fixture
def run(make_repo: MakeRepo) -> Callable[..., RunContext]:
    root = make_repo("checkout")

    def make(raw: dict[str, Any] | None = None, **options: Any) -> RunContext:
        return RunContext(root, {**RAW, **(raw or {})}, options=RunOptions(**options))

    return make


def has(monkeypatch: pytest.MonkeyPatch, *backends: str) -> None:
    """Let this machine have just these backends."""
    monkeypatch.setattr(choice, "available", lambda name, settings, servers: name in backends)
    monkeypatch.setattr(embedded, "missing", lambda settings, names: [] if "embedded" in backends else ["postgres"])


def test_a_start_settles_first_and_derives_once_from_then_on(
    run: Callable[..., RunContext], derived: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "embedded")
    ctx = run()
    start = ctx.begin()
    assert ctx.begin() is start
    assert ctx.current.plan.infra
    assert ctx.current.config.variables["ORIENTER_BACKEND"] == "embedded"
    assert ctx.current.backend.backends.word == "embedded"
    start.finish()
    assert derived == ["", "embedded"]  # first without a backend, to look at both; then for its own
    run().begin().finish()
    assert derived[2:] == ["embedded"]
    assert [claim.placed for claim in Claims().read()] == ["embedded"]


def test_a_start_derives_once_more_where_a_command_before_it_only_read(
    run: Callable[..., RunContext], derived: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "embedded")
    ctx = run()
    assert "ORIENTER_BACKEND" not in ctx.current.config.variables.values
    (ctx.root / ".env").write_text("COLOUR=blue\n")  # as env.init does between two tasks
    ctx.begin().finish()
    assert derived == ["", "", "embedded"]
    assert ctx.current.config.variables["COLOUR"] == "blue"


def test_what_only_reads_settles_nothing_and_needs_no_backend(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch)
    ctx = run({"backend": "auto"})
    assert ctx.current.config.variables["POSTGRES_DB"] == "whatsapp_bot_0"
    assert ctx.current.plan.infra == ()
    assert [service.name for service in ctx.current.plan.services]
    assert ctx.current.settled_backend is None
    assert [claim.placed for claim in Claims().read()] == [""]
    assert not (ctx.root / ".dev-data").exists()


def test_a_start_without_any_backend_leaves_the_claim_unsettled(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch)
    for raw in ({"backend": "auto"}, {}):
        ctx = run(raw)
        with pytest.raises(BackendError, match="embedded backend"):
            ctx.begin()
        assert not ctx.unfinished
    assert [claim.placed for claim in Claims().read()] == [""]
    assert not (ctx.root / ".dev-data").exists()


def test_its_own_backend_outranks_what_the_machine_would_choose(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "embedded")
    run().begin().finish()
    has(monkeypatch, "docker", "embedded")
    ctx = run({"backend": "auto"})
    ctx.begin().finish()
    assert ctx.current.claim.placed == "embedded"


def test_a_line_of_dotenv_is_named_once(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has(monkeypatch, "embedded")
    ctx = run()
    (ctx.root / ".env").write_text("A=1\nnonsense\n")
    assert ctx.current.config.variables["A"] == "1"
    ctx.begin().finish()
    assert capsys.readouterr().err.count(".env line 2") == 1


def test_a_start_leaves_the_claims_token_in_data_dir(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "embedded")
    ctx = run()
    ctx.begin().finish()
    marker = ctx.current.instance.data_dir / "claim"
    assert marker.read_text().strip() == ctx.current.claim.token
    ctx.root.rename(ctx.root.with_name("moved"))
    moved = RunContext(ctx.root.with_name("moved"), RAW, options=RunOptions())
    assert moved.current.claim.token == ctx.current.claim.token
    assert moved.current.instance.roots == (str(moved.root), str(ctx.root))


def test_force_shortens_the_grace_period(run: Callable[..., RunContext]) -> None:
    assert run().grace == 10.0
    assert run(force=True).grace == 1.0


# other checkouts


def test_another_checkouts_configuration_is_what_it_derives_itself(
    make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, "embedded")
    repo = make_repo("checkout")
    git(repo, "worktree", "add", "-q", "--detach", str(repo.with_name("linked")))
    linked = RunContext(repo.with_name("linked"), RAW, options=RunOptions())
    (linked.root / ".env").write_text("POSTGRES_PASSWORD=own\n")
    linked.begin().finish()
    here = RunContext(repo, RAW, options=RunOptions())
    claim = next(claim for claim in here.claims.read() if claim.root == str(linked.root))
    assert config_of(claim, here.settings, {}).variables.values == linked.current.config.variables.values


def test_ports_that_a_claim_does_not_have_yet_follow_the_settings(run: Callable[..., RunContext]) -> None:
    ctx = run()
    claim, settings = ctx.current.claim, ctx.settings
    del claim.ports["minio_console"]
    claim.ports["postgres"] = 7
    ports = config_of(claim, settings, {}).instance.ports
    assert (ports["postgres"], ports["minio_console"]) == (7, settings.ports["minio_console"])


@pytest.mark.parametrize("text", ["WHATSAPP_ENABLED=perhaps\n", "\udcff=1\n"])
def test_an_error_in_another_checkouts_dotenv_keeps_nothing_from_being_stopped(
    run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    has(monkeypatch, "embedded")
    ctx = run()
    ctx.begin().finish()
    (ctx.root / ".env").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError):
        config_of(ctx.current.claim, ctx.settings, {})
    assert stop.leftovers(ctx.current.claim, ctx.settings) is False
    assert stop.stop_other(ctx.current.claim, ctx.settings, ctx.claims, 1.0) is None


def test_nothing_is_left_of_what_was_never_started(run: Callable[..., RunContext]) -> None:
    ctx = run()
    assert stop.leftovers(ctx.current.claim, ctx.settings) is False
    assert Path(ctx.current.claim.root) == ctx.root
