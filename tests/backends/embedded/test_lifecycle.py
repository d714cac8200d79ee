"""Starting, killing, restarting and removing all three components."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.backends.embedded import user
from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS
from orienter_tasks.backends.nginx.configuration import apply
from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity.volumes import home, lock_of, working_dir
from orienter_tasks.machine.flock import hold
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listening_addresses
from orienter_tasks.processes.record import load, path_of
from orienter_tasks.processes.stop import await_end, send
from tests.backends.contract import COMPONENTS, component, down, get, listens, put, sql, status_of, up
from tests.backends.embedded.lab import kill

if TYPE_CHECKING:
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded


@pytest.mark.parametrize("name", [*COMPONENTS, "minio-front"])
def test_a_killed_process_is_started_again(lab: EmbeddedLab, name: str) -> None:
    config = lab.config()
    up(lab.backend(config), config)
    sql(config, "CREATE TABLE committed AS SELECT 7 AS n")
    put(config, "stored", b"before")
    untouched = {each: load(config.instance, each) for each in (*COMPONENTS, "minio-front") if each != name}

    kill(config, name)

    assert up(lab.backend(config), config) == [name.removesuffix("-front")]
    assert sql(config, "SELECT n FROM committed") == [[7]]
    assert get(config, "stored") == b"before"
    assert probe(config)["instance"] == config.instance.id
    assert {each: load(config.instance, each) for each in untouched} == untouched, "what ran was left alone"


def test_a_probe_of_what_died_tells_how_and_why(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config)

    for name in COMPONENTS:
        kill(config, name)
        with pytest.raises(CheckError, match=f"{name} of instance 0 .*SIGKILL") as caught:
            component(backend, name).probe()
        assert str(config.instance.log_dir) in caught.value.hint
    with pytest.raises(CheckError) as caught:
        component(backend, "postgres").probe()
    assert any("ready to accept connections" in line for line in caught.value.details)


def test_nginx_without_a_configuration_says_what_to_do(lab: EmbeddedLab) -> None:
    config = lab.config()
    with pytest.raises(NotFoundError, match="no configuration") as caught:
        component(lab.backend(config), "nginx").start(lambda text: None)
    assert "inv nginx.render" in caught.value.hint


def test_lost_records_do_not_hide_what_runs(lab: EmbeddedLab) -> None:
    """Somebody removed PID_DIR: the markers in the environments still tell whose the processes are."""
    config = lab.config()
    up(lab.backend(config), config)
    former = {record.pid for name in (*COMPONENTS, "minio-front") if (record := load(config.instance, name))}
    assert len(former) == 4
    for name in (*COMPONENTS, "minio-front"):
        path_of(config.instance, name).unlink()

    assert up(lab.backend(config), config) == sorted(COMPONENTS)

    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in former)


def test_repeated_kills_of_everything(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config)
    sql(config, "CREATE TABLE counted (n int)")
    for turn in range(5):
        sql(config, f"INSERT INTO counted VALUES ({turn})")
        processes = census.take().of(config.instance)
        send(processes, signal.SIGKILL)
        assert await_end(processes, 5) == []
        assert up(lab.backend(config), config) == sorted(COMPONENTS)
    assert sql(config, "SELECT count(*) FROM counted") == [[5]]


def test_every_port_is_on_loopback_only(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config)

    pids = census.take().pids(config.instance)

    wanted = {("127.0.0.1", config.instance.ports[name]) for name in ("nginx", "postgres", "minio_api")}
    assert listening_addresses(pids) == wanted


def test_a_stranger_on_a_port_is_a_conflict_and_is_left_alone(lab: EmbeddedLab) -> None:
    import http.server

    config = lab.config()
    backend = lab.backend(config)
    apply(config, backend)
    for name, port_name in (("postgres", "postgres"), ("minio", "minio_api"), ("nginx", "nginx")):
        port = config.instance.ports[port_name]
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                with pytest.raises(ConflictError, match=f"{name}.*port is in use"):
                    up(backend, config, [name])
                assert listens(port)
            finally:
                server.shutdown()
                thread.join()
        assert status_of(backend, name).running is False


def test_a_first_start_leaves_no_errors_in_the_log(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config)
    for name in ("postgres", "minio", "minio-front", "nginx"):
        log = (config.instance.log_dir / f"{name}.log").read_text()
        # a probe may ask while the server still starts
        lines = [line for line in log.splitlines() if "the database system is starting up" not in line]
        assert not [line for line in lines if "FATAL" in line or "rror" in line], name


def test_only_passwords_open_the_database(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [["scram-sha-256"]]
    assert sql(config, "SELECT rolname FROM pg_roles WHERE rolcanlogin") == [[config.variables["POSTGRES_USER"]]]
    assert sql(config, "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolcanlogin") == [[True]]


def test_no_secret_is_in_a_command_line_a_record_or_a_log(lab: EmbeddedLab) -> None:
    secrets = {"POSTGRES_PASSWORD": "pg-Secret-1", "MINIO_ROOT_PASSWORD": "s3-Secret-2"}
    config = lab.config(dotenv=secrets)
    up(lab.backend(config), config)

    seen = [" ".join(psutil.Process(pid).cmdline()) for pid in census.take().pids(config.instance)]
    for directory in (config.instance.pid_dir, config.instance.log_dir):
        seen += [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]

    assert len(seen) > 8
    for secret in secrets.values():
        assert not [text for text in seen if secret in text]


def test_the_users_own_settings_of_the_programs_do_not_leak_in(
    lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGPORT": "1",
        "PGDATA": "/nonexistent",
        "PGOPTIONS": "-c nonsense=1",
        "RCLONE_CONFIG": "/nonexistent",
        "RCLONE_READ_ONLY": "true",
        "NGINX": "7;",
        "SLACK_BOT_TOKEN": "xoxb-secret",
    }.items():
        monkeypatch.setenv(name, value)
    config = lab.config()
    up(lab.backend(config), config)

    put(config, "written", b"x")
    for name in (*COMPONENTS, "minio-front"):
        record = load(config.instance, name)
        assert record is not None
        assert "SLACK_BOT_TOKEN" not in psutil.Process(record.pid).environ()


def test_the_data_directories_are_closed_to_others(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config)
    for path in (
        config.instance.data_dir,
        working_dir(config.instance, "postgres"),
        working_dir(config.instance, "minio"),
    ):
        assert path.stat().st_mode & 0o077 == 0, path


def test_removing_data_needs_a_stopped_instance(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    with pytest.raises(ConflictError, match=r"postgres of instance 0 .* still runs"):
        backend.remove_data()
    assert sql(config, "SELECT 1") == [[1]]


def test_removing_data_stays_within_its_own_directories(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    data, volumes = config.instance.data_dir, home(config.instance)
    elsewhere = lab.directory / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    data.mkdir(parents=True)
    (data / "postgres").symlink_to(elsewhere)  # as a version before this one may have left it
    working_dir(config.instance, "postgres").parent.mkdir(parents=True)
    working_dir(config.instance, "postgres").symlink_to(elsewhere)
    working_dir(config.instance, "minio").mkdir(parents=True)
    (working_dir(config.instance, "minio") / "link").symlink_to(elsewhere)
    (data / "nginx").mkdir()
    (data / "services-own").write_text("kept")

    assert {volume.name: volume.size for volume in backend.data_volumes()}[str(data / "postgres")] is None
    names = [config.instance.volume(name) for name in ("postgres", "minio")]
    assert backend.remove_data() == [*names, str(data / "postgres")]

    assert (elsewhere / "precious").read_text() == "kept"
    assert sorted(path.name for path in data.iterdir()) == ["nginx", "nginx.lock", "services-own"]
    assert not volumes.exists() or list(volumes.iterdir()) == []
    assert backend.data_volumes() == []


def test_data_volumes_tell_sizes(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    put(config, "large", bytes(5_000_000))
    (volume,) = backend.data_volumes()
    assert volume.name == "minio-data-0"
    assert volume.size is not None
    assert 5_000_000 <= volume.size < 5_100_000


def test_a_start_that_fails_leaves_nothing_running(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front's program cannot be started: the server behind it must not stay alone."""
    monkeypatch.setattr(user, "prefix_for_port", lambda port: ())
    broken = lab.directory / "nginx"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    config = lab.config(embedded={"nginx": str(broken)})
    with pytest.raises(OrienterError, match="cannot run here"):
        component(lab.backend(config), "minio").start(lambda text: None)
    assert census.take().of(config.instance) == []


