"""`inv dev` in a terminal: what ends it, what it does then, and what it does when a service ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.machine import ports
from tests import programs
from tests.integration.checkouts import INV
from tests.integration.engine_proxy import MuteEngine
from tests.integration.left import nothing_left
from tests.integration.small import (
    BASES,
    PATIENCE,
    Running,
    complaint,
    kill,
    pid_of,
    service,
    states,
    wait_for,
    web,
    within,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.small import MakeHost, SmallHost

pytestmark = pytest.mark.embedded

FOLLOWING = "Ctrl-C stops"
ALL = {"postgres": True, "minio": True, "nginx": True, "web": True}
NEVER = service("hold", "${VITE_PORT}", port="vite", ready={"http": "/"})
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def all_gone(host: SmallHost) -> None:
    """Require that nothing runs and that every port is free again."""
    assert host.left() == []
    assert [port for port in BASES.values() if not ports.is_free(port)] == []


def hit(checkout_port: int, path: str) -> None:
    """Ask the stand-in for something that it may not live to answer."""
    subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import urllib.request as r; r.urlopen('http://127.0.0.1:{checkout_port}{path}')",
        ],
        stderr=subprocess.DEVNULL,
        check=False,
    )


# signals


def test_a_signal_while_attached(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()

    for number, code in EXIT_CODES.items():
        with Running(host.main, tmp_path, "dev") as run:
            run.until(FOLLOWING)
            run.send(number)
            answer = run.end(code)
        assert "instance 0 (orienter) is stopped; its data stays" in answer.err
        all_gone(host)


def test_a_signal_during_the_start(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(services={"never": NEVER})

    for number, code in EXIT_CODES.items():
        with Running(host.main, tmp_path, "dev") as run:
            run.until("web: ready")
            run.send(number)
            complaint(run.end(code))
        all_gone(host)


def test_ctrl_c_at_any_moment(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()

    for delay in (0.15, 0.25, 0.35, 0.45, 0.6):
        with Running(host.main, tmp_path, "dev") as run:
            time.sleep(delay)
            run.send(signal.SIGINT)
            run.process.wait(PATIENCE)
        if "starting" in run.err:  # before its first task it is Python's own, which has started nothing
            assert run.answer().code == 130
        all_gone(host)


@pytest.mark.parametrize(("number", "phase"), [(signal.SIGINT, "attached"), (signal.SIGTERM, "start")])
def test_a_second_signal_hurries(make_host: MakeHost, tmp_path: Path, number: signal.Signals, phase: str) -> None:
    services: dict[str, Any] = {"web": web("stubborn"), **({"never": NEVER} if phase == "start" else {})}
    host = make_host(services=services, timeouts={"stop": 60.0})

    with Running(host.main, tmp_path, "dev") as run:
        run.until("web: ready" if phase == "start" else FOLLOWING)
        run.send(number)
        run.until("web: stopping")
        begun = time.monotonic()
        run.send(number)
        run.end(EXIT_CODES[number])
    assert time.monotonic() - begun < 30
    all_gone(host)


def test_a_signal_between_two_tasks(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    (host.main.path / "tasks.py").write_bytes(programs.path_of("slow_tasks").read_bytes())

    for place in ("pre", "post"):
        with Running(within(host.main, {"PLACE": place}), tmp_path, "dev") as run:
            run.until("slow begins")
            run.send(signal.SIGTERM)
            run.end(143)
        all_gone(host)


def test_a_signal_that_is_ignored_stays_so(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()

    with Running(host.main, tmp_path, "dev", ignore=[signal.SIGHUP]) as run:  # as nohup does
        run.until(FOLLOWING)
        run.send(signal.SIGHUP)
        time.sleep(0.7)
        assert run.process.poll() is None
        assert states(host.main) == ALL
        run.send(signal.SIGINT)
        run.end(130)


def test_a_signal_while_the_engine_does_not_answer(make_host: MakeHost, tmp_path: Path) -> None:
    """Nothing takes it for an answer of the engine and goes on: what a clean-up planned stays."""
    host = make_host()
    host.main.inv("dev", "--detach", "--quiet")
    host.main.inv("dev.stop")
    logs = sorted(each for each in (host.main.path / "logs").rglob("*") if each.is_file())
    for log in logs:
        os.utime(log, (0, 0))
    sizes = [log.stat().st_size for log in logs]
    plan = host.main.inv("cleanup.weekly", "--dry-run")
    assert "logs" in plan.out.partition("stays:")[0], str(plan)

    for answers, number in ((0, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)):
        path = tmp_path / f"mute-{answers}"
        with MuteEngine(path, answers) as engine:
            shell = within(host.main, {"DOCKER_HOST": f"unix://{path}"})
            with Running(shell, tmp_path, "cleanup.weekly", "--yes") as run:
                assert engine.asked_in_vain.wait(PATIENCE)
                run.send(number)
                complaint(run.end(EXIT_CODES[number]))
        assert [log.stat().st_size for log in logs] == sizes


@pytest.mark.docker
def test_a_signal_ends_a_command_that_waits_for_the_engine(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host("docker")
    host.main.inv("infra.up", "--quiet")
    for words in (("doctor",), ("infra.verify",), ("dev.stop", "--all"), ("dev.status",)):
        path = tmp_path / f"mute-{words[0]}"
        with MuteEngine(path, 1) as engine:
            shell = within(host.main, {"DOCKER_HOST": f"unix://{path}"})
            with Running(shell, tmp_path, *words) as run:
                assert engine.asked_in_vain.wait(PATIENCE)
                time.sleep(0.5)  # what it asks beside that waits, too
                begun = time.monotonic()
                run.send(signal.SIGTERM)
                complaint(run.end(143))
            assert time.monotonic() - begun < 2, words


@pytest.mark.parametrize("phase", ["start", "attached"])
def test_the_terminal_is_closed(make_host: MakeHost, phase: str) -> None:
    host = make_host(services={"never": NEVER} if phase == "start" else {})
    awaited = b"never" if phase == "start" else FOLLOWING.encode()

    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(host.main.path)
            os.execve(INV, ["inv", "dev"], {**host.main.environ, "TERM": "xterm"})
        finally:
            os._exit(99)
    seen = b""
    while awaited not in seen:
        seen += os.read(terminal, 65536)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    all_gone(host)


def test_nobody_reads_any_more(make_host: MakeHost) -> None:
    host = make_host(services={"clock": {"command": ["sh", "-c", "while echo tick; do sleep 0.1; done"]}})

    def shell(command: str) -> tuple[str, str, str]:
        words = ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"]
        done = subprocess.run(
            words, cwd=host.main.path, env=host.main.environ, capture_output=True, text=True, check=True
        )
        out, _, code = done.stdout.rstrip().rpartition("\n")
        return out, done.stderr, code

    out, err, code = shell("inv dev 2>/dev/null | head -1")
    assert (out, err, code) == ("instance 0 · orienter", "", "141")
    all_gone(host)
    out, err, code = shell("inv dev --quiet | grep -m 1 tick")
    assert "tick" in out
    assert "error:" not in err
    assert code == "141"
    all_gone(host)
    host.main.inv("dev", "--detach", "--quiet")
    out, err, code = shell("inv dev.logs --no-follow -s postgres | head -1")
    assert err == ""
    assert out.startswith("postgres | ")
    assert code in ("0", "141")
    assert shell("inv dev.status | sleep 0")[1] == ""


# services that end


def test_on_exit_stop(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(services={"calm": service("sleep")})

    with Running(host.main, tmp_path, "dev") as run:
        run.until(FOLLOWING)
        hit(BASES["dashboard"], "/exit/7")
        answer = run.end(1)
    assert "web of instance 0 (orienter) exited with code 7" in complaint(answer)
    assert "told to end" in answer.err
    all_gone(host)


def test_on_exit_restart(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(services={"web": web(on_exit="restart")})

    with Running(host.main, tmp_path, "dev") as run, Running(host.main, tmp_path, "dev") as other:
        run.until(FOLLOWING)
        other.until(FOLLOWING)
        first = pid_of(host.main, "web")
        hit(BASES["dashboard"], "/exit/7")
        wait_for(lambda: pid_of(host.main, "web") != first, "a new process")
        second = pid_of(host.main, "web")
        wait_for(lambda: not ports.is_free(BASES["dashboard"]), "the service's port")
        assert "web exited with code 7; starting it again in 0.5 s (1 of 5)" in run.err + other.err
        time.sleep(1.2)  # the other one must not start it once more
        assert pid_of(host.main, "web") == second
        assert states(host.main) == ALL
        host.main.inv("dev.stop")
        assert "was stopped by another command" in run.end(0).err
        assert "was stopped by another command" in other.end(0).err
    nothing_left([host.main])


def test_on_exit_ignore(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(services={"web": web(on_exit="ignore")})

    with Running(host.main, tmp_path, "dev") as run:
        run.until(FOLLOWING)
        hit(BASES["dashboard"], "/exit/7")
        run.until("web exited with code 7; it is not started again (on_exit: ignore)")
        assert states(host.main) == {**ALL, "web": False}
        assert run.process.poll() is None
        run.send(signal.SIGINT)
        run.end(130)
    all_gone(host)


def test_a_server_that_ends(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()

    with Running(host.main, tmp_path, "dev") as run:
        run.until(FOLLOWING)
        kill(pid_of(host.main, "postgres"))
        assert "postgres of instance 0 (orienter) ended" in complaint(run.end(1))
    all_gone(host)


# together with other commands


def test_a_second_dev_reports_and_attaches(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()

    with Running(host.main, tmp_path, "dev") as run, Running(host.main, tmp_path, "dev") as other:
        run.until(FOLLOWING)
        other.until(FOLLOWING)
        assert "http://localhost:" in other.out
        assert run.err.count("already running") + other.err.count("already running") == len(ALL)
        host.main.inv("dev.restart")
        time.sleep(0.7)
        assert (run.process.poll(), other.process.poll()) == (None, None)
        hit(BASES["dashboard"], "/seen")
        run.until("GET /seen")
        other.until("GET /seen")
        other.send(signal.SIGINT)
        other.end(130)
        assert "was stopped by another command" in run.end(0).err
    all_gone(host)
