"""What a machine does to an embedded instance, met with the real `inv`: full disks, wrong programs, crashes, users."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pg8000.exceptions import DatabaseError, InterfaceError

from tests.integration.checkouts import INV, Answer, Checkout
from tests.integration.left import nothing_left
from tests.integration.small import (
    Running,
    SmallHost,
    complaint,
    kill,
    pid_of,
    query,
    remember,
    remembered,
    states,
    wait_for,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.small import MakeHost

pytestmark = pytest.mark.embedded

ALL = {"postgres": True, "minio": True, "nginx": True, "web": True}
DETACHED = ("dev", "--detach", "--quiet")
NAMELESS = 54322


def run(words: list[str], checkout: Checkout) -> Answer:
    done = subprocess.run(
        words, cwd=checkout.path, env=checkout.environ, capture_output=True, text=True, timeout=120, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.root
def test_a_full_disk(make_host: MakeHost) -> None:
    host = make_host()
    data = Path(host.main.environ["ORIENTER_STATE_DIR"]) / "volumes"
    data.mkdir(mode=0o700)
    mount = 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"'
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(data)]
    if run([*inside, "true"], host.main).code != 0:
        pytest.skip("root may not mount here")

    answer = run([*inside, str(INV), "dev", "--detach"], host.main)
    assert answer.code == 1, str(answer)
    line = complaint(answer)
    assert "no space is left" in line
    assert "instance 0 (orienter)" in line or "-data-0" in line
    assert host.left() == []
    host.main.inv(*DETACHED)


FULL_STATE = """
mount -t tmpfs -o size=2m tmpfs "$0" && cp -a "$1"/. "$0" || exit 77
ask() { inv "$@"; echo "exit $?" >&2; }
fill() { dd if=/dev/zero of="$0/filler" bs=1k count=4096 2>/dev/null; }
ask dev --detach --quiet
fill "$0"
ask dev.status; ask dev.stop; ask dev --detach --quiet
rm "$0/filler"
ask dev --detach --quiet; ask dev.status; ask dev.stop
cp -a "$0"/. "$1"
"""


@pytest.mark.root
def test_a_full_state_directory(make_host: MakeHost, tmp_path: Path) -> None:
    """What runs is seen and can be stopped; nothing new is started; with room again all goes on."""
    host = make_host()
    host.main.inv("infra.up")
    remember(host.main, "kept")
    host.main.inv("dev.stop")
    real, small = os.environ["ORIENTER_STATE_DIR"], tmp_path / "small"
    small.mkdir(mode=0o700)
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", FULL_STATE, str(small), real]
    answer = run(inside, within(host.main, {"ORIENTER_STATE_DIR": str(small)}))
    if answer.code == 77:
        pytest.skip("root may not mount here")
    assert "Traceback" not in answer.err
    codes = [line for line in answer.err.splitlines() if line.startswith("exit ")]
    assert codes == ["exit 0", "exit 0", "exit 1", "exit 1", "exit 0", "exit 0", "exit 0"], str(answer)
    complaints = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 2
    assert all("no space is left for" in line for line in complaints)
    assert answer.err.count("postgres: stopped") == 2, "a stop needs no room"
    assert host.left() == []
    host.main.inv("infra.up")
    assert remembered(host.main) == ["kept"]


FULL_LOGS = """
mount -t tmpfs -o size=1m tmpfs "$0" || exit 77
ask() { inv "$@"; echo "exit $?" >&2; }
fill() { dd if=/dev/zero of="$0/filler" bs=1k count=4096 2>/dev/null; }
ask dev --detach --quiet
fill
ask dev.status; ask instances; ask dev.logs --no-follow; ask dev.restart; ask dev.stop
rm -r "$0/instance-0"; fill
ask dev --detach --quiet; ask dev.status
rm "$0/filler"
ask dev --detach --quiet; ask dev.stop
"""


@pytest.mark.root
def test_full_logs(make_host: MakeHost) -> None:
    """What runs goes on; a service that cannot write its log ends with the reason; with room again all starts."""
    host = make_host()
    logs = host.main.path / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    answer = run(["unshare", "--mount", "--propagation", "private", "sh", "-c", FULL_LOGS, str(logs)], host.main)
    if answer.code == 77:
        pytest.skip("root may not mount here")
    assert "Traceback" not in answer.err
    codes = [line.removeprefix("exit ") for line in answer.err.splitlines() if line.startswith("exit ")]
    assert codes == ["0", "0", "0", "0", "1", "0", "1", "0", "0", "0"], str(answer)
    complaints = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 2
    for line in complaints:
        assert line.startswith("error: web of instance 0 (orienter) exited with code ")
        assert line.endswith("before it was ready; no space is left for its log")
    assert answer.err.count(f"hint: free some for {logs}/") == 2
    assert answer.out.count("running  http://") == 2
    assert host.left() == []


def test_a_program_that_cannot_run_here(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    wrong = tmp_path / "bin"
    wrong.mkdir()
    for name in ("postgres", "initdb", "nginx"):
        (wrong / name).write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x00\xff" + bytes(100))
        (wrong / name).chmod(0o755)

    for key, value in (("nginx", str(wrong / "nginx")), ("postgres_bin", str(wrong))):
        host.configure(host.main, embedded={"nginx": "", "postgres_bin": "", key: value})
        line = complaint(host.main.inv("dev", "--detach", code=5))
        assert str(wrong) in line
        assert "cannot run here" in line
        assert host.left() == []

    host.configure(host.main, embedded={"nginx": "/nowhere/nginx", "postgres_bin": ""})
    assert "orienter.embedded.nginx: /nowhere/nginx" in complaint(host.main.inv("dev", "--detach", code=2))
    host.configure(host.main, embedded={"nginx": ""}, database={"extensions": ["no-such-thing"]})
    answer = host.main.inv("dev", "--detach", code=5)
    assert "lacks no-such-thing of orienter.database.extensions" in complaint(answer)
    assert "inv dev --backend docker" in answer.err
    assert host.left() == []
    host.configure(host.main, database={"extensions": ["plpgsql"]})
    host.main.inv(*DETACHED)


def test_what_crashes_leave_in_the_data_directory(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")

    def work_long() -> None:
        with contextlib.suppress(DatabaseError, InterfaceError, OSError):
            query(main, "SELECT count(*) FROM generate_series(1, 1000000000)")

    busy = threading.Thread(target=work_long)
    busy.start()
    at_work = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%series(%' AND pid <> pg_backend_pid()"
    wait_for(lambda: query(main, at_work), "the query's begin")
    kill(pid_of(main, "postgres"))  # its backend is busy and holds its shared memory
    main.inv(*DETACHED)
    busy.join()
    assert states(main) == ALL
    assert remembered(main) == ["kept"]

    main.inv("dev.stop")
    lock = main.works_in("postgres") / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n1\n5432\n\n127.0.0.1\n\nready\n")  # as after a reboot
    main.inv(*DETACHED)
    assert remembered(main) == ["kept"]
    main.inv("dev.stop")
    nothing_left([main])


@pytest.mark.root
@pytest.mark.parametrize(("user", "group"), [("nobody", "nogroup"), (str(NAMELESS), str(NAMELESS))])
def test_an_ordinary_user(open_directory: Path, user: str, group: str) -> None:
    as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--"]
    look = "import os, sys, orienter_tasks; sys.exit(not os.access(sys.executable, os.X_OK))"
    host = SmallHost(open_directory / "home", "embedded", open_directory / "clusters")
    subprocess.run(["chown", "-R", f"{user}:{group}", str(open_directory)], check=True)
    if run([*as_user, sys.executable, "-c", look], host.main).code != 0:
        pytest.skip("other users may not run this Python, or not read this clone")
    if user.isdecimal() and run([*as_user, "unshare", "-U", "true"], host.main).code != 0:
        pytest.skip("user namespaces are forbidden to ordinary users here")
    try:
        answer = run([*as_user, str(INV), "dev", "--detach"], host.main)
        assert answer.code == 0, str(answer)
        shown = run([*as_user, str(INV), "dev.status", "--json"], host.main)
        assert {part["name"]: part["running"] for part in shown.json["components"]} == ALL
        assert {path.lstat().st_uid for path in host.main.path.glob(".dev-data/*/*/*")} == {
            host.main.path.stat().st_uid
        }
    finally:
        stopped = run([*as_user, str(INV), "dev.stop", "--volumes", "--yes"], host.main)
        assert host.left() == [], str(stopped)
    assert stopped.code == 0, str(stopped)


@pytest.mark.root
def test_sudo_locks_nobody_out(open_directory: Path) -> None:
    """Sudo keeps HOME, and so the state directory: what root makes there and in the checkout is its owner's."""
    as_user = ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups", "--"]
    host = SmallHost(open_directory / "home", "embedded", open_directory / "clusters")
    subprocess.run(["chown", "-R", f"{NAMELESS}:{NAMELESS}", str(open_directory)], check=True)
    if run([*as_user, sys.executable, "-c", "import orienter_tasks"], host.main).code != 0:
        pytest.skip("other users may not run this Python, or not read this clone")
    under_sudo = within(host.main, {"SUDO_UID": str(NAMELESS), "SUDO_GID": str(NAMELESS)})
    assert "run it without sudo" in complaint(under_sudo.inv("dev", "--detach", code=4))
    for words in (("env.show",), ("dev.stop",), ("dev.status",), ("nginx.render",), ("doctor",)):
        under_sudo.inv(*words, code=None)
    strange = [path for path in open_directory.rglob("*") if path.lstat().st_uid != NAMELESS]
    assert strange == []
    for words in (("env.show",), ("dev.status",), ("dev.stop",), ("nginx.render",)):
        answer = run([*as_user, str(INV), *words], host.main)
        assert answer.code == 0, str(answer)
    assert host.left() == []


