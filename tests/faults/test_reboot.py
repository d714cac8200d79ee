"""The machine was restarted: every pid, start time and boot id on disk is of a time that is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import end, has, put
from tests.faults.test_strangers import altered, end_rest, stranger
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from tests.faults.lab import FaultHost, MakeFaultHost

START = ("dev", "--detach", "--quiet")
OLD_BOOT = "00000000-0000-4000-8000-000000000000"


def reboot(host: FaultHost) -> None:
    """End everything at once, and make what is on disk that of another boot."""
    records = sorted(host.main.path.glob(".dev-pids/instance-0/*.json"))
    end([int(json.loads(record.read_text())["pid"]) for record in records])
    wait_for(lambda: not end_rest(host), "the end of all")
    for record in records:
        mark = json.loads(record.read_text())["mark"]
        altered(record, mark=f"{OLD_BOOT}:{mark.rpartition(':')[2]}")
    for claim in host.claims():
        assert claim["device"]


@pytest.mark.embedded
@pytest.mark.parametrize("first", ["dev", "stop"])
def test_after_a_reboot(make_host: MakeFaultHost, first: str) -> None:
    lease = {"web": {"command": ["${PYTHON}", "-I", "-S", "stand_in.py", "sleep"], "lease": "whatsapp"}}
    host = make_host(services=lease)
    host.main.inv(*START)
    put(host.main, "before")
    pid_file = host.main.works_in("postgres") / "postmaster.pid"
    reboot(host)
    book = json.loads((host.state / "claims.json").read_text())
    for claim in book["claims"]:
        claim["device"] += 1  # devices are numbered anew
    (host.state / "claims.json").write_text(json.dumps(book))
    leases = host.state / "leases" / "whatsapp.json"
    with stranger() as other:  # the pids were given out again
        altered(leases, pid=other.pid)
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        for name in (f"{host.project}-0", "claims", "lease-whatsapp"):
            (host.state / "locks" / f"{name}.holder").write_text(f"{other.pid}\n1\ninv dev\n")
        document = host.main.inv("dev.status", "--json", code=None).json
        assert document["state"] in ("stopped", "partial")
        assert not any(part["running"] for part in document["components"])
        if first == "stop":
            host.main.inv("dev.stop")
            assert host.left_of(host.main) == []
        host.main.inv(*START)
        has(host.main, "before")
        host.main.inv("dev.stop")
        assert host.left_of(host.main) == []


@pytest.mark.embedded
def test_records_from_disk_are_validated(make_host: MakeFaultHost) -> None:
    """A record or claim that says nonsense leads nobody astray."""
    host = make_host()
    host.main.inv(*START)
    put(host.main, "before")
    record = host.main.path / ".dev-pids" / "instance-0" / "web.json"
    nonsense: tuple[dict[str, object], ...] = (
        {"pid": 1},
        {"pid": 0},
        {"pid": -1},
        {"root": "/", "token": "another"},
        {"instance": 5},
        {"component": "../x"},
    )
    for number, changes in enumerate(nonsense):
        copy = record.with_name(f"copy{number}.json")
        copy.write_text(record.read_text())
        altered(copy, **{"component": copy.stem, **changes})
    names = {part["name"] for part in host.main.inv("dev.status", "--json", code=None).json["components"]}
    assert "web" in names
    assert not names & {"copy3", "copy4", "copy5", "../x"}, "another checkout's"
    record.write_text('{"pid": ')
    host.main.inv("dev.stop")
    assert host.running_of(host.main) == []
    book = json.loads((host.state / "claims.json").read_text())
    for key, value in (("root", "/"), ("project", "../x"), ("former_roots", ["/"])):
        bad = {**book, "claims": [{**book["claims"][0], key: value}]}
        (host.state / "claims.json").write_text(json.dumps(bad))
        answer = host.main.inv("dev.stop", "--volumes", "--yes", code=2)
        assert "claims" in answer.err
    (host.state / "claims.json").write_text(json.dumps(book))
    host.main.inv(*START)
    has(host.main, "before")
