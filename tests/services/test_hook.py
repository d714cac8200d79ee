"""When a hook has nothing to do: what its `creates` and `sources` say."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.services.hook import HookComponent
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = 1_000_000_000, 1_000_000_100


def outcome(root: Path, sources: str) -> str:
    """Run a hook that created `made` at OLD; return what it did."""
    command = ["touch", "made"]
    hook = {"name": "build", "command": command, "creates": "made", "sources": sources}
    config = make_config(root, hooks={"before_services": [hook]})
    (root / "made").touch()
    os.utime(root / "made", (OLD, OLD))
    component = HookComponent(config, config.settings.hooks.before_services[0], needs=(), exported={})
    component.start(lambda _: None)
    return component.outcome


@pytest.mark.parametrize("folder", ["code", "feat[1]*", "a ?"])
@pytest.mark.parametrize(
    ("sources", "written"), [("*.sql", ""), ("**/*.sql", "deep/er"), ("${DATA_DIR}/*.sql", "DATA")]
)
def test_a_source_that_is_newer(tmp_path: Path, folder: str, sources: str, written: str) -> None:
    root = tmp_path / folder
    directory = root / ".dev-data/instance-0" if written == "DATA" else root / written
    directory.mkdir(parents=True)
    source = directory / "a.sql"
    source.touch()
    os.utime(source, (OLD, OLD))
    (directory / "b.sql").symlink_to("nowhere")
    assert outcome(root, sources) == "nothing to do"
    os.utime(source, (NEW, NEW))
    assert outcome(root, sources) == "done"


@pytest.mark.parametrize("sources", ["src**/*.ts", "${EMPTY}"])
def test_what_is_no_pattern(tmp_path: Path, sources: str) -> None:
    if sources == "src**/*.ts" and sys.version_info >= (3, 13):
        assert outcome(tmp_path, sources) == "nothing to do"
        return
    with pytest.raises(ConfigError, match="hook build, sources"):
        outcome(tmp_path, sources)


def exported(root: Path, program: str) -> dict[str, str]:
    """Run a hook that is a Python program; return what it exports."""
    hook = {"name": "secrets", "command": [sys.executable, "-c", program], "exports": True}
    config, values = make_config(root, hooks={"before_services": [hook]}), dict[str, str]()
    HookComponent(config, config.settings.hooks.before_services[0], needs=(), exported=values).start(lambda _: None)
    return values


def test_exports_up_to_a_megabyte(tmp_path: Path) -> None:
    found = exported(tmp_path, "for name in 'ABCDEFGHIJ': print(name + '=' + 'x' * 100_000)")
    assert {name: len(value) for name, value in found.items()} == dict.fromkeys("ABCDEFGHIJ", 100_000)


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("for number in range(11): print(f'A{number}=' + 'x' * 100_000)", "prints more than 1 MB"),
        ("print('A=1\\n' * 10**7)", "prints more than 1 MB"),
        ("print('KEY=' + 'x' * 2**17)", "exports KEY, which is too long for a variable"),
    ],
)
def test_more_exports_are_refused(tmp_path: Path, program: str, complaint: str) -> None:
    with pytest.raises(CheckError, match=f"hook secrets of instance .* {complaint}") as caught:
        exported(tmp_path, program)
    assert caught.value.hint
