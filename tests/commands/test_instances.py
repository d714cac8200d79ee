"""`inv instances`: what it says of instances that run, stopped, moved or were deleted, and how it is watched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import psutil
import pytest

from orienter_tasks.data import store
from orienter_tasks.identity.claims import Claim, Claims, of_claim
from orienter_tasks.output.units import space
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.spawn import spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.processes.table import memory
from tests.commands.cleanup.worlds import claim_of
from tests.data.test_store import CONTENT
from tests.integration.checkouts import Answer, Host
from tests.integration.small import within
from tests.integration.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import MakeWorktree

NO_ENGINE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host in which nothing runs but what a test starts."""
    return Host(tmp_path, "", {}, main="repo", environ={"DOCKER_HOST": NO_ENGINE})


def claimed(root: Path, number: int, **fields: object) -> Claim:
    """Give a checkout an id."""
    made = msgspec.structs.replace(
        claim_of(root, number, started=False), **{"project": "orienter", "placed": "embedded", **fields}
    )
    with Claims().changing() as book:
        book.append(made)
    return made


def instances(host: Host, *words: str, code: int = 0) -> Answer:
    return host.main.inv("instances", *words, code=code)


@pytest.fixture
def service() -> Iterator[Callable[[Claim, str], int]]:
    """Start something as a service of an instance; return its pid."""
    started: list[tuple[Claim, str, subprocess.Popen[bytes] | None]] = []

    def start(claim: Claim, name: str) -> int:
        instance = of_claim(claim)
        command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
        handle = spawn(instance, Program(name, command, instance.root, dict(os.environ), instance.log_dir / "x.log"))
        started.append((claim, name, handle.child))
        return handle.record.pid

    yield start
    for claim, name, child in started:
        stop_component(of_claim(claim), name, 1.0)
        if child is not None:
            child.wait(10)


def test_before_there_is_any(host: Host) -> None:
    answer = instances(host)
    assert answer.out == ""
    assert "start one with: inv dev" in answer.err
    assert instances(host, "--json").json == {
        "schema_version": 1,
        "instances": [],
        "other_snapshots": [],
        "unseen": [],
    }


def test_services_up_of_all(host: Host, service: Callable[[Claim, str], int]) -> None:
    main = claimed(host.main.path, 0, services=("web", "worker", "mail"))
    service(main, "web")
    service(main, "worker")
    (one,) = instances(host, "--json").json["instances"]
    assert one["services"] == {"running": 2, "of": 3}
    assert one["state"] == "partial"
    assert one["memory_bytes"] > 1_000_000
    assert one["data_bytes"] == 0
    assert one["logs_bytes"] is not None
    assert "2/3" in instances(host).out


def test_its_document_has_these_keys(host: Host, service: Callable[[Claim, str], int]) -> None:
    service(claimed(host.main.path, 0), "web")
    (one,) = instances(host, "--json").json["instances"]
    about = {"id", "project", "root", "worktree", "branch", "state", "backend", "url", "ports", "services", "checkout"}
    about |= {"backends", "failed_start", "host_url", "snapshots"}
    figures = {"memory_bytes", "data_bytes", "logs_bytes", "running_since", "used_at", "claimed_at"}
    figures |= {"idle_seconds", "used_now", "idle_unknown"}
    assert set(one) == {*about, *figures, "components"}
    (component,) = [each for each in one["components"] if each["name"] == "web"]
    about = {"name", "kind", "running", "state", "what", "exposed", "last_lines", "exit_code"}
    assert set(component) == {*about, "started_at", "ended_at", "memory_bytes"}


def test_snapshots_of_each_and_of_gone_checkouts(host: Host) -> None:
    main = claimed(host.main.path, 0)
    of = {"project": main.project, "root": str(host.main.path), "token": main.token}
    for name, facts in (("one", of), ("two", of), ("three", {"project": main.project, "instance": 4})):
        with store.writing(main.project, name) as unfinished:
            store.finish(unfinished, msgspec.structs.replace(CONTENT, **facts))
    found = instances(host, "--json").json
    assert [each["snapshots"] for each in found["instances"]] == [{"count": 2, "bytes": 2 * CONTENT.size}]
    (other,) = found["other_snapshots"]
    assert other == {"project": main.project, "instance": 4, "root": CONTENT.root, "count": 1, "bytes": CONTENT.size}
    assert "snapshots of 0: 2 (1 kB), others: 1 (1 kB) → inv data.list" in instances(host).out


def test_one_that_died_is_of_all_too(host: Host, service: Callable[[Claim, str], int]) -> None:
    main = claimed(host.main.path, 0)
    service(main, "web")
    psutil.Process(service(main, "extra")).kill()
    deadline = time.monotonic() + 20
    while instances(host, "--json").json["instances"][0]["services"] != {"running": 1, "of": 2}:
        assert time.monotonic() < deadline


