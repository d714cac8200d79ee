"""`inv doctor` as it is called: it runs every check, reads only, `--fix` does what it listed and asks before."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import stat
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.commands import doctor
from orienter_tasks.commands.doctor.command import CHECKS
from tests.commands.doctor.conftest import NO_ENGINE
from tests.configurations import SHOP_ID, make_own, make_shop
from tests.integration.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.checkouts import Answer, Checkout, Host


@pytest.fixture
def host(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """This repository's own configuration; nothing of it is started."""
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    return make_own(set_up, "embedded")


@pytest.fixture
def shop(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    return make_shop(set_up, "embedded")


def everything(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
        if "__pycache__" not in path.parts
    }


def test_it_changes_nothing(host: Host, set_up: Path, isolated: Path) -> None:
    before = everything(set_up), everything(isolated)
    answer = host.main.inv("doctor")
    assert "! .env" in answer.out
    assert "→ inv env.init" in answer.out
    assert (everything(set_up), everything(isolated)) == before


def test_its_answer_for_machines(host: Host) -> None:
    document = host.main.inv("doctor", "--json").json
    assert document["schema_version"] == 1
    assert document["problems"] == 0
    assert document["fixed"] == []
    topics = {one["topic"] for one in document["findings"]}
    assert {"python", "git", "disk", "instance", ".env", "backend", "engine", "embedded", "ports", "programs"} <= topics
    (env,) = [one for one in document["findings"] if one["topic"] == ".env"]
    assert env["fix"] == "make .env, as inv env.init does"
    assert document["warnings"] == sum(one["level"] == "warning" for one in document["findings"])


def test_a_pipe_is_not_asked(host: Host) -> None:
    for more in ([], ["--json"]):
        answer = host.main.inv("doctor", "--fix", *more, code=2)
        assert "--fix would: make .env, as inv env.init does\nhint: add --yes" in answer.err
        assert answer.out == ""
    assert not (host.main.path / ".env").exists()


def test_fixes_are_done_and_looked_at_again(host: Host) -> None:
    document = host.main.inv("doctor", "--fix", "--yes", "--json").json
    assert document["fixed"] == ["make .env, as inv env.init does"]
    assert document["warnings"] == 0
    path = host.main.path / ".env"
    path.chmod(0o644)
    answer = host.main.inv("doctor", "--fix", "--yes")
    assert "done: take .env from other users: mode 0600" in answer.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "there is nothing that --fix could do" in host.main.inv("doctor", "--fix").err


@pytest.mark.parametrize(("word", "mode"), [("n", 0o644), ("", 0o644), ("y", 0o600)])
def test_a_person_is_asked(host: Host, word: str, mode: int) -> None:
    host.main.inv("env.init")
    path = host.main.path / ".env"
    path.chmod(0o644)
    code, seen = typed(host.main, f"{word}\n", "doctor", "--fix")
    assert code == 0
    assert "would take .env from other users" in seen
    assert "do it? [y/N]" in seen
    assert stat.S_IMODE(path.stat().st_mode) == mode


def typed(checkout: Checkout, line: str, *words: str) -> tuple[int, str]:
    """Run `inv` on a terminal and type a line when it asks; return its exit code and what it wrote."""
    with Terminal(checkout, *words, columns=200) as terminal:
        terminal.until("[y/N]")
        terminal.type(line)
        return terminal.end(), terminal.seen


def failed(answer: Answer, *, what: str, remedy: str) -> None:
    assert answer.err.startswith("error: "), answer
    assert what in answer.err
    assert remedy in answer.err


def test_wrong_settings_are_a_finding_and_the_rest_is_still_looked_at(host: Host) -> None:
    host.configure(host.main, services={"dashbord": {"command": ["x"], "port": "dashbord"}})
    answer = host.main.inv("doctor", code=1)
    assert "✗ settings" in answer.out
    assert "✓ python" in answer.out
    assert "✓ git" in answer.out
    failed(answer, what="orienter.services.dashbord.port: no port is named 'dashbord'", remedy="did you mean")


def test_a_broken_dotenv_stops_only_what_needs_it(host: Host) -> None:
    (host.main.path / ".env").write_bytes(b"A=\xff\n")
    answer = host.main.inv("doctor", code=1)
    assert "✗ .env" in answer.out
    assert "✓ git" in answer.out


def test_the_other_configuration(shop: Host) -> None:
    document = shop.main.inv("doctor", "--json").json
    said = {one["topic"]: one["what"] for one in document["findings"]}
    assert said["instance"].startswith(f"instance {SHOP_ID} of {shop.project}")
    assert "gateway" in said["ports"]
    assert "dashboard" not in said["ports"]
    assert document["problems"] == 0


def test_it_works_without_git_and_outside_of_a_checkout(host: Host, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("tasks.py", "invoke.yaml"):
        (plain / name).write_bytes((host.main.path / name).read_bytes())
    answer = host.main.inv("doctor", cwd=plain, code=None)
    assert f"{plain} is not a git checkout" in answer.out


def is_check(look: Callable[..., Any]) -> bool:
    """Whether a function is written as a check: it takes the context alone, and returns checks."""
    *arguments, returned = (look.__annotations__[name] for name in (*inspect.signature(look).parameters, "return"))
    return arguments == ["RunContext"] and str(returned).endswith("[Check]")


def test_every_check_is_run() -> None:
    names = [each.name for each in pkgutil.iter_modules(doctor.__path__) if each.name.startswith("checks_")]
    found = set()
    for name in names:
        module = importlib.import_module(f"{doctor.__name__}.{name}")
        own = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
        found |= {each for each in own if inspect.isfunction(each) and not each.__name__.startswith("_")}
    assert {each for each in found if is_check(each)} == {look for _, look in CHECKS}
