"""A component's whole tree ends, however its processes try to leave it; a stranger's never does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from msgspec.structs import replace

from orienter_tasks.errors import CheckError
from orienter_tasks.processes import census, stop
from orienter_tasks.processes.record import forget, load, save, start_mark
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.processes.table import describe
from tests import configs, programs
from tests.processes.conftest import FOREVER, eventually, lives, pids_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeInstance
    from tests.processes.conftest import Lab

EVERY_ROLE = ("child", "session", "daemon", "cleared", "worker")
GRACE = 5.0


# what ends


def test_nothing_of_a_family_is_left(lab: Lab) -> None:
    handle, family = lab.family("dashboard", *EVERY_ROLE)
    assert len(set(family.values())) == 6
    assert os.getsid(family["session"]) != os.getsid(family["leader"])
    assert psutil.Process(family["daemon"]).ppid() != family["leader"]
    found = census.take().of(lab.instance, "dashboard")
    assert {process.pid for process in found} == set(family.values())
    assert found[0].pid == family["leader"]  # a leader that is killed last may start its children anew
    begun = time.monotonic()
    stop_component(lab.instance, "dashboard", GRACE)
    assert time.monotonic() - begun < GRACE
    assert not [role for role, pid in family.items() if lives(pid)]
    assert load(lab.instance, "dashboard") is None
    assert handle.exit_code() is not None
    assert census.take().of(lab.instance) == []


def test_who_ignores_the_signal_is_killed_after_the_grace(lab: Lab) -> None:
    _, family = lab.family("dashboard", "stubborn", *EVERY_ROLE)
    begun = time.monotonic()
    stop_component(lab.instance, "dashboard", 0.4)
    assert 0.4 <= time.monotonic() - begun < 4
    assert not [role for role, pid in family.items() if lives(pid)]


def test_who_ends_by_itself_may(lab: Lab) -> None:
    handle, _ = lab.family("dashboard", "polite")
    stop_component(lab.instance, "dashboard", GRACE)
    assert (lab.directory / "dashboard" / "goodbye").read_text(encoding="ascii") == "15"
    assert handle.exit_code() == 0


def test_the_graceful_signal_is_the_recorded_one(lab: Lab) -> None:
    handle, _ = lab.family("dashboard", "polite", stop_signal=signal.SIGINT)
    stop_component(lab.instance, "dashboard", GRACE)
    assert (lab.directory / "dashboard" / "goodbye").read_text(encoding="ascii") == "2"
    assert handle.exit_code() == 0


def test_a_server_ends_its_own_children(lab: Lab) -> None:
    told = lab.directory / "told"
    forever = f"echo >> {told}; while :; do sleep 0.05; done"
    worker = f"trap 'echo told >> {told}; exit' TERM INT; {forever}"
    master = f"sh -c \"{worker}\" & trap 'sleep 0.3; kill -9 $!; exit 0' INT; {forever}"
    handle = lab.spawn("postgres", ["sh", "-c", master], group=False, stop_signal=signal.SIGINT)
    eventually(lambda: told.exists() and told.read_text(encoding="ascii") == "\n\n")
    stop_component(lab.instance, "postgres", GRACE)
    assert handle.exit_code() == 0
    assert told.read_text(encoding="ascii") == "\n\n"  # only the master was told
    assert census.take().of(lab.instance) == []


def test_what_a_process_starts_while_it_ends_is_found(lab: Lab) -> None:
    lab.family("dashboard", "heir")
    stop_component(lab.instance, "dashboard", GRACE)
    heir = int((lab.directory / "dashboard" / "heir").read_text(encoding="ascii"))
    assert not lives(heir)


@pytest.mark.parametrize("reaped", [True, False])
def test_what_a_killed_leader_left_is_found(lab: Lab, reaped: bool) -> None:
    handle, family = lab.family("nginx", "child", "session", "daemon", "worker")
    assert handle.child is not None
    os.kill(family["leader"], signal.SIGKILL)
    if reaped:
        handle.child.wait()
    eventually(lambda: not lives(family["leader"]))
    rest = set(family.values()) - {family["leader"]}
    assert pids_of(lab.instance, "nginx") == rest
    stop_component(lab.instance, "nginx", GRACE)
    assert not [pid for pid in rest if lives(pid)]


def test_what_a_leader_that_left_at_once_started_is_found(lab: Lab) -> None:
    handle, family = lab.family("nginx", "worker", "daemon", "leaves")
    eventually(lambda: not lives(family["leader"]))
    assert not handle.record.alive()
    stop_component(lab.instance, "nginx", GRACE)
    assert not [pid for pid in family.values() if lives(pid)]


def test_without_a_record_the_marker_finds_it(lab: Lab) -> None:
    _, family = lab.family("dashboard", "child", "daemon", "cleared")
    forget(lab.instance, "dashboard")
    assert pids_of(lab.instance, "dashboard") == set(family.values())
    stop_component(lab.instance, "dashboard", GRACE)
    assert not [pid for pid in family.values() if lives(pid)]


def test_stopping_what_does_not_run_is_no_fault(lab: Lab) -> None:
    stop_component(lab.instance, "dashboard", GRACE)
    handle = lab.spawn("dashboard", ["true"])
    eventually(lambda: handle.exit_code() is not None)
    stop_component(lab.instance, "dashboard", GRACE)
    stop_component(lab.instance, "dashboard", GRACE)
    assert load(lab.instance, "dashboard") is None


def test_one_component_is_stopped_and_the_other_stays(lab: Lab) -> None:
    _, first = lab.family("dashboard", "child", "daemon")
    _, second = lab.family("frontend", "child", "daemon")
    assert pids_of(lab.instance) == {*first.values(), *second.values()}
    assert census.take().names(lab.instance) == {"dashboard", "frontend"}
    stop_component(lab.instance, "dashboard", GRACE)
    assert pids_of(lab.instance) == set(second.values())
    assert all(lives(pid) for pid in second.values())
    assert census.take().names(lab.instance) == {"frontend"}


def test_a_zombie_is_no_member(lab: Lab) -> None:
    handle = lab.spawn("dashboard", ["sleep", "0.05"])
    eventually(lambda: not lives(handle.record.pid))
    assert census.take().of(lab.instance) == []


def test_what_ran_before_the_checkout_was_moved_is_its_own(lab: Lab, tmp_path: Path) -> None:
    _, family = lab.family("dashboard", "daemon")
    here = tmp_path / "moved"
    lab.instance.root.rename(here)
    moved = configs.make_instance(here, 3, former_roots=(str(lab.instance.root),))
    instance = replace(moved, token=lab.instance.token)
    assert pids_of(instance) == set(family.values())
    stop_component(instance, "dashboard", GRACE)
    assert not [pid for pid in family.values() if lives(pid)]


def test_who_survives_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = lab.spawn("dashboard", FOREVER)
    monkeypatch.setattr(stop, "KILL_SECONDS", 0.2)
    monkeypatch.setattr(stop, "send", lambda processes, number: None)
    with pytest.raises(CheckError, match=rf"dashboard of instance 3 .* survives SIGKILL: pid {handle.record.pid} "):
        stop_component(lab.instance, "dashboard", 0.05)
    assert load(lab.instance, "dashboard") == handle.record


# who is spared


def test_a_stale_record_never_harms_who_has_its_pid_now(lab: Lab) -> None:
    handle = lab.spawn("dashboard", ["true"])
    eventually(lambda: handle.exit_code() is not None)
    time.sleep(0.03)  # a pid is not used again within the clock's tick
    stranger = lab.stranger()
    child = lab.stranger(["sh", "-c", "sleep 60 & wait"])
    for pid in (stranger.pid, child.pid):
        save(lab.instance, replace(handle.record, pid=pid))
        assert census.take().of(lab.instance) == []
        stop_component(lab.instance, "dashboard", GRACE)
        assert load(lab.instance, "dashboard") is None
    assert lives(stranger.pid)
    assert lives(child.pid)
    assert len(psutil.Process(child.pid).children()) == 1


ORPHAN = """
import os, sys, signal
if os.fork():
    os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
