"""The skill file: every command in it works, as does what docs/agents.md says, and writing it changes no other text."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks import ns
from orienter_tasks.commands.agents import BEGIN, END, planned
from orienter_tasks.errors import ConflictError
from tests.integration.small import BASES, complaint

if TYPE_CHECKING:
    from tests.integration.small import MakeHost

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"
OURS = f"{BEGIN}\nbody\n{END}\n"
DRY = ("data.restore", "data.clone", "data.reset", "dev.restart", "dev.stop", "worktree.new", "worktree.rm")
"""Commands of the skill that would take long, or away what the next ones need: with Invoke's `--dry`."""
CODES = {"data.clone": 4, "worktree.rm": 3}
"""What does not end with 0 here: the main checkout cannot copy its own data, and that worktree does not exist."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.embedded
def test_every_command_works(make_host: MakeHost) -> None:
    main = make_host().main
    text = main.inv("agents.skill").out
    front, body = text.split("---\n", 2)[1:]
    assert re.match(r"name: [a-z0-9-]+-dev\ndescription: >-\n  Run, test and debug", front)
    assert f"| postgres | `POSTGRES_PORT` | {BASES['postgres']} |" in body
    assert f"| web | `DASHBOARD_PORT` | {BASES['dashboard']} |" in body

    (hook,) = json.loads(blocks("json")[0])["hooks"]["SessionStart"][0]["hooks"]
    told = subprocess.run(
        ["sh", "-c", hook["command"]], cwd=main.path, env=main.environ, capture_output=True, text=True, check=True
    )
    assert "all is well" in told.stdout

    commands = [shlex.split(line)[1:] for line in re.findall(r"`(inv [^`]+)`", body)]
    for name, *words in commands:
        assert name in ns.task_names or name == "dev", name
        flags = ["--dry"] if name in DRY else []
        answer = main.inv(*flags, name, *words, code=None)
        assert answer.code == CODES.get(name, 0) or name == "doctor", f"{name}: {answer}"
    used = {name for name, *_ in commands}
    for name in ("env.show", "env.exec", "dev.wait", "dev.why", "dev.logs", "test.run", "data.snapshot", "dev.stop"):
        assert name in used


@pytest.mark.skipif(shutil.which("direnv") is None, reason="needs direnv")
def test_the_snippet_for_direnv(make_host: MakeHost, tmp_path: Path) -> None:
    main = make_host().main
    (envrc,) = [block for block in blocks("sh") if "env.export" in block]
    (main.path / ".envrc").write_text(envrc)
    (main.path / ".env").write_text("POSTGRES_DB=one\n")
    script = """
        direnv allow .
        eval "$(direnv export bash)"; echo "$POSTGRES_PORT $POSTGRES_DB"
        sleep 1.1; echo POSTGRES_DB=two > .env  # direnv looks at whole seconds
        eval "$(direnv export bash)"; echo "$POSTGRES_DB"
        cd ..; eval "$(direnv export bash)"; echo "none: $POSTGRES_DB"
    """
    environ = {**main.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    shell = ["bash", "-ec", script]
    told = subprocess.run(shell, cwd=main.path, env=environ, capture_output=True, text=True, check=False)
    assert told.stdout.splitlines() == [f"{BASES['postgres']} one_0", "two_0", "none: "], told.stderr


def test_where_it_is_written(make_host: MakeHost) -> None:
    host = make_host(infra={"postgres": None})
    main = host.main
    text = main.inv("agents.skill").out
    assert "infra.psql" not in text
    assert "infra.s3" in text
    main.inv("--dry", "agents.skill", "--write")
    assert not (main.path / "AGENTS.md").exists()
    assert "AGENTS.md is written" in main.inv("agents.skill", "--write").err
    written = main.path / "AGENTS.md"
    assert written.read_text().startswith(f"{BEGIN}\n# The development stack of ")
    written.write_text(f"mine\n{written.read_text()}\nmine too")
    host.configure(main, instances={"max": 5})
    main.inv("agents.skill", "--write")
    again = written.read_text()
    assert again.startswith(f"mine\n{BEGIN}\n")
    assert again.endswith(f"{END}\n\nmine too")
    assert "1 to 5" in again
    assert "is up to date" in main.inv("agents.skill", "--write").err

    (main.path / ".claude").mkdir()
    main.inv("agents.skill", "--write")
    (skill,) = main.path.glob(".claude/skills/*/SKILL.md")
    assert skill.read_text().startswith(f"---\nname: {skill.parent.name}\n")
    assert written.read_text() == again
    skill.write_text("---\nname: other\n---\nnot ours\n")
    assert "is not ours" in complaint(main.inv("agents.skill", "--write", code=4))
    assert skill.read_text() == "---\nname: other\n---\nnot ours\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OURS),
        ("a", f"a\n\n{OURS}"),
        ("a\n", f"a\n\n{OURS}"),
        ("a\n\n", f"a\n\n{OURS}"),
        ("a\r\n\r\n", "a\r\n\r\n" + OURS.replace("\n", "\r\n")),
        (f"a {BEGIN} old {END} b", f"a {OURS.rstrip()} b"),
    ],
)
def test_other_text_stays(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "AGENTS.md"
    path.write_text(before, newline="")
    assert planned(tmp_path, "x", "", "body\n") == (path, after)
    path.write_text(after, newline="")
    assert planned(tmp_path, "x", "", "body\n") == (path, None)


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}{BEGIN}", OURS * 2])
def test_unclear_markers_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "AGENTS.md").write_text(text)
    with pytest.raises(ConflictError, match="markers"):
        planned(tmp_path, "x", "", "body\n")


def test_a_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "CLAUDE.md").write_text("a\n")
    (root / "AGENTS.md").symlink_to("CLAUDE.md")
    assert planned(root, "x", "", "body\n") == (root / "CLAUDE.md", f"a\n\n{OURS}")
    (root / "AGENTS.md").unlink()
    (root / "AGENTS.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match="outside of this checkout"):
        planned(root, "x", "", "body\n")
