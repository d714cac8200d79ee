"""Many checkouts at once: no id is given twice, no two starts are interleaved, no claim is lost."""

from __future__ import annotations

import collections
import json
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests import slot
from tests.faults.lab import FULL, FaultHost, has, put, say
from tests.integration.small import Running, pid_of, states

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

CHECKOUTS = {"embedded": (4, 30), "docker": (3, 30)}
# up to id 30 below the ephemeral ports
LOW = slot.bases(thousand=1)
COMMANDS = (("env.show", "--json"), ("dev", "--detach", "--quiet"), ("dev.stop",))
AT_ONCE = 8


def run_all(host: FaultHost, checkouts: list[Checkout], dice: random.Random) -> None:
    """Run every command in every checkout, in random order, many at once."""
    work = [(checkout, words) for checkout in checkouts for words in COMMANDS]
    dice.shuffle(work)
    gate = threading.Barrier(min(AT_ONCE, len(work)))

    def run(number: int) -> None:
        if number < gate.parties:
            gate.wait()
        checkout, words = work[number]
        answer = checkout.inv(*words)
        say(f"{checkout.path.name}: {' '.join(words)}: {answer.code}")

    with ThreadPoolExecutor(max_workers=gate.parties) as pool:
        list(pool.map(run, range(len(work))))


def test_many_checkouts_in_random_order(make_host: MakeFaultHost, backend: str, dice: random.Random) -> None:
    count = CHECKOUTS[backend][FULL]
    host = make_host(backend, ports=LOW, instances={"max": 30})
    checkouts = [host.main, *host.worktrees(count - 1)]
    run_all(host, checkouts, dice)
    claims = host.claims()
    assert {claim["root"] for claim in claims} == {str(checkout.path) for checkout in checkouts}
    assert max(collections.Counter(claim["id"] for claim in claims).values()) == 1
    ports = [port for claim in claims for port in claim["ports"].values()]
    assert len(ports) == len(set(ports))
    for checkout in checkouts:
        found = states(checkout)
        assert not found or all(found.values()), f"half of {checkout.path.name}: {found}"
        known = next(claim["id"] for claim in claims if claim["root"] == str(checkout.path))
        assert checkout.inv("env.show", "--json").json["id"] == known
    if FULL:
        prove_apart(checkouts[:4])
    host.main.inv("dev.stop", "--all", "--force")
    left = [line for checkout in checkouts for line in host.left_of(checkout)]
    assert left == []


def prove_apart(checkouts: list[Checkout]) -> None:
    """Require that each has its own data."""
    for checkout in checkouts:
        checkout.inv("dev", "--detach", "--quiet")
        put(checkout, checkout.path.name)
    for checkout in checkouts:
        has(checkout, checkout.path.name)


@pytest.mark.embedded
def test_starts_and_stops_of_one_checkout_take_turns(make_host: MakeFaultHost, dice: random.Random) -> None:
    """All at once in the same checkout: whoever is last decides, and nothing is half-done."""
    host = make_host()
    host.main.inv("dev", "--detach", "--quiet")
    put(host.main, "before")
    commands = [("dev", "--detach", "--quiet"), ("dev.stop",), ("dev.restart",)] * (10 if FULL else 2)
    dice.shuffle(commands)
    with ThreadPoolExecutor(max_workers=6) as pool:
        answers = list(pool.map(lambda words: host.main.inv(*words, code=None), commands))
    refused = [answer for answer in answers if answer.code]
    assert all("Traceback" not in answer.err for answer in answers)
    assert refused == [], "\n".join(map(str, refused))
    found = states(host.main)
    say(f"in the end: {found}")
    host.main.inv("dev", "--detach", "--quiet")
    has(host.main, "before")
    host.main.inv("dev.stop")
    assert host.left_of(host.main) == []


@pytest.mark.embedded
def test_who_is_waited_for_is_named(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host(timeouts={"stop": 2.0, "lock": 1.0})
    host.main.inv("dev", "--detach", "--quiet")
    with Running(host.main, tmp_path, "dev", "--detach", "--fresh") as first:
        first.until("web: stopping")
        first.send(signal.SIGSTOP)
        try:
            answer = host.main.inv("dev.stop", code=4)
        finally:
            first.send(signal.SIGCONT)
        named = rf"pid {first.process.pid} \(inv dev --detach --fresh\) since \d\d:\d\d:\d\d"
        assert re.search(rf"waiting for {named}", answer.err), answer.err
        assert re.search(rf"is held by {named}", answer.err), answer.err
        first.end(0)
    assert all(states(host.main).values())


@pytest.mark.embedded
def test_the_lease_of_a_killed_start_holds(make_host: MakeFaultHost) -> None:
    """Killed between the service's start and its lease's: the service runs, so nobody else may."""
    services = {"web": {"command": ["${PYTHON}", "-I", "-S", "stand_in.py", "sleep"], "lease": "whatsapp"}}
    host = make_host(services=services)
    (other,) = host.worktrees(1)
    written = [name for name in host.trace(host.main, "dev", "--detach") if name.endswith("leases/whatsapp.json")]
    assert len(written) == 2
    host.main.inv("dev.stop")
    other.inv("dev", "--detach")
    host.main.inv("dev", "--detach", code=4)
    other.inv("dev.stop")
    assert host.kill_at(host.main, f"2:{written[-1]}", "dev", "--detach") == -9
    pid = pid_of(host.main, "web")
    lease = json.loads((host.state / "leases" / "whatsapp.json").read_text())
    assert lease["pid"] != pid, "the lease still names the killed command"
    refused = other.inv("dev", "--detach", code=4)
    assert f"whatsapp runs in one instance at a time: instance 0 ({host.main.path}, pid {pid})" in refused.err
    host.main.inv("dev", "--detach")
    assert pid_of(host.main, "web") == pid
    assert json.loads((host.state / "leases" / "whatsapp.json").read_text())["pid"] == pid
    host.main.inv("dev.stop")
    other.inv("dev", "--detach")
    altered = {**lease, "root": str(host.main.path), "pid": 1 + lease["pid"], "mark": "another-boot:1"}
    other.inv("dev.stop")
    (host.state / "leases" / "whatsapp.json").write_text(json.dumps(altered))
    other.inv("dev", "--detach")