while True: signal.pause()
"""


def test_a_record_of_before_the_restart_harms_nobody(lab: Lab) -> None:
    """A stranger's daemon may have the session number that one of ours had before the machine was restarted."""
    handle = lab.spawn("dashboard", ["true"])
    eventually(lambda: handle.exit_code() is not None)
    note = lab.directory / "orphan"
    stranger = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", ORPHAN, str(note)],
        cwd=lab.instance.root,
        env={**os.environ, "LAB_TOKEN": lab.token},
        start_new_session=True,
    )
    stranger.wait()
    eventually(lambda: note.exists() and note.read_text(encoding="ascii") != "")
    orphan = int(note.read_text(encoding="ascii"))
    lab.pids.add(orphan)
    assert os.getsid(orphan) == stranger.pid
    before = replace(handle.record, pid=stranger.pid, mark="an-earlier-boot:123", started_at=1.0)
    save(lab.instance, before)
    assert census.take().of(lab.instance) == []
    stop_component(lab.instance, "dashboard", GRACE)
    assert lives(orphan)


def test_a_users_own_shell_with_our_variables_is_spared(lab: Lab) -> None:
    shell = lab.stranger(AI_INSTANCE_ID="3", AI_INSTANCE_ROOT=str(lab.instance.root))
    _, family = lab.family("dashboard", "child")
    assert pids_of(lab.instance) == set(family.values())
    stop_component(lab.instance, "dashboard", GRACE)
    assert lives(shell.pid)


