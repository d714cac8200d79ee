"""Loopback only, secrets nowhere, private files, and no shell in between: looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from invoke.vendor import yaml

from orienter_tasks.backends import templates
from tests.faults.lab import FaultHost, has, put
from tests.faults.test_trees import unruly
from tests.integration.left import docker_of
from tests.integration.small import BASES, web

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

START = ("dev", "--detach")
SECRETS = {
    "POSTGRES_PASSWORD": "pg-s3cr3t-'\"$(touch pwned)`touch pwned`",
    "MINIO_ROOT_PASSWORD": "s3-s3cr3t-$HOME;touch-pwned",
    "SLACK_BOT_TOKEN": "xoxb-s3cr3t-slack",
}
HOSTILE = "we ird; touch pwned $(touch pwned) `touch pwned` & 'q' \"d\" {{ 7*7 }} {x} ü"


def settled(host: FaultHost, checkout: Checkout) -> list[psutil.Process]:
    """Every process of a running instance: those of its records with their descendants, and its containers'."""
    pids = {int(json.loads(path.read_text())["pid"]) for path in checkout.path.glob(".dev-pids/*/*.json")}
    if host.backend == "docker":
        for name in docker_of(checkout, "container"):
            words = ["docker", "inspect", "-f", "{{.State.Pid}}", name.split()[1]]
            pids.add(int(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    leaders = [psutil.Process(pid) for pid in pids]
    return [process for leader in leaders for process in (leader, *leader.children(recursive=True))]


def listeners_of_network(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return what those processes that share our network listen on (a bridged container has one of its own)."""
    own = Path("/proc/self/ns/net").readlink()
    return {
        (entry.laddr.ip, entry.laddr.port)
        for process in processes
        if Path(f"/proc/{process.pid}/ns/net").readlink() == own
        for entry in process.net_connections("all")
        if entry.status == psutil.CONN_LISTEN and entry.laddr
    }


@pytest.mark.root
def test_every_listener_is_on_loopback(make_host: MakeFaultHost, backend: str) -> None:
    host = make_host(backend)
    host.main.inv(*START)
    plan = set(BASES.values())
    found = listeners_of_network(settled(host, host.main))
    assert {port for _, port in found} & plan, "our own listeners are seen"
    assert {address for address, _ in found} == {"127.0.0.1"}
    everybody = {
        (entry.laddr.ip, entry.laddr.port)
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port in plan
    }
    assert {address for address, _ in everybody} == {"127.0.0.1"}, "published ports, too"
    served = {"nginx", "dashboard", "postgres", "minio_api", *(["minio_console"] if backend == "docker" else [])}
    assert {port for _, port in everybody} >= {BASES[name] for name in served - {"minio_console"}}


@pytest.mark.embedded
@pytest.mark.parametrize(("address", "shown"), [("0.0.0.0", "0.0.0.0"), ("::", "[::]"), ("127.0.0.1", "")])
def test_a_service_that_listens_beyond_is_marked(make_host: MakeFaultHost, address: str, shown: str) -> None:
    host = make_host(services={"web": unruly("serve", "${DASHBOARD_PORT}", address, ready={})})
    host.main.inv(*START)
    parts = {part["name"]: part for part in host.main.inv("dev.status", "--json").json["components"]}
    expected = f"{shown}:{BASES['dashboard']}"
    assert parts["web"]["exposed"] == ([expected] if shown else [])
    assert ("listens on" in host.main.inv("dev.status").out) == bool(shown)
    assert all(not part["exposed"] for name, part in parts.items() if name != "web")


def test_secrets_are_nowhere(make_host: MakeFaultHost, backend: str) -> None:
    services = {"web": web(requires_env=["SLACK_BOT_TOKEN"])}
    host = make_host(backend, services=services)
    lines = [
        f"{name}='{value}'" if "'" not in value else f'{name}="{escaped(value)}"' for name, value in SECRETS.items()
    ]
    (host.main.path / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    answers = [host.main.inv(*START)]
    assert host.main.variables["POSTGRES_PASSWORD"] == SECRETS["POSTGRES_PASSWORD"]
    put(host.main, "written with them")
    tasks = ("env.show", "dev.status", "instances", "dev.announce", "infra.status", "nginx.check")
    answers += [host.main.inv(name) for name in tasks]
    answers.append(host.main.inv("env.show", "--json"))
    argv = [" ".join(process.cmdline()) for process in settled(host, host.main)]
    broken = host.main.inv("infra.down", code=4)
    texts = [answer.out + answer.err for answer in (*answers, broken)]
    files = [*host.main.path.glob("logs/**/*.log*"), *host.main.path.glob(".dev-pids/**/*.json")]
    files += [path for path in host.main.path.glob(".dev-data/*/nginx/**/*") if path.is_file()]
    files += [path for path in host.state.glob("**/*") if path.is_file() and "cache" not in path.parts]
    assert len(files) > 8
    contents = [path.read_bytes().decode("utf-8", "replace") for path in files]
    for secret in SECRETS.values():
        for text in (secret, secret.replace("$", "%24")):
            assert not [line for line in (*texts, *argv, *contents) if text in line]
    assert not list(host.main.path.glob("**/pwned"))


BREAKS = [
    "a\nb: 1",
    "a\x85b: 1",
    "a\u2028b: 1",
    "a\x7f",
    "'\"",
    "{{ 7+7 }}",
    "# x",
    "${HOME}",
    "; } server { listen 1;",
    "\ufeffx",
]


@pytest.mark.parametrize("text", BREAKS)
def test_no_value_breaks_out_of_yaml_or_nginx(text: str) -> None:
    read = yaml.safe_load(f"key: {templates.yaml_quote(text)}\nother: 1\n")  # type: ignore[no-untyped-call]
    assert read == {"key": text.replace("$", "$$"), "other": 1}
    assert len(f"key: {templates.yaml_quote(text)}".splitlines()) == 1
    try:
        quoted = templates.nginx_quote(text)
    except ValueError:
        assert "$" in text or "\n" in text, "only what nginx cannot say is refused"
    else:
        assert quoted[0] == quoted[-1] == '"'
        assert '"' not in quoted[1:-1].replace("\\\\", "").replace('\\"', "")


def escaped(value: str) -> str:
    """Write a value for double quotes in `.env`."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


@pytest.mark.embedded
def test_files_are_private(make_host: MakeFaultHost) -> None:
    host = make_host()
    os.umask(0o022)
    host.main.inv(*START)
    instance = [host.main.path / name / "instance-0" for name in (".dev-data", ".dev-pids", "logs")]
    directories = [host.state, host.state / "locks", *instance, *map(host.main.works_in, ("postgres", "minio"))]
    for directory in directories:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    files = [host.main.path / ".env", host.state / "claims.json", *instance[1].glob("*"), *instance[2].glob("*.log")]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert len(files) > 8
    generated = dict(line.split("=", 1) for line in files[0].read_text().splitlines() if "=" in line and line[0] != "#")
    assert len(generated["POSTGRES_PASSWORD"]) >= 20


def test_hostile_folder_and_branch_names(make_host: MakeFaultHost, backend: str) -> None:
    """Names full of shell, template, nginx and YAML syntax are names."""
    host = make_host(backend)
    branch = "x;touch${IFS}pwned;$(touch${IFS}pwned)'\"{{7+7}}"
    checkout = host.worktree(host.directory / HOSTILE)
    subprocess.run(["git", "checkout", "-q", "-b", branch], cwd=checkout.path, check=True, capture_output=True)
    checkout.inv(*START)
    put(checkout, "in there")
    has(checkout, "in there")
    found = [one for one in checkout.inv("instances", "--json").json["instances"] if one["root"] == str(checkout.path)]
    assert [one["branch"] for one in found] == [branch]
    exported = checkout.inv("env.export").out + '\nprintf %s "$AI_INSTANCE_ROOT"\n'
    shell = shutil.which("sh") or "/bin/sh"
    done = subprocess.run([shell], input=exported, cwd=host.directory, capture_output=True, text=True, check=True)
    assert done.stdout == str(checkout.path)
    checkout.inv("dev.restart", "-s", "nginx")
    checkout.inv("dev.stop")
    assert host.left_of(checkout) == []
    assert not list(host.directory.glob("**/pwned"))
    assert not (Path.cwd() / "pwned").exists()
