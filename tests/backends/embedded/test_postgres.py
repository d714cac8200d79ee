"""PostgreSQL after crashes: stale locks, orphaned backends, memory that is still in use."""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.backends.clients.postgres import ensure_database
from orienter_tasks.backends.embedded import postmaster
from orienter_tasks.backends.embedded.cluster import Installation
from orienter_tasks.errors import CheckError, ConflictError
from orienter_tasks.identity.volumes import working_dir
from orienter_tasks.infra import postgres
from orienter_tasks.infra.postgres import PROOF
from orienter_tasks.processes import census
from orienter_tasks.processes.record import load, path_of
from tests.backends.contract import component, down, sql, status_of, up
from tests.backends.embedded.lab import kill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded


def data_of(config: InstanceConfig) -> Path:
    return working_dir(config.instance, "postgres")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield process
    process.kill()
    process.wait()


def test_a_stale_lock_that_names_a_stranger_does_not_block(lab: EmbeddedLab, stranger: subprocess.Popen[bytes]) -> None:
    """After a reboot or a long time the pid in postmaster.pid is somebody else's; PostgreSQL alone gives up there."""
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    kill(config, "postgres")
    lock = data_of(config) / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

    assert up(lab.backend(config), config, ["postgres"]) == ["postgres"]

    assert stranger.poll() is None
    assert sql(config, "SELECT 1") == [[1]]


@pytest.mark.parametrize("content", ["", "nonsense\n", "0\n"])
def test_a_damaged_lock_does_not_block(lab: EmbeddedLab, content: str) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    down(backend)
    (data_of(config) / "postmaster.pid").write_text(content)
    assert up(lab.backend(config), config, ["postgres"]) == ["postgres"]


def test_a_busy_backend_of_a_killed_server_is_ended(lab: EmbeddedLab) -> None:
    """It computes and does not notice that its server is gone; it would hold the shared memory for hours."""
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])

    def compute() -> None:
        with pytest.raises(Exception, match=r".*"):
            sql(config, "SELECT count(*) FROM generate_series(1, 1000000000000)")

    client = threading.Thread(target=compute)
    client.start()
    deadline = time.monotonic() + 10
    while not sql(
        config,
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1%'"
        " AND pid <> pg_backend_pid()",
    ):
        assert time.monotonic() < deadline
    kill(config, "postgres")
    busy = census.take().working_in(data_of(config), postmaster.NAMES)
    assert busy, "the case that this test is about"

    assert up(lab.backend(config), config, ["postgres"]) == ["postgres"]

    client.join(10)
    assert not client.is_alive()
    assert not set(busy) & set(census.take().working_in(data_of(config), postmaster.NAMES))
    assert sql(config, "SELECT 1") == [[1]]


def test_stopping_ends_the_backends_of_a_killed_server(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    client = threading.Thread(target=lambda: _ignoring_errors(config))
    client.start()
    time.sleep(0.5)
    kill(config, "postgres")
    down(backend)
    assert census.take().working_in(data_of(config), postmaster.NAMES) == []
    client.join(10)


def _ignoring_errors(config: InstanceConfig) -> None:
    try:
        sql(config, "SELECT count(*) FROM generate_series(1, 1000000000000)")
    except Exception:  # noqa: BLE001 - the server is killed on purpose
        return


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="attaches to System V shared memory")
def test_memory_that_is_still_in_use_is_waited_for(lab: EmbeddedLab) -> None:
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmdt.argtypes = [ctypes.c_void_p]
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    memory_id = int((data_of(config) / "postmaster.pid").read_text().splitlines()[6].split()[1])
    attached = libc.shmat(memory_id, None, 0o10000)
    assert attached not in (None, ctypes.c_void_p(-1).value), ctypes.get_errno()
    try:
        kill(config, "postgres")
        release = threading.Timer(1.0, lambda: libc.shmdt(attached))
        release.start()
        begun = time.monotonic()
        up(lab.backend(config), config, ["postgres"])
        assert time.monotonic() - begun > 0.7, "the memory was in use until then"
    finally:
        release.join()
    former = (config.instance.log_dir / "postgres.log.1").read_text()
    assert "pre-existing shared memory block" in former
    assert sql(config, "SELECT 1") == [[1]]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="attaches to System V shared memory")
