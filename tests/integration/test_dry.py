"""Invoke's `--dry` changes nothing at all: every task, with the real `inv`, beside a running and a new checkout."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks import ns
from orienter_tasks.machine.state import state_dir
from tests import programs, slot
from tests.integration.checkouts import INV, Host
from tests.integration.conftest import BACKENDS
from tests.integration.left import docker_of, engine, processes_of
from tests.integration.small import remember, remembered, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.integration.checkouts import Answer, Checkout
    from tests.integration.small import MakeHost

WORDS: dict[str, Sequence[tuple[str, ...]]] = {
    "dev.start": [(), ("--fresh", "--detach")],
    "dev.stop": [(), ("--volumes", "--yes", "--force"), ("--all",)],
    "dev.restart": [(), ("-s", "postgres")],
    "infra.down": [(), ("--volumes", "--yes")],
    "infra.compose": [("--output", "compose.yaml")],
    "env.exec": [("--", "touch", "made")],
    "env.hook": [("bash",)],
    "remote.open": [("box:code/shop",)],
    "test.run": [("--", "touch", "made")],
    "agents.skill": [("--write",)],
    "infra.psql": [("--", "-c", "CREATE TABLE made ()")],
    "infra.s3": [("ls",), ("cp", "--", "tasks.py", "s3:made"), ("rm", "--", "made")],
    "doctor": [("--fix", "--yes")],
    "cleanup.instance": [("0", "--yes")],
    "data.adopt": [("0",), ("3",)],
    "data.snapshot": [("early",)],
    "data.restore": [("early", "--yes")],
    "data.rm": [("early", "--yes")],
    "data.reset": [("--yes",)],
    "data.export": [("data.tar",)],
    "data.import": [("data.tar", "--yes")],
    "worktree.new": [("side",)],
    "worktree.rm": [("side", "--force", "--yes")],
    **{f"cleanup.{name}": [("--yes",)] for name in ("daily", "weekly", "orphans", "logs", "all")},
}
"""What each task gets on the command line; nothing where it is not named."""

SERVERS = ("volumes", "minio", "logs", "run")
"""Directories in which running servers write: only what is there counts, and nothing of PostgreSQL's own."""


def commands() -> list[tuple[str, ...]]:
    return [(name, *words) for name in sorted(ns.task_names) for words in WORDS.get(name, [()])]


def below(directory: Path) -> Iterator[Path]:
    """Everything below a directory, and itself, without what PostgreSQL and Python keep there."""
    yield directory
    for path in directory.iterdir() if not (directory / "PG_VERSION").exists() else ():
        if path.name != "__pycache__":
            yield from below(path) if path.is_dir() and not path.is_symlink() else (path,)


def files(directory: Path) -> dict[str, object]:
    """Everything below a directory: kind and mode, and time and content of what no server writes to."""
    found: dict[str, object] = {}
    for path in below(directory) if directory.exists() else ():
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode) and not set(SERVERS) & set(path.parts):
            content = path.read_bytes()
        changed = 0 if set(SERVERS) & set(path.parts) else status.st_mtime_ns
        found[str(path)] = (status.st_mode, changed, content)
    return found


def everything(checkout: Checkout) -> dict[str, object]:
    """The checkout, the state directory, the processes, and what an engine has."""
    found = {**files(checkout.path), **files(state_dir()), "processes": sorted(processes_of(checkout))}
    if checkout.environ["ORIENTER_BACKEND"] == "docker":
        found["engine"] = sorted(docker_of(checkout, "container", "network", "volume"))
        api = engine(os.environ.get("DOCKER_HOST", ""))
        for line in docker_of(checkout, "container"):
            state = api.inspect_container(line.split()[1])["State"]
            found[line] = [state[key] for key in ("Status", "Pid", "StartedAt")]
    return found


