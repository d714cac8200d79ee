"""After a stop no process of a service is left, however it tried to get away; who cannot be known is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.processes.record import start_mark
from orienter_tasks.processes.shim import SHELL
from tests.faults.lab import FaultHost, end
from tests.integration.small import BASES, WEB, complaint, pid_of, served, wait_for

if TYPE_CHECKING:
    from tests.faults.lab import MakeFaultHost

UNRULY = Path(__file__).with_name("unruly.py")
PORT = BASES["dashboard"]
START = ("dev", "--detach", "--quiet")
pytestmark = pytest.mark.embedded


def unruly(*words: str, **changes: Any) -> dict[str, Any]:
    """Settings of a service that is `unruly.py` with these words."""
    return {"command": ["${PYTHON}", "-I", "-S", str(UNRULY), *words], **WEB, **changes}


def those_of(host: FaultHost) -> list[psutil.Process]:
    """Every process that runs `unruly.py`."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()  # a shim has its service's words behind its own
            if str(UNRULY) in words and words[0] != SHELL and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(("kind", "count"), [("tree", 6), ("respawn", 2), ("daemon", 2)])
def test_the_whole_tree_goes(make_host: MakeFaultHost, kind: str, count: int) -> None:
    host = make_host(services={"web": unruly(kind, "${DASHBOARD_PORT}")}, timeouts={"stop": 1.0})
    host.main.inv(*START)
    if kind == "daemon":
        leader = pid_of(host.main, "web")
        wait_for(lambda: start_mark(leader) is None, "the end of the leader")
        count = 1
    wait_for(lambda: len(those_of(host)) >= count, f"{count} processes")
    host.main.inv("dev.stop")
    assert those_of(host) == []
    assert host.left_of(host.main) == []


def test_one_that_left_every_mark_behind_is_named(make_host: MakeFaultHost) -> None:
    host = make_host(services={"web": unruly("naked", "${DASHBOARD_PORT}")}, timeouts={"stop": 1.0})
    try:
        host.main.inv(*START)
        answer = host.main.inv("dev.stop", code=1)
        escaped = those_of(host)
        assert len(escaped) == 1, "named, not ended: it might be anybody's"
        assert f"its port {PORT} is held by pid {escaped[0].pid} ({Path(sys.executable).name}" in complaint(answer)
        again = host.main.inv(*START, code=4)
        assert f"pid {escaped[0].pid} " in again.err
    finally:
        end([process.pid for process in those_of(host)])


def test_one_service_goes_and_the_others_stay(make_host: MakeFaultHost) -> None:
    other = {"command": ["${PYTHON}", "-I", "-S", str(UNRULY), "stubborn"]}
    host = make_host(services={"web": unruly("tree", "${DASHBOARD_PORT}"), "other": other}, timeouts={"stop": 0.5})
    host.main.inv(*START)
    kept = served(host.main, "other")
    host.main.inv("services.stop", "-s", "web")
    assert [process.pid for process in those_of(host)] == [kept]


def test_readiness_is_no_strangers_answer(make_host: MakeFaultHost) -> None:
    """A server that got the port between the check and our start answers 200; our own service never listens."""
    host = make_host(services={"web": unruly("deaf", ready={"http": "/", "timeout": 3})})
    with host.main.start(*START) as run:
        wait_for(lambda: list(host.main.path.glob("logs/*/web-dev.log")), "the service's start")
        stale = psutil.Popen([sys.executable, "-I", "-S", str(UNRULY), "serve", str(PORT), "127.0.0.1"])
        try:
            _, err = run.communicate(timeout=60)
            assert stale.poll() is None, "the stranger was ended"
        finally:
            stale.kill()
            stale.wait()
    assert run.returncode == 6, err
    assert f"port {PORT} is answered by a process that is not web's" in err
    assert host.left_of(host.main) == [], "what was started was taken back"
