"""Running PostgreSQL as root, as a user without a name, and where user namespaces are forbidden."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import initdb, user as unprivileged
from orienter_tasks.backends.embedded.user import Account, account_for
from orienter_tasks.errors import BackendError
from orienter_tasks.processes.record import load
from tests.backends.contract import down, sql, up
from tests.backends.embedded.lab import kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.embedded.lab import EmbeddedLab

NAMELESS = 54321


@pytest.fixture
def forbidden_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unprivileged, "user_namespaces", lambda: False)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="orienter-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_programs() -> None:
    """Skip where `nobody` may not run what this environment has installed, as below root's home."""
    try:
        subprocess.run(
            [sys.executable, "-c", ""], user="nobody", group=pwd.getpwnam("nobody").pw_gid, extra_groups=[], check=True
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("other users may not run this interpreter")


@pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user")
def test_an_ordinary_user_needs_nothing(tmp_path: Path) -> None:
    assert account_for(tmp_path) == Account()


@pytest.mark.root
def test_the_program_sees_an_unprivileged_user_and_files_stay_ours(tmp_path: Path) -> None:
    if not unprivileged.user_namespaces():
        pytest.skip("user namespaces are forbidden here")
    account = account_for(tmp_path / "data")
    code = "import os; print(os.getuid(), os.getpid()); open('made', 'w')"
    child = subprocess.Popen(
        account.command(Path(sys.executable), "-c", code), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    uid, pid = (child.communicate()[0] or "").split()
    assert int(uid) != 0
    assert int(pid) == child.pid, "the recorded pid is the program's own"
    assert (tmp_path / "made").stat().st_uid == 0


@pytest.mark.root
def test_without_namespaces_root_becomes_nobody(tmp_path: Path, forbidden_namespaces: None) -> None:
    account = account_for(tmp_path / "data")
    command = account.command(Path("/bin/sh"), "-c", "id -u; id -ru; id -G; echo $$")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    nobody = pwd.getpwnam("nobody")
    assert (child.communicate()[0] or "").split() == [
        str(n) for n in (nobody.pw_uid, nobody.pw_uid, nobody.pw_gid, child.pid)
    ]
    assert account.owner == (nobody.pw_uid, nobody.pw_gid)


@pytest.mark.root
@pytest.mark.embedded
@pytest.mark.usefixtures("open_programs", "forbidden_namespaces")
def test_nobody_serves_where_he_may_pass(lab: EmbeddedLab, open_directory: Path) -> None:
    config = lab.config(root=open_directory / "checkout")
    backend = lab.backend(config)
    try:
        up(backend, config, ["postgres"])
        sql(config, "CREATE TABLE kept ()")
        data = config.instance.data_dir / "postgres"
        nobody = pwd.getpwnam("nobody").pw_uid
        assert {path.lstat().st_uid for path in [data, *data.rglob("*")]} == {nobody}
        assert data.stat().st_mode & 0o077 == 0
        kill(config, "postgres")
        up(lab.backend(config), config, ["postgres"])
        assert sql(config, "SELECT count(*) FROM kept") == [[0]]
    finally:
        down(backend)
    assert backend.remove_data()


@pytest.mark.root
@pytest.mark.embedded
@pytest.mark.usefixtures("open_programs")
def test_data_is_served_by_who_owns_it(lab: EmbeddedLab, open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `nobody` made stays his when namespaces are allowed later, and root's is given to him in the other case."""
    nobody = pwd.getpwnam("nobody").pw_uid
    config = lab.config(root=open_directory / "checkout")
    backend = lab.backend(config)
    data = config.instance.data_dir / "postgres"
    monkeypatch.setattr(unprivileged, "user_namespaces", lambda: False)
    up(backend, config, ["postgres"])
    down(backend)
    monkeypatch.undo()
    monkeypatch.setenv("ORIENTER_STATE_DIR", str(open_directory / "state"))
    assert account_for(data).owner == (nobody, pwd.getpwnam("nobody").pw_gid)
    up(backend, config, ["postgres"])
    down(backend)
    for path in (data, *data.rglob("*")):
        os.chown(path, 0, 0)
    monkeypatch.setattr(unprivileged, "user_namespaces", lambda: False)
    up(backend, config, ["postgres"])
    assert data.stat().st_uid == nobody
    down(backend)


@pytest.mark.root
@pytest.mark.embedded
def test_a_closed_way_is_named(lab: EmbeddedLab, open_directory: Path, forbidden_namespaces: None) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    config = lab.config(root=closed / "checkout")
    with pytest.raises(BackendError, match=f"user nobody may not pass through {closed}$"):
        up(lab.backend(config), config, ["postgres"])
    assert list(config.instance.data_dir.iterdir()) == []


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
    code = """
import sys
from pathlib import Path
from tests.backends.contract import down, make_config, sql, up
from orienter_tasks.infra.embedded import EmbeddedBackend
config = make_config(Path(sys.argv[1]), int(sys.argv[2]))
backend = EmbeddedBackend(config)
up(backend, config)
print(sql(config, "SELECT 1"))
down(backend)
"""
    from tests.backends.embedded.lab import FIRST_PORT

    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(FIRST_PORT)],
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
        account_for(tmp_path)
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
    assert initdb.FIRST_USER not in str(sql(config, "SELECT rolname FROM pg_roles"))
