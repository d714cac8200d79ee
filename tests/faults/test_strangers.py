"""What is not ours is never stopped, removed or counted, and it is named."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.machine import ports
from tests.faults.lab import end, has, put
from tests.integration.checkouts import IMAGES
from tests.integration.small import BASES, complaint, pid_of, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost

SERVE_AS_NOBODY = """
import os, socket, sys, time
os.setgroups([]), os.setgid(65534), os.setuid(65534)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""
START = ("dev", "--detach", "--quiet")


@contextlib.contextmanager
def stranger(*words: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else; it must still be there in the end."""
    process = subprocess.Popen([*words] or [sys.executable, "-c", "import time; time.sleep(600)"], **how)
    try:
        yield process
        assert process.poll() is None, "the stranger was ended"
    finally:
        process.kill()
        process.wait()


def altered(path: Path, **changes: object) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.embedded
def test_pids_that_belong_to_somebody_else_by_now(make_host: MakeFaultHost) -> None:
    """Records, postmaster.pid and nginx.pid of a crash name pids that were given out again."""
    host = make_host()
    host.main.inv(*START)
    put(host.main, "before")
    records = sorted(host.main.path.glob(".dev-pids/instance-0/*.json"))
    pids = [int(json.loads(record.read_text())["pid"]) for record in records]
    data = host.main.path / ".dev-data" / "instance-0"
    lock = host.main.works_in("postgres") / "postmaster.pid"
    status = lock.read_text().splitlines()
    end(pids)
    wait_for(lambda: not any(host.running_of(host.main)) or not end_rest(host), "the end of all")
    with stranger() as other:
        for record in records:
            altered(record, pid=other.pid)
        lock.write_text("\n".join([str(other.pid), *status[1:]]) + "\n")
        (data / "nginx" / "runtime" / "nginx.pid").write_text(f"{other.pid}\n")
        host.main.inv("dev.stop")
        assert other.poll() is None
        host.main.inv(*START)
        has(host.main, "before")
        host.main.inv("dev.stop", "--force")
        assert host.left_of(host.main) == []


def end_rest(host: Any) -> bool:
    """End children that outlive their killed servers for a moment; say whether there were any."""
    lines = [line.split()[0] for line in host.running_of(host.main)]
    end([int(word) for word in lines if word.isdecimal()])
    return bool(lines)


@pytest.mark.embedded
def test_a_stranger_on_a_port_is_named_and_nothing_is_started(make_host: MakeFaultHost) -> None:
    host = make_host()
    for address, name in (
        ("127.0.0.1", "dashboard"),
        ("::1", "postgres"),
        ("0.0.0.0", "postgres"),
        ("::", "dashboard"),
    ):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as theirs:
            if family == socket.AF_INET6:
                theirs.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            theirs.bind((address, BASES[name]))
            theirs.listen()
            answer = host.main.inv(*START, code=4)
            assert f"port {BASES[name]} is taken" in complaint(answer)
            assert f"pid {os.getpid()} " in answer.err
            host.main.inv("dev.stop", "--force")
            assert [line for line in host.left_of(host.main) if not line.startswith(f"{os.getpid()} ")] == []
            reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
            with socket.create_connection((reached, BASES[name])):
                pass


@pytest.mark.docker
def test_lookalikes_are_left_alone(make_host: MakeFaultHost) -> None:
    """Names that a filter would also find, another project's volumes, and a compose project of the same name."""
    host = make_host("docker")
    project = host.project
    names = [f"{project}-postgres-11", f"my-{project}-postgres-1", f"{project}-postgres-01"]
    volumes = [f"stranger-of-{project}-postgres-data-1", f"{project}-postgres-data-11"]
    labels = ["--label", f"com.docker.compose.project={project}-instance-0", "--label", "io.orienter.project=another"]
    docker("volume", "create", volumes[0])
    docker("volume", "create", volumes[1])
    try:
        for name in names:
            docker("run", "-d", "--name", name, *labels, "-v", f"{volumes[0]}:/x", *sleeper())
        host.main.inv(*START)
        put(host.main, "before")
        host.main.inv("dev.stop", "--all", "--force")
        host.main.inv("dev.stop", "--volumes", "--yes")
        running = docker("ps", "--format", "{{.Names}}").split()
        assert set(names) <= set(running)
        assert set(volumes) <= set(docker("volume", "ls", "-q").split())
    finally:
        subprocess.run(["docker", "rm", "-fv", *names], capture_output=True, check=False)
        subprocess.run(["docker", "volume", "rm", *volumes], capture_output=True, check=False)


@pytest.mark.docker
def test_a_container_of_our_name_without_our_labels_is_a_conflict(make_host: MakeFaultHost) -> None:
    host = make_host("docker")
    name = f"{host.project}-postgres-0"
    docker("run", "-d", "--name", name, *sleeper())
    try:
        answer = host.main.inv(*START, code=4)
        assert name in complaint(answer)
        host.main.inv("dev.stop", "--force")
        host.main.inv("dev.stop", "--volumes", "--yes")
        assert name in docker("ps", "--format", "{{.Names}}").split()
    finally:
        docker("rm", "-fv", name)


@pytest.mark.docker
def test_a_container_that_was_made_anew_by_somebody_else(make_host: MakeFaultHost) -> None:
    """Another checkout of the same project and id, as under another state directory: the label names its root."""
    host, other = make_host("docker"), make_host("docker")
    host.main.inv(*START)
    put(host.main, "mine")
    answer = other.main.inv(*START, code=4, ORIENTER_STATE_DIR=str(other.directory / "state"))
    assert str(host.main.path) in answer.err
    other.main.inv("dev.stop", "--force", ORIENTER_STATE_DIR=str(other.directory / "state"))
    has(host.main, "mine")


@pytest.mark.embedded
@pytest.mark.root
def test_another_users_instance(make_host: MakeFaultHost) -> None:
    """Another user's checkout on the same id: as root we could end what runs there, and do not."""
    host = make_host()
    host.main.inv(*START)
    environ = psutil.Process(pid_of(host.main, "web")).environ()
    host.main.inv("dev.stop")
    theirs = {**environ, "AI_INSTANCE_ROOT": "/home/other/code/orienter", "ORIENTER_TOKEN": "theirs"}
    words = [sys.executable, "-I", "-S", "-c", SERVE_AS_NOBODY, str(BASES["dashboard"])]
    with stranger(*words, env=theirs, cwd="/") as other:
        wait_for(lambda: not ports.is_free(BASES["dashboard"]), "their listener")
        answer = host.main.inv(*START, code=4)
        assert f"pid {other.pid} " in answer.err
        host.main.inv("dev.stop", "--force")
        host.main.inv("dev.stop", "--all", "--force")


def docker(*words: str) -> str:
    """Run docker's command."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def sleeper() -> list[str]:
    """An image and a command that does nothing."""
    return ["--entrypoint", "sleep", f"{IMAGES}/nginx:local", "600"]
