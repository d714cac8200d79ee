"""The guards of this suite guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orienter_tasks.machine.state import state_dir
from orienter_tasks.settings.defaults import ports
from tests import slot
from tests.integration.small import wait_for
from tests.workers import PATIENCE

REPOSITORY = Path(__file__).parent.parent
FORBIDDEN = "marked neither docker nor embedded"


def raises_forbidden(start: object, *args: object, **kwargs: object) -> None:
    assert callable(start)
    with pytest.raises(BaseException, match=FORBIDDEN) as caught:
        start(*args, **kwargs)
    assert not isinstance(caught.value, Exception)


@pytest.mark.parametrize(
    "command",
    [
        ["nginx", "-v"],
        ["/opt/any/bin/postgres", "--version"],
        ["runuser", "-u", "nobody", "--", "/usr/bin/initdb"],
        [Path("/opt/rclone"), "version"],
        [b"minio"],
        "dockerd --version",
    ],
)
def test_starting_a_server_is_refused(command: object) -> None:
    raises_forbidden(subprocess.Popen, command)
    raises_forbidden(subprocess.run, command, check=False)


def test_starting_something_else_is_allowed() -> None:
    assert subprocess.run(["echo", "postgres"], capture_output=True, check=True).stdout == b"postgres\n"


def test_a_docker_client_is_refused() -> None:
    import docker

    raises_forbidden(docker.from_env)
    raises_forbidden(docker.DockerClient)
    raises_forbidden(docker.APIClient)


@pytest.mark.docker
def test_a_docker_client_is_allowed_where_marked() -> None:
    import docker

    client = docker.from_env(timeout=5)
    try:
        assert client.ping()
    finally:
        client.close()


def test_a_test_has_its_own_state_environment_and_directory(isolated: Path, tmp_path: Path) -> None:
    assert state_dir() == isolated == tmp_path / "state"
    assert Path.cwd() == tmp_path
    assert not [name for name in os.environ if name.startswith(("AI_INSTANCE_", "POSTGRES_", "AWS_"))]


PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-c", os.devnull)


def run_pytest(test: str, directory: Path, **environ: str) -> str:
    """Run one test in a suite of its own that has this one's conftest."""
    (directory / "conftest.py").write_text("from tests.conftest import *\n", encoding="utf-8")
    (directory / "test_it.py").write_text(f"import pytest\n{test}\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environ}
    return subprocess.run([*PYTEST, str(directory)], env=env, capture_output=True, text=True, check=False).stdout


NEEDS_ENGINE = "@pytest.mark.docker\ndef test_it(): pass"
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def test_without_an_engine_docker_tests_are_skipped(tmp_path: Path) -> None:
    output = run_pytest(NEEDS_ENGINE, tmp_path, ORIENTER_REQUIRE_DOCKER="", **NO_ENGINE)
    assert "no Docker engine answers" in output
    assert "1 skipped" in output


def test_without_an_engine_docker_tests_fail_where_it_is_required(tmp_path: Path) -> None:
    output = run_pytest(NEEDS_ENGINE, tmp_path, ORIENTER_REQUIRE_DOCKER="1", **NO_ENGINE)
    assert "1 error" in output
    assert "no Docker engine answers" in output


HASTY = """
from tests.conftest import *
from xdist.workermanage import NodeManager

assert NodeManager.EXIT_TIMEOUT > 0.25
NodeManager.EXIT_TIMEOUT = 0.25
"""
LONG = """
import pathlib, time

@pytest.fixture
def server(request):
    mark = pathlib.Path(request.config.rootpath, request.node.name)
    mark.touch()
    yield
    time.sleep(SECONDS)
    mark.unlink()

def test_NAME(server): time.sleep(60)
"""


def test_a_run_that_is_told_to_end_cleans_up_in_its_workers(tmp_path: Path) -> None:
    """Also when that takes longer than xdist would wait."""
    (tmp_path / "conftest.py").write_text(HASTY, encoding="utf-8")
    for name in ("one", "other"):  # a file each: one worker gets all of a file
        test = "import pytest\n" + LONG.replace("SECONDS", "1.5").replace("NAME", name)
        (tmp_path / f"test_{name}_it.py").write_text(test, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*PYTEST, "-n", "2", f"--rootdir={tmp_path}", str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        wait_for(lambda: len(list(tmp_path.glob("test_o*[er]"))) == 2, "both tests", seconds=120)
        run.terminate()
        output, _ = run.communicate(timeout=PATIENCE + 30)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert not list(tmp_path.glob("test_o*[er]")), output


def test_every_port_of_the_defaults_is_a_slots() -> None:
    assert set(slot.NAMES) == set(ports())
