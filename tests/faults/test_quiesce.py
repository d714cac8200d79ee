"""`--quiesce`: a pair of one moment, and afterwards everything runs that ran before."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.faults.lab import kept
from tests.integration.small import Running, complaint, remembered, served, service, states, wait_for, web

if TYPE_CHECKING:
    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

SERVICES = {
    "web": web(),
    "pairs": {"command": ["${PYTHON}", str(Path(__file__).with_name("pairs.py"))], "needs": ["postgres", "minio"]},
    "idle": service("sleep"),
}


def runs(checkout: Checkout) -> dict[str, bool]:
    """Return which services run, of those that are known to be wanted."""
    return {name: running for name, running in states(checkout).items() if name in SERVICES}


def writes(checkout: Checkout) -> None:
    """Wait until the service that writes has written something new."""
    former = set(remembered(checkout))
    wait_for(lambda: set(remembered(checkout)) - former, "more pairs")


def snapshots(checkout: Checkout) -> list[str]:
    """Name the snapshots that are there."""
    return [each["name"] for each in checkout.inv("data.list", "--json").json["snapshots"]]


def test_a_pair_of_one_moment(make_host: MakeFaultHost, backend: str, tmp_path: Path) -> None:
    host = make_host(backend, services=SERVICES)
    main, (other,) = host.main, host.worktrees(1)
    main.inv("infra.up")
    with Running(main, tmp_path, "dev") as run:
        run.until("Ctrl-C stops")
        main.inv("services.stop", "-s", "idle")
        writes(main)
        former, environ = served(main, "pairs"), psutil.Process(served(main, "pairs")).environ()

        dry = main.inv("data.snapshot", "exact", "--quiesce", "--dry").out
        assert "would stop its services meanwhile: pairs, web" in dry
        said = main.inv("data.snapshot", "exact", "--quiesce").err
        assert "pairs, web of instance 0 (orienter): stopped while its data is copied" in said
        assert runs(main) == {"web": True, "pairs": True}
        assert served(main, "pairs") != former
        assert psutil.Process(served(main, "pairs")).environ() == environ
        writes(main)

        other.inv("data.clone", "--quiesce", PATH="/usr/bin:/bin", DASHBOARD_PORT="1")
        assert psutil.Process(served(main, "pairs")).environ() == environ
        assert runs(main) == {"web": True, "pairs": True}
        other.inv("infra.up")
        exact = [kept(other)]
        other.inv("data.restore", "exact", "--yes", "--no-backup")
        exact.append(kept(other))
        for rows, objects in exact:
            assert rows == objects
            assert len(rows) >= 20

        with Running(main, tmp_path, "data.snapshot", "cut", "--quiesce") as cut:
            cut.until("stopped while its data is copied")
            cut.send(signal.SIGINT)
            complaint(cut.end(130))
        assert runs(main) == {"web": True, "pairs": True}
        writes(main)
        assert run.process.poll() is None, run.answer()
        run.send(signal.SIGINT)
        run.end(130)
    assert snapshots(main) == ["exact"]
    assert "stopped while" not in main.inv("data.snapshot", "still", "--quiesce").err
    assert not any(states(main).values())


@pytest.mark.embedded
def test_a_copy_that_fails(make_host: MakeFaultHost) -> None:
    host = make_host(services={"web": web(), "behind": service("sleep", needs=["web"])})
    host.main.inv("dev", "--detach")
    former = served(host.main, "web"), served(host.main, "behind")
    (data,) = host.state.glob("volumes/*/*/*minio-data*/data/data")
    (data / "link").symlink_to("/")
    assert "cannot be copied" in complaint(host.main.inv("data.snapshot", "none", "--quiesce", code=1))
    assert all(states(host.main).values())
    assert {served(host.main, "web"), served(host.main, "behind")} & {*former} == set()
    (data / "link").unlink()

    script = host.main.path / "stand_in.py"
    script.rename(script.with_suffix(".gone"))
    failed = host.main.inv("data.snapshot", "whole", "--quiesce", code=1)
    assert "of instance 0 (orienter)" in failed.err
    assert snapshots(host.main) == ["whole"]
    script.with_suffix(".gone").rename(script)
