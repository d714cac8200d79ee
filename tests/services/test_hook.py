"""When a hook has nothing to do: what its `creates` and `sources` say."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.services.hook import HookComponent
from orienter_tasks.services.service import environment
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = 1_000_000_000, 1_000_000_100


def component(root: Path, printed: dict[str, str] | None = None, **hook: Any) -> HookComponent:
    """Make the component of a hook whose data has the generation in the file `generation`."""
    config = make_config(root, hooks={"start": [{"name": "build", **hook}]})
    (entry,) = config.settings.all_hooks
    return HookComponent(
        config,
        entry,
        needs=(),
        exported={},
        printed={} if printed is None else printed,
        generations=lambda: {"postgres": (root / "generation").read_text()},
    )


def outcome(root: Path, sources: str | list[str], creates: str | list[str] = "made") -> str:
    """Run a hook that created `made` at OLD; return what it did."""
    (root / "made").touch()
    os.utime(root / "made", (OLD, OLD))
    made = component(root, command=["touch", "made"], creates=creates, sources=sources)
    made.start(lambda _: None)
    return made.outcome


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


def test_several_sources_and_results(tmp_path: Path) -> None:
    for app in ("a", "b"):
        (tmp_path / app / "dist").mkdir(parents=True)
        (tmp_path / app / "[main].ts").touch()
        for path in (tmp_path / app / "dist", tmp_path / app / "[main].ts"):
            os.utime(path, (OLD, OLD))
    sources, creates = ["a/[main].ts", "b/*.ts"], ["made", "*/dist"]
    assert outcome(tmp_path, sources, creates) == "nothing to do"
    assert outcome(tmp_path, sources, [*creates, "c/dist"]) == "done"
    for newer in ("a", "b"):
        os.utime(tmp_path / newer / "[main].ts", (NEW, NEW))
        assert outcome(tmp_path, sources, creates) == "done"
        os.utime(tmp_path / newer / "[main].ts", (OLD, OLD))
    os.utime(tmp_path / "b" / "dist", (OLD - 1, OLD - 1))
    assert outcome(tmp_path, sources, creates) == "done"


def test_once_for_each_generation_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORIENTER_VOLUME_DIR", str(tmp_path / "volumes"))

    def run(generation: str, *command: str) -> str:
        (tmp_path / "generation").write_text(generation)
        made = component(tmp_path, command=command or ["true"], once="data", optional=True)
        made.start(lambda _: None)
        return made.outcome

    assert "failed" in run("one", "false")
    assert [run("one"), run("one"), run("two"), run("two"), run("one")] == [
        *("done", "nothing to do", "done", "nothing to do"),
        "done",
    ]


def exported(root: Path, program: str) -> dict[str, str]:
    """Run a hook that is a Python program; return what it exports."""
    values = dict[str, str]()
    made = component(root, values, name="secrets", command=[sys.executable, "-c", program], exports=True)
    made.start(lambda _: None)
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


def test_what_a_hook_exports_outranks_the_process_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "shell")
    config = make_config(tmp_path, dotenv={"K": "file"})
    assert environment(config, {})["K"] != environment(config, {"K": "hook"})["K"] == "hook"


def test_exports_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    lines = [
        "# of the bots",
        "export K='it'\\''s'",
        "",
        'PLAIN="a b"',
        "DATABASE_URL=elsewhere",
        "POSTGRES_USER=other",
        "AWS_PROFILE=x",
    ]
    assert exported(tmp_path, f"print({chr(10).join(lines)!r})") == {"K": "it's", "PLAIN": "a b"}


@pytest.mark.parametrize("line", ["hello", "K=a b", "K=$HOME", "K='open"])
def test_a_line_that_sets_no_variable_fails_the_hook(tmp_path: Path, line: str) -> None:
    printed = "A=1\n" + line
    with pytest.raises(CheckError, match=r"hook secrets of instance 0 .*: line 2 .*does not set a variable") as caught:
        exported(tmp_path, f"print({printed!r})")
    assert line not in str(caught.value)
