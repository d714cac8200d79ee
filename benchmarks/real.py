"""A real host: Orient's settings with a stand-in for its repository, beside a bash script that does the same work.

How long its commands work follows what was measured of the app, started by its bash script: dashboard 6.6 to 10 s,
OpenCode 2.1 s, WhatsApp 5 s, load-secrets 1.5 s. Up to a second of that is the script's poll, and two are pnpm, npx and
tsx, which are the real ones here; SECONDS is the rest. Half of it is work on a core and half is waiting.
"""

from __future__ import annotations

import compileall
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import orienter_tasks
from benchmarks import alone, today
from benchmarks.hosts import PORTS, has_test_images
from benchmarks.measure import Line, timed
from tests import node
from tests.integration.checkouts import TEST_IMAGES
from tests.orient.host import OrientHost

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 2
SECONDS = {"dashboard": 5.0, "opencode": 0.8, "whatsapp": 2.2}
START, STOP = 2.5, 2.0


def make_host(scratch: Path) -> OrientHost:
    """Make the stand-in on Docker, with compiled modules."""
    compileall.compile_dir(Path(orienter_tasks.__file__).parent, quiet=2)
    images = {"docker": TEST_IMAGES} if has_test_images() else {}
    changes = {"project": "orienter-bench-real", "ports": PORTS, **images}
    return OrientHost(scratch / "home", "docker", changes, node.install(scratch / "npm"), SECONDS)


def measure(host: OrientHost) -> Iterator[Line | str]:
    """Start and stop with both in turn, warm."""
    bash = today.script(host, "orient")
    host.main.inv("dev", "--detach")  # images, data, mini-apps
    host.main.inv("dev.stop")
    try:
        bash("up")
        bash("down")
        rounds = []
        for _ in range(ROUNDS):
            up, down = timed(lambda: host.main.inv("dev", "--detach")), timed(lambda: host.main.inv("dev.stop"))
            rounds.append((timed(lambda: bash("up")), up, timed(lambda: bash("down")), down))
    finally:
        bash("down", "volumes")
    for name, limit, place in (("start", START, 0), ("stop", STOP, 2)):
        ratio = statistics.median(each[place] / each[place + 1] for each in rounds)
        theirs, ours = (statistics.median(each[place + which] for each in rounds) for which in range(2))
        yield Line(
            f"warm {name}: bash script ÷ inv",
            f"≥ {limit:g} ×",
            f"{ratio:.1f} ×",
            ratio >= limit,
            f"{theirs:.2f} s : {ours:.2f} s",
        )
    seconds = alone.starts(host)
    chain, critical = alone.longest_chain(host, seconds)
    host.main.inv("dev.stop")
    yield f"  alone: {', '.join(f'{name} {took:.2f}' for name, took in seconds.items())} s"
    yield f"  longest chain: {' → '.join(chain)}: {critical:.2f} s"
