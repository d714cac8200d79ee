"""Running PostgreSQL as root, as a user without a name, and where user namespaces are forbidden."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import user
from orienter_tasks.backends.embedded.cluster import FIRST_USER
from orienter_tasks.backends.embedded.user import prefix_for_postgres
from orienter_tasks.errors import BackendError
from orienter_tasks.identity.volumes import working_dir
from orienter_tasks.processes.record import load
from tests import programs, slot
from tests.backends.contract import down, sql, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.embedded.lab import EmbeddedLab

NAMELESS = 54321


@pytest.fixture
def forbidden_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "user_namespaces", lambda: False)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="orienter-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user")
def test_an_ordinary_user_needs_nothing(tmp_path: Path) -> None:
    assert prefix_for_postgres(tmp_path) == ()


@pytest.mark.root
def test_the_program_sees_an_unprivileged_user_and_files_stay_ours(tmp_path: Path) -> None:
    if not user.user_namespaces():
        pytest.skip("user namespaces are forbidden here")
    prefix = prefix_for_postgres(tmp_path / "data")
    code = "import os; print(os.getuid(), os.getpid()); open('made', 'w')"
    child = subprocess.Popen([*prefix, sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    uid, pid = (child.communicate()[0] or "").split()
    assert int(uid) != 0
    assert int(pid) == child.pid, "the recorded pid is the program's own"
    assert (tmp_path / "made").stat().st_uid == 0


@pytest.mark.root
@pytest.mark.embedded
@pytest.mark.usefixtures("forbidden_namespaces")
def test_root_without_namespaces_is_told_what_to_do(lab: EmbeddedLab) -> None:
    config = lab.config()
    with pytest.raises(BackendError, match="PostgreSQL refuses root, and root may not use user namespaces") as caught:
        up(lab.backend(config), config, ["postgres"])
    assert caught.value.exit_code == 5
    assert "run inv as an ordinary user" in caught.value.hint
    assert not (working_dir(config.instance, "postgres")).exists()
    assert up(lab.backend(config), config, ["minio"]) == ["minio"], "the others do not mind root"


@pytest.mark.root
@pytest.mark.embedded
def test_data_of_another_user_is_not_touched_by_root(lab: EmbeddedLab) -> None:
    """As with `sudo inv dev`: files that root made among them would lock their owner out."""
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    down(lab.backend(config))
    data = working_dir(config.instance, "postgres")
    files = [data, *data.rglob("*")]
    nobody = pwd.getpwnam("nobody").pw_uid
    for owner, name in ((nobody, "nobody"), (NAMELESS, str(NAMELESS))):
        for path in files:
            os.chown(path, owner, -1)
        with pytest.raises(BackendError, match=f"{data} belongs to user {name}, and PostgreSQL refuses root") as caught:
            up(lab.backend(config), config, ["postgres"])
        assert caught.value.hint.startswith(f"run inv as user {name}, or")
        assert {path.lstat().st_uid for path in [data, *data.rglob("*")]} == {owner}
        assert set(data.rglob("*")) == set(files[1:])


@pytest.mark.root
@pytest.mark.embedded
def test_a_user_without_a_name_gets_a_server(lab: EmbeddedLab, open_directory: Path) -> None:
    """As in containers that run under any number; initdb asks for the name."""
    with pytest.raises(KeyError):
        pwd.getpwuid(NAMELESS)
    environ = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "ORIENTER_STATE_DIR": str(open_directory / "state"),
        "HOME": str(open_directory),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        look = [sys.executable, "-c", "import tests.backends.contract"]
        subprocess.run(
            look, env=environ, user=NAMELESS, group=NAMELESS, extra_groups=[], capture_output=True, check=True
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("other users may not run this interpreter, or not read this clone")
    root = open_directory / "checkout"
    root.mkdir()
    os.chown(root, NAMELESS, NAMELESS)
    os.chown(open_directory, NAMELESS, NAMELESS)
    done = subprocess.run(
        programs.command("nameless", str(root), json.dumps(slot.bases())),
        env=environ,
        cwd=open_directory,
        user=NAMELESS,
        group=NAMELESS,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    if "user namespaces are forbidden" in done.stderr:
        pytest.skip("user namespaces are forbidden to ordinary users here")
    assert done.stdout.strip() == "[[1]]", done.stderr[-2000:]
    assert {path.lstat().st_uid for path in root.rglob("*")} == {NAMELESS}


def test_a_user_without_a_name_is_told_where_namespaces_are_forbidden(
    tmp_path: Path, forbidden_namespaces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    with pytest.raises(BackendError, match=f"initdb refuses user {NAMELESS}") as caught:
        prefix_for_postgres(tmp_path)
    assert "/etc/passwd" in caught.value.hint


@pytest.mark.root
@pytest.mark.embedded
def test_as_root_the_recorded_process_is_the_server(lab: EmbeddedLab) -> None:
    import psutil

    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    record = load(config.instance, "postgres")
    assert record is not None
    assert psutil.Process(record.pid).name() == "postgres"
    assert FIRST_USER not in str(sql(config, "SELECT rolname FROM pg_roles"))
