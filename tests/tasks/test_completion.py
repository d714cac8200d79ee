"""Tab completion as a shell asks for it: Invoke's own script, sourced by a real bash, in a host."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.checkouts import INV, Host

if TYPE_CHECKING:
    from pathlib import Path


# what bash does when TAB is pressed after these words
PRESS_TAB = """
source <(inv --print-completion-script bash) || exit 1
COMP_WORDS=(inv "$@"); COMP_CWORD=$#
$(complete -p inv | sed -n 's/.*-F \\([^ ]*\\) .*/\\1/p') inv "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return Host(tmp_path / "home", "", {}).main.path


def tab(root: Path, *words: str) -> list[str]:
    """Press TAB after words; return what is offered."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    env = {**os.environ, "PATH": f"{INV.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", PRESS_TAB, "bash", *words]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_tasks_are_offered(host: Path) -> None:
    offered = tab(host, "dev.st")
    assert sorted(offered) == ["dev.start", "dev.status", "dev.stop"]
    assert "instances" in tab(host, "")


def test_flags_of_a_task_are_offered(host: Path) -> None:
    offered = tab(host, "dev", "--")
    assert {"--detach", "--backend", "--timeout"} <= set(offered)
    assert "--dry-run" in tab(host, "cleanup.weekly", "--d")


def test_a_tab_claims_nothing_and_makes_nothing(host: Path, isolated: Path) -> None:
    before = sorted(host.rglob("*"))
    tab(host, "dev", "-")
    after = [path for path in sorted(host.rglob("*")) if "__pycache__" not in path.parts]
    assert after == before
    assert not isolated.exists()