@pytest.fixture
def open_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own is not, with a state directory and a home."""
    directory = Path(tempfile.mkdtemp(prefix="orienter-test-"))
    directory.chmod(0o755)
    (directory / "clusters").mkdir()
    monkeypatch.setenv("ORIENTER_STATE_DIR", str(directory / "state"))
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    yield directory
    shutil.rmtree(directory)


def test_a_service_that_writes_without_end(make_host: MakeHost, tmp_path: Path) -> None:
    loud = "while :; do head -c 100000 /dev/zero | tr '\\0' x | fold -w 99; sleep 0.2; done"
    host = make_host(services={"web": None, "loud": {"command": ["sh", "-c", loud]}}, logs={"max_size": "200k"})
    log = host.main.path / "logs/instance-0/loud-dev.log"
    former = log.with_name(f"{log.name}.1")

    def size() -> int | None:
        with contextlib.suppress(FileNotFoundError):  # in the middle of a cut, there is none
            return log.stat().st_size
        return None

    def long() -> bool:
        return (size() or 0) > 250_000

    host.main.inv(*DETACHED)
    wait_for(long, "a long log")
    assert "logs.max_size is 200k" in host.main.inv("doctor", code=None).out
    host.main.inv("--dry", "dev.status")
    assert long()
    for words in (("dev.status",), ("dev.logs", "--no-follow", "-s", "loud", "--lines", "1")):
        wait_for(long, "a long log")
        before = log.stat().st_size
        answer = host.main.inv(*words)
        assert log.stat().st_size < before, str(answer)
        assert 190_000 < former.stat().st_size < 410_000
    host.main.inv("dev.stop")

    with Running(host.main, tmp_path, "dev", "--quiet") as run:
        wait_for(lambda: (found := size()) is not None and found < 200_000, "its own log")
        first = former.stat().st_ino
        wait_for(lambda: former.stat().st_ino != first, "a cut")
        wait_for(lambda: size() is not None, "the next log")
        assert (size() or 0) < 1_000_000
        run.send(signal.SIGINT)
        run.end(130)