def test_where_checkouts_went(host: Host, make_worktree: MakeWorktree, tmp_path: Path) -> None:
    trees = {number: make_worktree(host.main.path, f"tree-{number}") for number in (1, 2, 3)}
    claims = {number: claimed(root, number) for number, root in trees.items()}
    for number, root in trees.items():
        marker = root / ".dev-data" / f"instance-{number}" / "claim"
        marker.parent.mkdir(parents=True)
        marker.write_text(claims[number].token + "\n")
    subprocess.run(["rm", "-r", str(trees[2])], check=True)
    trees[3].rename(tmp_path / "moved here")

    answer = instances(host, "--json")
    found = {one["id"]: one for one in answer.json["instances"]}
    assert {number: one["state"] for number, one in found.items()} == {1: "stopped", 2: "orphaned", 3: "moved"}
    assert found[1]["checkout"]["state"] == "here"
    assert found[3]["checkout"]["place"] == str(tmp_path / "moved here")
    notes = answer.err.splitlines()
    assert len(notes) == 2
    assert "instance 2 (tree-2): its checkout is gone" in notes[0]
    assert notes[0].endswith("→ inv cleanup.weekly")
    assert notes[1].endswith(f"→ cd '{tmp_path}/moved here' && inv env.show")


def test_an_engine_that_is_down_is_said_and_the_rest_is_told(host: Host) -> None:
    claimed(host.main.path, 0, placed="docker")
    answer = instances(host, "--json")
    (one,) = answer.json["instances"]
    assert one["data_bytes"] is None
    assert len(answer.json["unseen"]) == 2
    assert "not seen: containers: no Docker engine answers at unix:///nonexistent/docker.sock" in answer.err
    assert "not seen: sizes on disk of instance 0" in answer.err


def test_from_any_directory(host: Host, make_worktree: MakeWorktree, tmp_path: Path) -> None:
    claimed(host.main.path, 0)
    inner = host.main.path / "a" / "b"
    inner.mkdir(parents=True)
    before = Claims().read()
    assert host.main.inv("instances", "--json", cwd=inner).json["instances"][0]["id"] == 0
    elsewhere = make_worktree(host.main.path, "unclaimed")
    listed = host.main.inv("instances", "--json", cwd=elsewhere).json["instances"]
    assert [one["root"] for one in listed] == [str(host.main.path)]
    assert Claims().read() == before  # looking claims nothing


@pytest.mark.parametrize(
    ("words", "why"), [([], "stdout is none"), (["--json"], "--json does not")], ids=["pipe", "json"]
)
def test_watching_needs_a_terminal(host: Host, words: list[str], why: str) -> None:
    claimed(host.main.path, 0)
    answer = instances(host, "--watch", *words, code=2)
    assert why in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("plain", [False, True], ids=["coloured", "NO_COLOR"])
def test_watched_on_a_terminal_until_ctrl_c(host: Host, service: Callable[[Claim, str], int], *, plain: bool) -> None:
    main = claimed(host.main.path, 0, services=("web", "worker"))
    service(main, "web")
    with Terminal(within(host.main, {"NO_COLOR": "1"} if plain else {}), "instances", "--watch") as terminal:
        terminal.until("1/2")
        service(main, "worker")
        terminal.until("2/2")
        terminal.press_ctrl_c()
        assert terminal.end() == 0
    seen = terminal.seen
    assert "Ctrl-C ends" in seen
    assert "Traceback" not in seen
    assert ("\x1b[32m" in seen or "\x1b[33m" in seen) is not plain
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).splitlines()
    assert max(map(len, lines)) <= 80


def test_memory_is_a_process_s_own_share() -> None:
    full = psutil.Process().memory_full_info()
    told = memory(os.getpid())
    assert told is not None
    assert abs(told - getattr(full, "pss", full.rss)) < 20_000_000
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert memory(process.pid) is None


def test_words_for_space() -> None:
    sizes = (None, 0, 1, 999_999, 1_000_000, 999_400_000, 1_240_000_000)
    assert [space(size) for size in sizes] == ["–", "0 kB", "1 kB", "1000 kB", "1 MB", "999 MB", "1.2 GB"]


def test_a_claim_of_an_older_version_names_no_services(host: Host, isolated: Path) -> None:
    claimed(host.main.path, 0)
    book = json.loads((isolated / "claims.json").read_text())
    del book["claims"][0]["services"]
    (isolated / "claims.json").write_text(json.dumps(book))
    assert instances(host, "--json").json["instances"][0]["services"] == {"running": 0, "of": 0}
