"""An instance's life through the tasks, one after the other and at once: what they say, do, keep and repair."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from pg8000.exceptions import DatabaseError

from tests.integration.checkouts import INV, Answer, Checkout
from tests.integration.left import docker_of, nothing_left, processes_of
from tests.integration.small import (
    BASES,
    Running,
    complaint,
    kill,
    pid_of,
    query,
    remember,
    remembered,
    served,
    service,
    states,
    wait_for,
    web,
    within,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.small import MakeHost, SmallHost

DETACHED = ("dev", "--detach", "--quiet")
FOLLOWING = "Ctrl-C stops"
SERVERS = {"postgres": True, "minio": True, "nginx": True}
ALL = {**SERVERS, "web": True}
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]
WHATSAPP = service(
    "serve",
    "${WHATSAPP_PORT}",
    port="whatsapp",
    ready={"http": "/"},
    needs=[],
    enabled_by="WHATSAPP_ENABLED",
    lease="whatsapp",
)
embedded = pytest.mark.embedded


def health(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return str(answer.read())


# asking for what is so


@embedded
def test_asking_for_what_is_so_already(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main

    for words in (("dev.stop",), ("infra.down",), ("services.stop",), ("dev.stop", "--all")):
        answer = main.inv(*words)
        assert answer.out == ""
        assert re.search("not running|was running|are stopped", answer.err), str(answer)
    assert not (main.path / ".dev-data").exists()
    assert "PostgreSQL" not in main.inv("dev.logs", "--no-follow").out

    main.inv(*DETACHED)
    pids = {name: pid_of(main, name) for name in ALL}
    assert main.inv("dev", "--detach").err.count("already running") == len(ALL)
    main.inv("infra.up")
    main.inv("services.start")
    assert {name: pid_of(main, name) for name in ALL} == pids

    main.inv("dev.stop")
    assert "instance 0 (orienter) was not running" in main.inv("dev.stop").err
    nothing_left([main])


@embedded
def test_two_starts_at_once(make_host: MakeHost) -> None:
    host = make_host()

    runs = [host.main.start("dev", "--detach") for _ in range(3)]
    errs = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errs
    assert sum(err.count("already running") for err in errs) == 2 * len(ALL)
    assert any("waiting for pid" in err for err in errs)
    assert states(host.main) == ALL


@embedded
def test_only_the_services_that_a_hook_names_wait_for_it(make_host: MakeHost) -> None:
    hook = {**service("reach", "${DASHBOARD_PORT}"), "name": "seed", "services": ["late"], "timeout": 20}
    host = make_host(services={"late": service("sleep")}, hooks={"before_services": [hook]})

    host.main.inv(*DETACHED)  # the hook ends only because `web` answers

    ended = next(host.main.path.glob("logs/*/seed-hook.log")).stat().st_mtime
    record = next(host.main.path.glob(".dev-pids/*/late.json"))
    assert json.loads(record.read_text())["started_at"] >= ended - 0.02  # the kernel counts in hundredths


@embedded
def test_no_wait_means_that_all_were_started(make_host: MakeHost) -> None:
    host = make_host()

    host.main.inv("infra.up", "--no-wait")
    assert states(host.main) == SERVERS
    host.main.inv("infra.up")
    assert remembered(host.main) == []


# crashes


@embedded
def test_servers_that_were_killed(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")

    for victim, shown in (("postgres", "postgres"), ("minio-front", "minio"), ("nginx", "nginx"), ("web", "web")):
        kill(served(main, victim))
        assert states(main) == {**ALL, shown: False}
        main.inv(*DETACHED)
    for victim in ("postgres", "minio", "minio-front", "nginx", "web"):
        os.kill(served(main, victim), signal.SIGKILL)
    # for a moment, what is ending still holds a lock
    wait_for(
        lambda: len(re.findall(r"^\w+ +failed", main.inv("dev.status").out, re.MULTILINE)) == len(ALL), "their end"
    )
    main.inv(*DETACHED)
    assert states(main) == ALL
    assert remembered(main) == ["kept"]

    for victim in ("postgres", "minio", "minio-front", "nginx", "web"):
        os.kill(served(main, victim), signal.SIGKILL)
    main.inv("dev.stop")
    nothing_left([main])


@pytest.mark.docker
def test_containers_that_were_killed(make_host: MakeHost) -> None:
    host = make_host("docker")
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")

    names = [f"{host.project}-{name}-0" for name in SERVERS]
    subprocess.run(["docker", "kill", names[0]], check=True, capture_output=True)
    assert states(main) == {**ALL, "postgres": False}
    assert re.search(r"^postgres +failed", main.inv("dev.status").out, re.MULTILINE)
    subprocess.run(["docker", "kill", *names[1:]], check=True, capture_output=True)
    assert states(main) == {**dict.fromkeys(SERVERS, False), "web": True}
    main.inv(*DETACHED)
    assert states(main) == ALL
    assert remembered(main) == ["kept"]

    subprocess.run(["docker", "kill", *names], check=True, capture_output=True)
    main.inv("dev.stop")
    assert docker_of(main, "container", "network") == []
    nothing_left([main])


@embedded
def test_an_inv_that_was_killed(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")

    for moment, then in (
        (FOLLOWING, DETACHED),
        ("minio: starting", DETACHED),
        ("nginx: ready", ("dev.stop",)),
        (FOLLOWING, ("dev.stop",)),
    ):
        with Running(main, tmp_path, "dev") as run:
            run.until(moment)
            run.process.kill()
            run.process.wait()
        main.inv(*then)
        if then == DETACHED:
            assert states(main) == ALL
            assert remembered(main) == ["kept"]
            main.inv("dev.stop")
        assert host.left() == []
    nothing_left([main])


# tasks


@embedded
def test_services_and_restarts(make_host: MakeHost) -> None:
    host = make_host(services={"bot": service("sleep"), "web": web(needs=["postgres", "minio"])})
    main = host.main

    for task in ("services.start", "dev.restart"):
        assert "minio, postgres of instance 0 (orienter)" in complaint(main.inv(task, code=3))
    main.inv("infra.up", "--quiet")
    assert json.loads(main.inv("infra.status", "--json").out)["components"]
    main.inv("services.start", "-s", "web")
    assert states(main) == ALL
    assert "bot" not in main.inv("services.status", "-s", "web").out
    assert "web of instance 0 (orienter) still run" in complaint(main.inv("infra.down", code=4))
    main.inv("services.start")
    web_pid, bot_pid = pid_of(main, "web"), pid_of(main, "bot")
    main.inv("services.restart", "-s", "bot")
    assert pid_of(main, "web") == web_pid
    assert pid_of(main, "bot") != bot_pid
    main.inv("dev.restart", "-s", "postgres", "-s", "nginx")
    main.inv("dev.restart")
    assert pid_of(main, "web") != web_pid
    main.inv("services.stop", "-s", "bot")
    assert states(main) == ALL
    main.inv("services.stop")
    assert states(main) == SERVERS
    for words in (("services.start", "-s", "wbe"), ("dev.restart", "-s", "wbe"), ("services.stop", "-s", "postgres")):
        assert "no such component" in complaint(main.inv(*words, code=2))
    main.inv("infra.down")
    nothing_left([main])


@embedded
def test_logs(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    for path in ("/one", "/two", "/three"):
        main.request("GET", f"/api{path}")

    everything = main.inv("dev.logs", "--no-follow").out
    assert {line.split(" |")[0].strip() for line in everything.splitlines()} >= {"postgres", "minio", "web"}
    assert everything.count("serving on") == 1
    only = main.inv("dev.logs", "--no-follow", "-s", "web", "--lines", "2").out.splitlines()
    assert len(only) == 2
    assert "/api/three" in only[1]
    found = main.inv("dev.logs", "--no-follow", "--grep", "/api/t[wh]").out.splitlines()
    assert [line.split("GET ")[1].split()[0] for line in found] == ["/api/two", "/api/three"]
    assert "ready to accept" in main.inv("infra.logs", "--no-follow", "-s", "postgres", "--since", "10m").out
    log = next(main.path.glob("logs/*/postgres.log"))
    os.utime(log, (1, 1))
    assert main.inv("infra.logs", "--no-follow", "-s", "postgres", "--since", "5s").out == ""

    for words, said in (
        (("dev.logs", "--grep", "("), "--grep: invalid regular expression '('"),
        (("dev.logs", "-s", "wbe"), "-s wbe: there is no such component → did you mean 'web'?"),
        (("dev.logs", "--since", "soon"), "--since: invalid duration 'soon'"),
        (("dev.logs", "--lines", "-1"), "--lines: invalid number '-1'"),
        (("infra.logs", "-s", "web"), "-s web: no such server"),
        (("dev.restart", "-s", "web", "-s", "nope"), "-s nope: there is no such component"),
    ):
        assert said in complaint(main.inv(*words, code=2))

    with Running(main, tmp_path, "dev.logs", "--follow", "-s", "web") as run:
        run.until("/api/three")
        main.request("GET", "/api/four")
        run.until("/api/four")
        main.inv("dev.restart")
        main.request("GET", "/api/five")
        run.until("/api/five")
        run.send(signal.SIGINT)
        run.end(0)
    assert states(main) == ALL


@pytest.mark.docker
def test_logs_of_containers(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host("docker")
    host.main.inv("infra.up", "--quiet")

    assert "ready to accept connections" in host.main.inv("infra.logs", "--no-follow", "-s", "postgres").out
    with Running(host.main, tmp_path, "infra.logs", "--follow", "-s", "postgres", "--lines", "0") as run:

        def seen() -> bool:
            with pytest.raises(DatabaseError, match="no_such"):
                query(host.main, "SELECT * FROM no_such")
            return "no_such" in run.out

        wait_for(seen, "what PostgreSQL logs")
        run.send(signal.SIGINT)
        run.end(0)


@embedded
def test_removing_data(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")

    line = complaint(main.inv("dev.stop", "--volumes", code=2))
    assert "postgres-data-0 (" in line
    assert "add --yes" in line
    assert states(main) == ALL
    assert "every checkout" in complaint(main.inv("dev.stop", "--all", "--volumes", "--yes", code=2))
    main.inv("services.stop")
    assert "add --yes" in complaint(main.inv("infra.down", "--volumes", code=2))
    assert remembered(main) == ["kept"]

    assert main.inv("infra.down", "--volumes", "--yes").err.count("removed ") == 2
    assert not main.works_in("postgres").exists()
    main.inv("infra.down", "--volumes", "--yes")
    main.inv(*DETACHED)
    assert remembered(main) == []


@embedded
def test_fresh_keeps_data(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    remember(main, "kept")
    pids = {name: pid_of(main, name) for name in ALL}
    spoilt = next(main.path.glob(".dev-data/*/nginx")) / "spoilt"
    spoilt.write_text("")

    main.inv(*DETACHED, "--fresh")
    assert not spoilt.exists()
    assert not set(pids.values()) & {pid_of(main, name) for name in ALL}
    assert remembered(main) == ["kept"]


@embedded
def test_a_broken_nginx_template(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv(*DETACHED)
    before = health(BASES["nginx"])
    template = main.path / "templates" / "nginx-local.conf.j2"
    template.parent.mkdir()

    for text, said in (
        ("server { listen {{ listen }}; locatoin / { } }\n", 'unknown directive "locatoin"'),
        ("{{ nowhere }}\n", "'nowhere' is undefined"),
        ("{% if %}\n", "nginx-local.conf.j2, line 1"),
    ):
        template.write_text(text)
        answer = main.inv("nginx.render", code=1)
        complaint(answer)
        assert said in answer.err
        assert health(BASES["nginx"]) == before
    for words in (("nginx.check",), ("nginx.reload",), ("dev", "--detach")):
        complaint(main.inv(*words, code=1))
    assert health(BASES["nginx"]) == before
    assert states(main) == ALL
    template.unlink()
    main.inv("nginx.render")
    assert "nginx accepts" in main.inv("nginx.check").out
    main.inv("nginx.reload")
    assert health(BASES["nginx"]) == before


# variables


@embedded
def test_env_exec_and_export(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main

    words = ("a b", "$(x)", "'q'", "--flag", "é")
    answer = main.inv("env.exec", "--", "printf", "%s|", *words)
    assert answer.out == "".join(f"{word}|" for word in words)
    assert main.inv("env.exec", "--", "printenv", "POSTGRES_DB").out == "whatsapp_bot_0\n"
    main.inv("env.exec", "--", "sh", "-c", "exit 7", code=7)
    assert "behind two dashes" in complaint(main.inv("env.exec", code=2))
    assert "'no-such-program'" in complaint(main.inv("env.exec", "--", "no-such-program", code=3))

    script = f'eval "$({INV} env.export)" && {INV} env.export && {INV} dev --detach --quiet'
    done = subprocess.run(
        ["bash", "-c", script], cwd=main.path, env=main.environ, capture_output=True, text=True, check=True
    )
    exported = main.inv("env.export").out
    first = "".join(line for line in exported.splitlines(keepends=True) if "ORIENTER_BACKEND" not in line)
    assert done.stdout.startswith(first)
    shell = within(main, main.variables)
    assert shell.inv("env.export").out == exported
    assert shell.variables == main.variables
    assert shell.inv("dev", "--detach").err.count("already running") == len(ALL)
    assert shell.inv("env.show", "--json").json["id"] == 0
    remember(main, "kept")
    assert main.inv(*DETACHED).code == 0


@embedded
def test_whatsapp_runs_once(make_host: MakeHost) -> None:
    host = make_host(services={"whatsapp": WHATSAPP})
    main, other = host.main, host.worktree(host.directory / "elsewhere" / "one")
    assert main.variables["WHATSAPP_ENABLED"] == "true"
    assert other.variables["WHATSAPP_ENABLED"] == "false"
    assert within(other, {"WHATSAPP_ENABLED": "1"}).variables["WHATSAPP_ENABLED"] == "true"
    assert within(main, {"WHATSAPP_ENABLED": "no"}).variables["WHATSAPP_ENABLED"] == "false"
    assert "neither true nor false" in complaint(within(main, {"WHATSAPP_ENABLED": "maybe"}).inv(*DETACHED, code=2))

    main.inv(*DETACHED)
    assert states(main) == {**ALL, "whatsapp": True}
    for refused in (other.inv(*DETACHED, "--enable-whatsapp", code=4), _switched_on(other)):
        line = complaint(refused)
        assert "instance 0" in line
        assert str(main.path) in line
    assert processes_of(other) == []
    assert "whatsapp: skipped (WHATSAPP_ENABLED is false)" in other.inv("dev", "--detach").err

    assert (
        "whatsapp of instance 0 (orienter) was running and is stopped"
        in main.inv("dev", "--detach", "--no-whatsapp").err
    )
    other.inv(*DETACHED, "--enable-whatsapp")
    assert states(other) == {**ALL, "whatsapp": True}
    pid = pid_of(other, "whatsapp")
    other.inv("dev.restart", "-s", "whatsapp")  # it stays on where it runs, without being told again
    assert pid_of(other, "whatsapp") != pid
    assert str(other.path) in complaint(main.inv(*DETACHED, code=4))
    assert states(main) == ALL

    other.inv("dev.stop")
    main.inv(*DETACHED)
    assert states(main) == {**ALL, "whatsapp": True}
    (main.path / ".env").write_text("WHATSAPP_ENABLED=false\n", encoding="utf-8")
    (other.path / ".env").write_text("WHATSAPP_ENABLED=true\n", encoding="utf-8")
    main.inv("dev.stop", "--all")
    assert main.variables["WHATSAPP_ENABLED"] == "false"
    assert other.variables["WHATSAPP_ENABLED"] == "false"


def _switched_on(checkout: Checkout) -> Answer:
    return within(checkout, {"WHATSAPP_ENABLED": "true"}).inv(*DETACHED, code=4)


# backends, moves


@embedded
@pytest.mark.docker
def test_no_silent_move_to_another_backend(make_host: MakeHost) -> None:
    host = make_host()
    main = host.main
    main.inv("infra.up", "--quiet")
    remember(main, "kept")

    for asked in (main.inv("dev", "--detach", "--backend", "docker", code=4), _asking(main, "docker", 4)):
        line = complaint(asked)
        assert "instance 0 (orienter) has data on the embedded backend" in line
        assert "--backend embedded" in line
    assert "unknown backend 'dokker'" in complaint(main.inv("dev", "--detach", "--backend", "dokker", code=2))
    _asking(main, "auto", 0)
    assert remembered(main) == ["kept"]

    main.inv("dev.stop", "--volumes", "--yes")
    main.inv("infra.up", "--quiet", "--backend", "docker")
    assert main.variables["ORIENTER_BACKEND"] == "docker"
    assert remembered(main) == []
    within(main, {"ORIENTER_BACKEND": "docker"}).inv("dev.stop", "--volumes", "--yes")
    assert docker_of(main, "container", "network", "volume") == []


def _asking(checkout: Checkout, backend: str, code: int) -> Answer:
    return within(checkout, {"ORIENTER_BACKEND": backend}).inv("infra.up", code=code)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_checkout_that_was_moved(make_host: MakeHost, backend: str) -> None:
    host = make_host(backend)
    first = host.worktree(host.directory / "elsewhere" / "first")
    first.inv(*DETACHED)
    remember(first, "kept")
    number = first.variables["AI_INSTANCE_ID"]
    first.inv("dev.stop")

    moved = _move(host, first, "moved")
    answer = moved.inv("env.show", "--json")
    assert f"moved here from {first.path}; it keeps instance {number}" in answer.err
    assert str(answer.json["id"]) == number
    moved.inv(*DETACHED)
    assert remembered(moved) == ["kept"]

    third = _move(host, moved, "third while it runs")
    assert states(third) == ALL
    assert "was moved while it ran: it is restarted" in third.inv("dev", "--detach").err
    assert remembered(third) == ["kept"]

    last = _move(host, third, "last")
    last.inv("dev.stop")
    nothing_left([last])
    listed = host.main.inv("instances", "--json").json["instances"]
    assert [(str(each["id"]), each["root"]) for each in listed] == [(number, str(last.path))]


def _move(host: SmallHost, checkout: Checkout, name: str) -> Checkout:
    path = checkout.path.with_name(name)
    host.git("worktree", "move", str(checkout.path), str(path))
    moved = Checkout(path, checkout.environ)
    host.checkouts[host.checkouts.index(checkout)] = moved
    return moved
