"""Which instances `dev.stop --idle` would stop, and why others stay: where nothing runs but tiny services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orienter_tasks.commands import idle
from orienter_tasks.identity.claims import Claims, of_claim
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.machine.state import locked
from orienter_tasks.observe.scan import scan
from orienter_tasks.processes import census
from tests.commands.test_instances import claimed, host, service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from orienter_tasks.identity.claims import Claim
    from tests.conftest import MakeWorktree
    from tests.integration.checkouts import Host

__all__ = ["host", "service"]

LONG = 7200.0


def outcomes(host: Host, *words: str) -> dict[str, str]:
    """Return what becomes of each instance, by id."""
    answer = host.main.inv("dev.stop", "--idle", "1", "--all", *words)
    rows = [line.split(maxsplit=3) for line in answer.out.splitlines()[1:]]
    return {row[0]: row[3] for row in rows}


def test_only_what_is_there_and_known_and_left_alone(
    host: Host, service: Callable[[Claim, str], int], make_worktree: MakeWorktree, tmp_path: Path
) -> None:
    trees = {number: make_worktree(host.main.path, f"tree-{number}") for number in (1, 2, 3)}
    claims = {0: claimed(host.main.path, 0), **{number: claimed(root, number) for number, root in trees.items()}}
    for number in (0, 1, 3):
        service(claims[number], "web")
    claimed(tmp_path, 5, project="other")
    trees[3].rename(tmp_path / "moved here")
    time.sleep(1.1)
    with locked(of_claim(claims[1]).lock, timeout=1):
        seen = outcomes(host, "--dry-run")
    assert seen["0"].startswith("would stop: idle for ")
    assert seen["1"] == "stays: something starts, stops or changes it now"
    assert seen["2"] == "stays: it does not run"
    assert seen["3"].startswith("stays: ")
    assert set(seen) == {"0", "1", "2", "3"}
    assert census.take().pids(of_claim(claims[0]))

    seen = outcomes(host)
    assert seen["0"].startswith("stopped: idle for ")
    assert seen["1"].startswith("stopped: idle for ")
    assert seen["3"].startswith("stays: ")
    (tmp_path / "moved here").rename(trees[3])
    assert not census.take().pids(of_claim(claims[0]))


def test_one_that_is_used_before_it_is_locked_stays(
    host: Host, service: Callable[[Claim, str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(host.main.path, 0)
    service(claim, "web")
    monkeypatch.chdir(host.main.path)
    ctx, early = RunContext(host.main.path, None, options=RunOptions()), scan([claim], use=True).instances[0]
    assert idle.why_not(early, 0.0) == ""
    monkeypatch.setattr(idle, "scan", lambda claims, **asked: scan([_used(each) for each in claims], **asked))
    judged, failure = idle._stopped(ctx, idle.Judgement(early, "would stop", stays=False), LONG)
    assert failure is None
    assert judged.stays
    assert judged.outcome.startswith("stays: used ")
    assert census.take().pids(of_claim(claim))


def _used(claim: Claim) -> Claim:
    Claims().mark_used(claim.token)
    (now,) = Claims().read()
    return now