def test_another_instance_is_spared(lab: Lab, make_instance: MakeInstance, tmp_path: Path) -> None:
    same_root = make_instance(4)
    same_id = make_instance(3, tmp_path / "other")
    prefix = make_instance(3, lab.instance.root / "below")
    others = [
        lab.spawn("dashboard", FOREVER, instance=it, env=lab.environ(it), log=it.log_dir / "x.log")
        for it in (same_root, same_id, prefix)
    ]
    _, family = lab.family("dashboard", "daemon")
    assert pids_of(lab.instance) == set(family.values())
    stop_component(lab.instance, "dashboard", GRACE)
    assert all(lives(other.record.pid) for other in others)
    assert pids_of(same_id) == {others[1].record.pid}


def test_a_component_that_another_component_started_is_its_own(lab: Lab) -> None:
    """An agent in OpenCode may restart the dashboard, or start another instance: they do not end with OpenCode."""
    note = lab.directory / "pids"
    script = (
        "import os, subprocess, sys, signal\n"
        "def start(**env):\n"
        f"    return subprocess.Popen({FOREVER!r}, env={{**os.environ, **env}}, start_new_session=True).pid\n"
        "pids = [start(ORIENTER_COMPONENT='dashboard'), start(AI_INSTANCE_ID='5'), start()]\n"
        "with open(sys.argv[1], 'w') as file: file.write(' '.join(map(str, pids)) + '.')\n"
        "while True: signal.pause()\n"
    )
    handle = lab.spawn("opencode", [sys.executable, "-c", script, str(note)])
    eventually(lambda: note.exists() and note.read_text(encoding="ascii").endswith("."))
    dashboard, elsewhere, own = map(int, note.read_text(encoding="ascii")[:-1].split())
    lab.pids |= {dashboard, elsewhere, own}
    assert pids_of(lab.instance, "opencode") == {handle.record.pid, own}
    assert pids_of(lab.instance) == {handle.record.pid, own, dashboard}
    stop_component(lab.instance, "opencode", GRACE)
    assert (lives(dashboard), lives(elsewhere), lives(own)) == (True, True, False)