def test_a_program_that_cannot_run_is_told(lab: EmbeddedLab) -> None:
    """Also behind a prefix such as unshare, where only its exit tells."""
    broken = lab.directory / "nginx"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    config = lab.config(embedded={"nginx": str(broken)})
    with pytest.raises(OrienterError, match="cannot run here"):
        up(lab.backend(config), config, ["minio"])
    assert census.take().of(config.instance) == []


def test_stopping_does_not_wait_for_clients(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config)
    done = threading.Event()

    def busy() -> None:
        try:
            sql(config, "SELECT pg_sleep(60)")
        except Exception:  # noqa: BLE001 - the server disconnects it
            done.set()

    client = threading.Thread(target=busy)
    client.start()
    time.sleep(0.2)
    begun = time.monotonic()

    down(backend)

    assert time.monotonic() - begun < 2.0
    client.join(5)
    assert done.is_set()


def test_signals_reach_only_what_is_ours(lab: EmbeddedLab) -> None:
    """A record whose pid has become somebody else's names nobody."""
    import subprocess
    import sys

    import msgspec

    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    record = load(config.instance, "postgres")
    assert record is not None
    down(backend)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stale = msgspec.structs.replace(record, pid=stranger.pid)
        path_of(config.instance, "postgres").write_bytes(msgspec.json.encode(stale))

        assert status_of(backend, "postgres").running is False
        assert up(lab.backend(config), config, ["postgres"]) == ["postgres"]
        down(lab.backend(config))
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()


def test_as_root_nothing_is_given_away(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config)
    owners: set[Any] = {path.lstat().st_uid for path in config.instance.data_dir.rglob("*")}
    assert owners == {os.geteuid()}


ENDING = """
import ctypes, os, sys, threading, time
threading.Thread(target=lambda: (time.sleep(float(sys.argv[1])), os._exit(0))).start()
print("its first thread ends", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
"""A process that ends slowly: its first thread is gone, and with it its environment, while another has its files."""


@pytest.mark.parametrize("seconds", [0.5, 60.0])
def test_a_lock_outlives_what_shows_whose_it_is(lab: EmbeddedLab, seconds: float) -> None:
    config = lab.config()
    backend = lab.backend(config)
    minio = next(each for each in backend.components() if each.name == "minio")
    with hold(lock_of(minio.directory)) as lock:
        command = [sys.executable, "-c", ENDING, str(seconds)]
        process = subprocess.Popen(command, pass_fds=[lock], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        if seconds < LEFTOVER_SECONDS:
            backend.require_seen()
        else:
            with pytest.raises(ConflictError, match=r"minio of instance 0 .* runs already"):
                backend.require_seen()
    finally:
        process.kill()
        process.communicate()