def test_memory_that_stays_in_use_is_told(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    from orienter_tasks.infra import postgres

    monkeypatch.setattr(postgres, "RETRY_SECONDS", 0.5)
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmdt.argtypes = [ctypes.c_void_p]
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    memory_id = int((data_of(config) / "postmaster.pid").read_text().splitlines()[6].split()[1])
    attached = libc.shmat(memory_id, None, 0o10000)
    try:
        kill(config, "postgres")
        with pytest.raises(CheckError, match="postgres of instance 0") as caught:
            up(lab.backend(config), config, ["postgres"])
        assert any("pre-existing shared memory block" in line for line in caught.value.details)
    finally:
        libc.shmdt(attached)


def test_a_server_that_somebody_runs_by_hand_is_left_alone(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    down(backend)
    data = data_of(config)
    postgres = Installation.of(config.settings, data)
    options = ("-p", str(config.instance.ports["postgres"]), "-c", "unix_socket_directories=")
    command = postgres.command("postgres", "-D", str(data), *options)
    by_hand = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while (status := postmaster.read(data)) is None or not status.ready:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(ConflictError, match=f"pid {by_hand.pid} serves .*not started by inv"):
            up(lab.backend(config), config, ["postgres"])
        down(backend)
        assert by_hand.poll() is None
        assert len(psutil.Process(by_hand.pid).children()) > 2, "nor were its backends touched"
    finally:
        by_hand.terminate()
        by_hand.wait(10)


def test_a_changed_port_is_told(lab: EmbeddedLab) -> None:
    from msgspec.structs import replace

    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    moved = replace(config, instance=replace(config.instance, ports={**config.instance.ports, "postgres": 21999}))
    with pytest.raises(CheckError, match=r"runs on port .* now 21999"):
        component(lab.backend(moved), "postgres").probe()


def test_committed_rows_outlive_a_kill(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    sql(config, "CREATE TABLE counted (n int)")
    sql(config, "INSERT INTO counted SELECT generate_series(1, 50000)")
    kill(config, "postgres")
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT count(*) FROM counted") == [[50000]]


def test_a_very_long_path_is_no_hindrance(lab: EmbeddedLab) -> None:
    root = lab.directory / ("d" * 100) / ("e" * 100)
    config = lab.config(root=root)
    up(lab.backend(config), config)
    assert sql(config, "SELECT 1") == [[1]]


def test_started_at_is_the_processes(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    record = load(config.instance, "postgres")
    assert record is not None
    assert status_of(backend, "postgres").started_at == record.started_at
    assert abs(psutil.Process(record.pid).create_time() - record.started_at) < 2
    assert path_of(config.instance, "postgres").stat().st_mode & 0o077 == 0


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that starts logged in with."""
    made: list[str] = []

    def noted(config: InstanceConfig) -> None:
        made.append(config.variables["POSTGRES_PASSWORD"])
        ensure_database(config)

    monkeypatch.setattr(postgres, "ensure_database", noted)
    return made


def restart(lab: EmbeddedLab, config: InstanceConfig) -> None:
    down(lab.backend(config))
    up(lab.backend(config), config, ["postgres"])


def test_only_new_data_and_changed_credentials_cost_a_login(lab: EmbeddedLab, logins: list[str]) -> None:
    config = lab.config(dotenv={"POSTGRES_PASSWORD": "first"})
    up(lab.backend(config), config, ["postgres"])
    for _ in range(3):
        sql(config, "SELECT 1")
        restart(lab, config)
    assert logins == ["first"]

    down(lab.backend(config))
    changed = lab.config(dotenv={"POSTGRES_PASSWORD": "second"})
    with pytest.raises(CheckError, match="refuses user"):
        up(lab.backend(changed), changed, ["postgres"])
    further = lab.config(dotenv={"POSTGRES_PASSWORD": "first", "POSTGRES_DB": "further"})
    restart(lab, further)
    assert sql(further, "SELECT current_database()") == [["further_0"]]
    assert logins == ["first", "second", "first"]

    down(lab.backend(config))
    assert lab.backend(config).remove_data()
    logins.clear()
    up(lab.backend(config), config, ["postgres"])
    assert logins == ["first"]


@pytest.mark.parametrize("crash", [False, True])
def test_a_login_is_tried_again_when_the_server_changed_what_it_depends_on(lab: EmbeddedLab, crash: bool) -> None:
    config = lab.config()
    user, name = config.variables["POSTGRES_USER"], config.variables["POSTGRES_DB"]
    backend = lab.backend(config)

    def again() -> None:
        kill(config, "postgres") if crash else down(backend)
        up(lab.backend(config), config, ["postgres"])

    up(backend, config, ["postgres"])
    again()
    other = lab.config(dotenv={"POSTGRES_DB": "postgres"})
    ensure_database(other)
    sql(config, "CREATE TABLE kept ()")
    sql(other, f'ALTER DATABASE "{name}" RENAME TO former')
    again()
    assert sql(config, "SELECT to_regclass('kept')") == [[None]]
    sql(other, f'DROP DATABASE "{name}"')
    again()
    assert sql(config, "SELECT 1") == [[1]]
    sql(config, f"ALTER ROLE \"{user}\" PASSWORD 'changed by hand'")
    with pytest.raises(CheckError, match="refuses user"):
        again()


def test_what_is_kept_of_a_login_is_private_and_no_password(lab: EmbeddedLab, logins: list[str]) -> None:
    config = lab.config(dotenv={"POSTGRES_PASSWORD": "a-Secret"})
    up(lab.backend(config), config, ["postgres"])
    kept = data_of(config) / PROOF
    assert kept.stat().st_mode & 0o077 == 0
    first = kept.read_bytes()
    assert b"a-Secret" not in first
    for broken in (b"", first[:20], b"x" * len(first)):
        kept.write_bytes(broken)
        restart(lab, config)
    assert logins == ["a-Secret"] * 4
    assert kept.read_bytes() != first, "another salt"
