"""Services that end by themselves: detached they are told by status, in the foreground their policy decides."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.lab import has, put
from tests.integration.small import WEB, Running, complaint, kill, pid_of, served, service, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost

pytestmark = pytest.mark.embedded
MORTAL = """
import os, sys, time
while not os.path.exists("end"):
    time.sleep(0.05)
print("no more money", flush=True)
sys.exit(7)
"""


def mortal(**changes: Any) -> dict[str, Any]:
    """Settings of a service that ends with 7 once there is a file `end`."""
    return {"command": ["${PYTHON}", "-I", "-S", "-c", MORTAL], **changes}


def test_a_detached_service_that_dies_later_is_told(make_host: MakeFaultHost) -> None:
    host = make_host(services={"worker": mortal()})
    host.main.inv("dev", "--detach")
    pid = pid_of(host.main, "worker")
    (host.main.path / "end").touch()
    wait_for(lambda: host.main.inv("dev.status", "--json", code=None).json["state"] != "running", "its end")
    document = host.main.inv("dev.status", "--json", code=None).json
    worker = next(part for part in document["components"] if part["name"] == "worker")
    assert (worker["running"], worker["state"]) == (False, "failed")
    assert worker["what"] == "exited with code 7: no more money"
    assert worker["exit_code"] == 7
    assert worker["last_lines"] == ["no more money"]
    status = host.main.inv("dev.status", code=None).out
    assert "exited with code 7: no more money" in status
    assert "the last lines of worker of instance 0 (orienter):\n  no more money" in status
    assert document["state"] == "partial"
    listing = host.main.inv("instances").out
    assert "partial, worker exited with code 7" in listing
    assert "the last lines of worker of instance 0 (orienter):\n  no more money" in listing
    assert "worker of instance 0 (orienter)" in host.main.inv("doctor", code=None).out
    listed = host.main.inv("instances", "--json").json["instances"][0]
    assert [part["name"] for part in listed["components"] if part["state"] == "failed"] == ["worker"]
    (host.main.path / "end").unlink()
    host.main.inv("dev", "--detach")
    assert pid_of(host.main, "worker") != pid, "the next start starts it again"


def test_a_detached_service_that_is_killed_later_is_told(make_host: MakeFaultHost) -> None:
    host = make_host(services={"worker": mortal()})
    host.main.inv("dev", "--detach")
    kill(served(host.main, "worker"))
    wait_for(lambda: host.main.inv("dev.status", "--json", code=None).json["state"] != "running", "its end")
    document = host.main.inv("dev.status", "--json", code=None).json
    worker = next(part for part in document["components"] if part["name"] == "worker")
    assert (worker["what"], worker["exit_code"]) == ("was ended by SIGKILL", 128 + 9)
    host.main.inv("dev.stop")
    assert host.left_of(host.main) == []
    assert not list(host.main.path.glob(".dev-pids/*/*.exit"))


def test_a_service_whose_shim_was_killed_runs_on_and_is_stopped(make_host: MakeFaultHost) -> None:
    host = make_host(services={"web": service("serve", "${DASHBOARD_PORT}", **WEB)})
    host.main.inv("dev", "--detach")
    service_pid = served(host.main, "web")
    kill(pid_of(host.main, "web"))
    document = host.main.inv("dev.status", "--json").json
    web = next(part for part in document["components"] if part["name"] == "web")
    assert web["running"]
    assert web["what"].startswith(f"pid {service_pid}, its first process is gone")
    host.main.inv("dev.stop")
    assert host.left_of(host.main) == []


def test_without_records_all_that_runs_is_seen_and_stopped(make_host: MakeFaultHost) -> None:
    """Somebody removed .dev-pids: status and stop read the same census, so both still find everything."""
    host = make_host(services={"web": service("serve", "${DASHBOARD_PORT}", **WEB), "worker": mortal()})
    host.main.inv("dev", "--detach")
    before = host.main.inv("dev.status", "--json").json
    proof = host.main.inv("infra.verify", "--json").json
    shutil.rmtree(host.main.path / ".dev-pids")
    after = host.main.inv("dev.status", "--json").json
    for document in (before, after):
        for part in document["components"]:
            del part["memory_bytes"], part["started_at"]
    assert after["components"] == before["components"]
    assert after["state"] == "running"
    assert host.main.inv("instances", "--json").json["instances"][0]["services"] == {"running": 2, "of": 2}
    stats = host.main.inv("infra.stats", "--json").json
    assert {part["name"] for part in stats["components"]} == {part["name"] for part in before["components"]}
    assert host.main.inv("infra.verify", "--json").json["checks"] == proof["checks"]
    doctor = host.main.inv("doctor", code=None).out
    assert "is stopped" not in doctor
    assert "does not run" not in doctor
    host.main.inv("dev.stop")
    assert host.left_of(host.main) == []
    assert host.main.inv("dev.status", "--json", code=None).json["state"] == "stopped"


def test_restart_has_a_growing_pause_and_a_limit(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host(services={"worker": mortal(on_exit="restart")})
    with Running(host.main, tmp_path, "dev") as run:
        run.until("following the logs")
        (host.main.path / "end").touch()
        run.until("starting it again in 0.5 s (1 of 5)")
        begun = time.monotonic()
        run.until("starting it again in 1 s (2 of 5)")
        run.until("starting it again in 2 s (3 of 5)")
        assert time.monotonic() - begun > 2.0
        run.send(15)
        run.end(143)
    assert host.left_of(host.main) == []


def test_ignore_and_stop(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host(services={"worker": mortal(on_exit="ignore"), "other": service("sleep")})
    with Running(host.main, tmp_path, "dev") as run:
        run.until("following the logs")
        (host.main.path / "end").touch()
        run.until("it is not started again (on_exit: ignore)")
        assert pid_of(host.main, "other")
        put(host.main, "before")
        kill(served(host.main, "other"))
        answer = run.end(1)
    assert "other of instance 0 (orienter)" in complaint(answer)
    assert host.left_of(host.main) == []
    (host.main.path / "end").unlink()
    host.main.inv("dev", "--detach")
    has(host.main, "before")


def test_a_long_pause_ends_no_healthy_stack(make_host: MakeFaultHost, tmp_path: Path) -> None:
    """A closed lid: `inv dev` and everything below it stands still, and goes on."""

    host = make_host()
    with Running(host.main, tmp_path, "dev") as run:
        run.until("following the logs")
        pids = [pid_of(host.main, name) for name in ("postgres", "minio", "nginx", "web")]
        everything = [psutil.Process(pid) for pid in (run.process.pid, *pids, served(host.main, "web"))]
        for process in everything:
            process.suspend()
        time.sleep(5.0)
        for process in everything:
            process.resume()
        time.sleep(4.0)
        assert run.process.poll() is None, run.err
        assert [pid_of(host.main, name) for name in ("postgres", "minio", "nginx", "web")] == pids
        put(host.main, "after")
        run.send(2)
        run.end(130)
