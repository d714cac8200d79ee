"""FIFOs, devices, sockets, directories and gigabytes in place of everything that we read: no command hangs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests import strange
from tests.integration.left import processes_of
from tests.integration.small import states, web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.lab import FaultHost, MakeFaultHost
    from tests.integration.checkouts import Answer, Checkout

SECONDS = 15.0
READING: Sequence[Sequence[str]] = (
    ("dev.status",),
    ("dev.status", "--json"),
    ("dev.logs", "--no-follow"),
    ("dev.stop",),
    ("instances",),
    ("infra.status",),
    ("infra.logs", "--no-follow"),
    ("infra.verify",),
    ("infra.down",),
    ("env.show",),
    ("env.export",),
    ("infra.stats",),
    ("doctor",),
    ("cleanup.daily",),
    ("cleanup.weekly",),
    ("cleanup.logs",),
    ("cleanup.instance", "0"),
    ("nginx.render",),
)
FEW: Sequence[Sequence[str]] = (("dev.status",), ("dev.stop",), ("doctor",), ("cleanup.weekly",))
ELSEWHERE: Sequence[Sequence[str]] = (("instances",), ("infra.verify",), ("dev.stop", "--all", "--yes"))
IN_CHECKOUT = (
    ".env",
    ".git/HEAD",
    ".dev-pids/instance-0/web.json",
    ".dev-pids/instance-0/web.exit",
    ".dev-pids/instance-0/postgres.json",
    ".dev-data/instance-0/claim",
    ".dev-data/instance-0/nginx/nginx.conf",
    ".dev-data/instance-0/nginx/.accepted",
    "logs/instance-0/web-dev.log",
    "logs/instance-0/postgres.log",
)
IN_VOLUME = ("labels.json", "data.lock", "data/postmaster.pid", "data/PG_VERSION")


def ask(checkout: Checkout, *words: str) -> Answer:
    """Run a command, which must end soon and without a bug, whatever it says."""
    begun = time.monotonic()
    answer = checkout.inv(*words, code=None)
    took = time.monotonic() - begun
    assert took < SECONDS, f"{words} took {took:.0f} s: {answer}"
    assert answer.code in (0, 1, 2, 3, 4, 5), f"{words}: {answer}"
    assert len(answer.out) < 100_000, words
    return answer


@pytest.fixture
def host(make_host: MakeFaultHost) -> FaultHost:
    """A host with a claim that says that it was started."""
    made = make_host(services={"web": web(lease="one")})
    made.main.inv("env.show")
    path = made.state / "claims.json"
    document = json.loads(path.read_text())
    document["claims"][0] |= {"backend": "embedded", "services": ["web"]}
    path.write_text(json.dumps(document))
    return made


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "huge"])
def test_files_of_a_checkout(host: FaultHost, kind: str) -> None:
    other = host.worktree(host.directory / "other")
    for name in IN_CHECKOUT:
        strange.put(kind, host.main.path / name)
    volume = host.main.works_in("postgres").parent
    for path in (volume.parent / "claim.json", *(volume / name for name in IN_VOLUME)):
        strange.put(kind, path)
    for words in READING if kind == "fifo" else FEW:
        ask(host.main, *words)
    for words in ELSEWHERE:
        ask(other, *words)


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_files_of_the_user(host: FaultHost, kind: str) -> None:
    """The claims, which no command can do without; then locks and a lease, whose error names the file."""
    claims = host.state / "claims.json"
    written = claims.read_bytes()
    strange.put(kind, claims)
    for words in (*FEW, ("dev", "--detach")):
        ask(host.main, *words)
    strange.remove(claims)
    claims.write_bytes(written)

    project = host.project
    names = ("claims.lock", f"{project}-0.lock", f"{project}-0.holder", f"nginx-{project}-0.lock")
    for path in (*(host.state / "locks" / name for name in names), host.state / "leases" / "one.json"):
        strange.put(kind, path)
    for words in (*FEW, ("instances",), ("nginx.render",)):
        ask(host.main, *words)


def test_a_lock_that_links_to_a_file_leaves_it_alone(host: FaultHost) -> None:
    target = host.directory / "target"
    target.write_text("kept", encoding="utf-8")
    target.chmod(0o644)
    lock = host.state / "locks" / f"{host.project}-0.lock"
    strange.remove(lock)
    lock.symlink_to(target)
    answer = host.main.inv("dev.stop", code=2)
    assert f"the lock {lock} is not a regular file" in answer.err
    assert (target.read_text(encoding="utf-8"), target.stat().st_mode & 0o777) == ("kept", 0o644)


@pytest.mark.parametrize("kind", strange.KINDS)
def test_a_start_needs_a_readable_dotenv(make_host: MakeFaultHost, kind: str) -> None:
    host = make_host()
    strange.put(kind, host.main.path / ".env")
    if kind == "directory":  # a Python environment of that name, perhaps
        assert "postgres" in host.main.inv("infra.compose").out
        return
    answer = host.main.inv("dev", "--detach", code=2)
    assert f"error: cannot read {host.main.path / '.env'}: " in answer.err
    assert ("nothing has been written to this pipe within 2 s" in answer.err) is (kind == "fifo")
    assert not list(host.state.glob("volumes/*/*"))
    assert ("cannot read" in host.main.inv("dev.status").err) is (kind != "fifo")  # only starts read a pipe


@pytest.mark.embedded
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_running_instance_is_seen_and_stopped(make_host: MakeFaultHost, kind: str) -> None:
    host = make_host()
    host.main.inv("dev", "--detach")
    other = host.worktree(host.directory / "other")
    for name in ("web", "postgres", "minio", "nginx"):
        strange.put(kind, host.main.path / f".dev-pids/instance-0/{name}.json")
    strange.put(kind, host.main.path / ".env")
    strange.put(kind, host.main.works_in("postgres") / "orienter-login")
    seen = ask(other, "instances", "--json").json["instances"]
    assert [one["state"] for one in seen if one["root"] == str(host.main.path)] == ["running"]
    assert all(states(host.main).values())
    ask(host.main, "dev.stop")
    assert processes_of(host.main) == []
