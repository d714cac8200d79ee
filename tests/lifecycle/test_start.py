"""A start's preflight checks, and what it takes back."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import CheckError, ConflictError
from orienter_tasks.infra.embedded import EmbeddedBackend
from orienter_tasks.lifecycle import holders, start as starts
from orienter_tasks.lifecycle.start import Start
from orienter_tasks.machine import ports
from orienter_tasks.machine.state import is_locked
from orienter_tasks.output.console import Report
from tests import slot
from tests.configs import make_config
from tests.programs import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import Backend
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.stack.component import LogRequest, Note

BASES = slot.bases()


class Part:
    """A component that is ready at once."""

    needs: Sequence[str] = ()
    timeout = 5.0

    def __init__(self, name: str, diary: list[str], *, stops: bool = True) -> None:
        self.name = name
        self._diary = diary
        self._stops = stops

    def start(self, note: Note) -> bool:
        del note
        self._diary.append(f"start {self.name}")
        return True

    def probe(self) -> None:
        """It is ready."""

    def stop(self, grace: float) -> None:
        self._diary.append(f"stop {self.name} {grace:g}")
        if not self._stops:
            raise CheckError(f"{self.name} does not stop")

    def logs(self, request: LogRequest) -> Iterator[str]:
        del request
        return iter(())


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    config = make_config(tmp_path, project=slot.project("start"), ports=BASES)
    return Start(config, None, Report(), grace=3.0)


def locked() -> bool:
    return is_locked(f"{slot.project('start')}-0")


def test_free_ports_are_no_conflict(start: Start) -> None:
    start.check(["postgres", "minio", "nginx"])


def test_each_held_port_is_named_with_its_holder(start: Start) -> None:
    with socket.create_server(("127.0.0.1", BASES["postgres"])), socket.create_server(("127.0.0.1", BASES["nginx"])):
        start.check(["minio"])
        with pytest.raises(ConflictError, match=f"ports {BASES['nginx']}, {BASES['postgres']} are taken") as caught:
            start.check(["postgres", "minio", "nginx"])
    assert len(caught.value.details) == 2
    assert all(f"({name}): pid " in "\n".join(caught.value.details) for name in ("nginx", "postgres"))


def test_a_port_that_a_client_leaves_in_time_is_no_conflict(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def left(port: int, seconds: float) -> bool:
        asked.append(seconds)
        return True

    monkeypatch.setattr(ports, "is_free", lambda port: port != BASES["postgres"])  # and nobody listens there
    monkeypatch.setattr(ports, "await_free", left)
    start.check(["postgres"])
    assert asked == [holders.CLIENT_SECONDS]


def test_what_this_run_started_is_undone_and_the_lock_let_go(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    diary: list[str] = []
    start.lock()
    assert locked()
    start.runner.add([Part("one", diary), Part("two", diary, stops=False)])
    start.runner.wait()
    start.undo()
    assert sorted(diary) == ["start one", "start two", "stop one 3", "stop two 3"]
    assert not start.unfinished
    assert not locked()
    err = capsys.readouterr().err
    assert "stopping what was started" in err
    assert "error: two does not stop" in err
    start.undo()
    assert len(diary) == 4


def test_a_finished_start_is_not_undone(start: Start) -> None:
    diary: list[str] = []
    start.lock()
    start.runner.add([Part("one", diary)])
    start.runner.wait()
    start.finish()
    assert not locked()
    start.undo()
    assert diary == ["start one"]


def test_a_second_signal_skips_the_grace_period(start: Start) -> None:
    diary: list[str] = []

    start.lock()
    start.runner.add([Part("one", diary)])
    start.runner.wait()
    original = start.runner.abort

    def abort(grace: float) -> list[object]:
        if grace > 1:
            assert locked()
            raise KeyboardInterrupt
        assert locked()
        return [*original(grace)]

    start.runner.abort = abort  # type: ignore[method-assign,assignment]
    start.undo()
    assert diary == ["start one", f"stop one {starts.HURRIED_GRACE:g}"]
    assert not locked()


def test_a_stop_in_the_foreground_is_under_the_lock(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, bool]] = []
    monkeypatch.setattr(starts, "stop_instance", lambda instance, backend, grace, show: seen.append((grace, locked())))
    start.lock()
    start.foreground = True
    start.finish()
    before = start.unfinished
    start.undo()
    assert seen == [(3.0, True)]
    assert (before, start.unfinished, locked()) == (True, False, False)


def test_a_stop_that_waited_for_the_first_start_stops_its_servers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, project=slot.project("start"), ports=BASES)
    backend = EmbeddedBackend(config)
    stopped: list[object] = []

    def stop_instance(_: Instance, backend: Backend | None, *rest: object) -> list[str]:
        del rest
        stopped.append(backend)
        return []

    monkeypatch.setattr(starts, "stop_instance", stop_instance)
    start = Start(config, None, Report(), grace=3.0, look_again=lambda: backend)
    command = [sys.executable, str(path_of("hold_lock")), f"{slot.project('start')}-0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        threading.Timer(0.5, other.kill).start()
        with start.stopping():
            start.stop()
    assert stopped == [backend]