def test_who_stops_from_inside_a_component_does_not_end_itself(lab: Lab) -> None:
    dashboard = lab.spawn("dashboard", FOREVER)
    inner = programs.command("stop_from_inside", str(lab.instance.root))
    agent = lab.spawn("opencode", ["sh", "-c", '"$@"; sleep 60', "sh", *inner])
    log = lab.instance.log_dir / "opencode-dev.log"
    eventually(lambda: "still here" in log.read_text(encoding="utf-8"))
    assert "refused: opencode of instance 3 (checkout) runs this very command" in log.read_text(encoding="utf-8")
    assert lives(agent.record.pid)
    assert load(lab.instance, "opencode") == agent.record
    assert not lives(dashboard.record.pid)
    stop_component(lab.instance, "opencode", GRACE)
    assert not lives(agent.record.pid)


def test_this_process_is_never_a_member(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(lab.spawn("dashboard", FOREVER).record, pid=os.getpid(), mark=start_mark(os.getpid()))
    stop_component(lab.instance, "dashboard", GRACE)
    save(lab.instance, own)
    assert own.alive()
    assert os.getpid() not in pids_of(lab.instance)
    with pytest.raises(CheckError, match="runs this very command"):
        stop_component(lab.instance, "dashboard", GRACE)
    assert load(lab.instance, "dashboard") == own


# a port that stays taken

LISTEN = """
import os, signal, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if "hide" in sys.argv:
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    open(sys.argv[3], "w").write(str(os.getpid()))
    os.set_inheritable(server.fileno(), True)
    forever = "import signal\\nwhile True: signal.pause()"
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", forever], {})
while True: signal.pause()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_port_is_free_again(lab: Lab) -> None:
    port = free_port()
    lab.spawn("dashboard", [sys.executable, "-I", "-S", "-c", LISTEN, str(port)], port=port)
    eventually(lambda: answers(port))
    stop_component(lab.instance, "dashboard", GRACE)
    assert not answers(port)


def test_who_hides_from_everything_but_keeps_the_port_is_named_and_spared(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "PORT_SECONDS", 0.1)
    port = free_port()
    note = lab.directory / "pid"
    command = [sys.executable, "-I", "-S", "-c", LISTEN, str(port), "hide", str(note)]
    handle = lab.spawn("dashboard", command, port=port)

    eventually(lambda: note.exists() and note.read_text(encoding="ascii") != "")
    hidden = int(note.read_text(encoding="ascii"))
    lab.pids.add(hidden)

    def hides() -> bool:
        try:
            return psutil.Process(hidden).environ() == {}
        except psutil.Error:
            return False  # it just becomes another program

    eventually(lambda: handle.exit_code() == 0 and hides() and answers(port))
    with pytest.raises(CheckError, match=rf"port {port} is held by .*{hidden}"):
        stop_component(lab.instance, "dashboard", GRACE)
    assert lives(hidden)


# names for people


def test_a_process_is_described_without_what_is_secret(lab: Lab) -> None:
    child = lab.stranger(["sleep", "60"])
    described = describe(child.pid)
    assert described == f"pid {child.pid} (sleep 60, in {lab.instance.root})"
    script = [sys.executable, "-c", "import time; time.sleep(60)", "postgresql://u:hunter2@h/d", "--password=hunter2"]
    assert "hunter2" not in describe(lab.stranger(script).pid)
    url = lab.stranger(["sh", "-c", "sleep 60; : postgresql://u:hunter2@h/d\n\n"])
    described = describe(url.pid)
    assert "hunter2" not in described
    assert "\n" not in described


def test_a_process_that_is_gone_is_still_described(lab: Lab) -> None:
    child = lab.stranger()
    child.kill()
    child.wait()
    assert describe(child.pid) == f"pid {child.pid}"