def try_all(checkout: Checkout) -> dict[str, Answer]:
    """Run every task with `--dry`, and require after each that everything is as it was."""
    quiet = within(checkout, {"PYTHONDONTWRITEBYTECODE": "1"})
    before, answers = everything(checkout), {}
    for words in commands():
        answers[" ".join(words)] = answer = quiet.inv("--dry", *words, code=None)
        after = everything(checkout)
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        assert not changed, f"{words}: {changed}\n{answer}"
        assert answer.code in (0, 1, 3, 4), f"{words}: {answer}"
    return answers


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_changes_beside_a_running_instance(make_host: MakeHost, backend: str) -> None:
    main = make_host(backend).main
    main.inv("dev", "--detach", "--quiet")
    remember(main, "kept")
    answers = try_all(main)

    assert remembered(main) == ["kept"]
    assert answers["dev.start"].out.startswith("would start nothing\nwould start nothing\n")
    fresh = answers["dev.start --fresh --detach"].out.splitlines()
    assert fresh[:3] == ["would stop: postgres, minio, nginx, web", *_started("web")]
    stopped = answers["dev.stop --volumes --yes --force"].out.splitlines()
    assert stopped[0] == "would stop: postgres, minio, nginx, web"
    assert stopped[1].startswith("would remove: ")
    assert "postgres" in stopped[1]
    assert "minio" in stopped[1]
    assert answers["dev.stop --all"].out == "would stop: instance 0 (orienter)\n"
    assert answers["infra.down --volumes --yes"].code == 4  # the service still runs
    assert answers["dev.restart"].out == "would restart: web\n"
    assert answers["services.stop"].out == "would stop: web\n"
    assert answers["env.exec -- touch made"].out == "would run: touch made\n"
    assert answers["test.run -- touch made"].out == "would run in a throwaway instance: touch made\n"
    assert answers["infra.s3 cp -- tasks.py s3:made"].out == "would cp tasks.py s3:made\n"
    assert answers["infra.s3 ls"].out == "KEY  SIZE  MODIFIED\n"
    assert answers["infra.psql -- -c CREATE TABLE made ()"].out == "would run: psql -c 'CREATE TABLE made ()'\n"
    assert answers["data.snapshot early"].out == "would copy the data of instance 0 (orienter): postgres, minio\n"
    assert (
        answers["data.reset --yes"].out.splitlines()[0].startswith("would replace the data of instance 0 (orienter): ")
    )
    assert "instance 0 was named" in answers["cleanup.instance 0 --yes"].out
    assert answers["dev.status"].code == answers["infra.verify"].code == answers["dev.logs"].code == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_changes_in_a_checkout_that_never_started_anything(make_host: MakeHost, backend: str) -> None:
    main = make_host(backend).main
    answers = try_all(main)

    assert not state_dir().joinpath("claims.json").exists()
    assert not (main.path / ".env").exists()
    assert answers["env.init"].err.startswith("would write .env: new, with generated ")
    assert answers["dev.start"].out.splitlines()[:2] == _started("web")
    assert answers["infra.up"].out.splitlines() == _started()
    assert answers["dev.stop --volumes --yes --force"].out == "would stop nothing\n"
    assert "write nginx's configuration to " in answers["nginx.render"].out
    assert answers["env.show"].code == answers["env.export"].code == 0


def _started(*services: str) -> list[str]:
    return ["would start: postgres, minio, nginx", *(f"would start: {name}" for name in services)]


@pytest.mark.embedded
def test_the_variable_and_the_configuration_mean_the_same(make_host: MakeHost) -> None:
    main = make_host().main
    assert main.inv("infra.up", INVOKE_RUN_DRY="1").out.splitlines() == _started()
    written = (main.path / "invoke.yaml").read_text()
    (main.path / "invoke.yaml").write_text(f'{{"run": {{"dry": true}}, {written[1:]}')
    assert main.inv("infra.up").out.splitlines() == _started()
    assert not (main.path / ".dev-data").exists()


def test_an_unexpected_exception_leaves_no_report(tmp_path: Path) -> None:
    files = {"tasks.py": programs.path_of("crashing_tasks")}
    main = Host(tmp_path / "home", "", {"project": "crashing", "ports": slot.bases()}, files).main
    done = subprocess.run([str(INV), "--dry", "instances"], cwd=main.path, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "KeyError" in done.stderr
    assert not state_dir().exists()
