"""Beside what people use today: a bash script with docker and one-second polls, on the same images and services."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Line, run, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.hosts import BenchHost
    from tests.integration.checkouts import Host

SCRIPT = Path(__file__).with_name("today.sh")
PREFIX = "orienter-bench-today"
ROUNDS = 2
LIMITS = {"cold": 2.0, "warm": 3.0}


def measure(host: BenchHost) -> Iterator[Line]:
    """Start the same components with both, cold and warm."""
    host.main.inv("dev", "--detach")
    host.main.inv("dev.stop")
    bash = script(host, "demo")
    host.main.inv("dev.stop", "--volumes", "--yes")
    try:
        for kind in ("cold", "warm"):
            ours, theirs = _start_both(host, bash, kind)
            ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
            yield Line(
                f"{kind} start: bash script ÷ inv dev",
                f"≥ {LIMITS[kind]:g} ×",
                f"{ratio:.1f} ×",
                ratio >= LIMITS[kind],
                f"{statistics.median(theirs):.2f} s : {statistics.median(ours):.2f} s",
            )
    finally:
        bash("down", "volumes")


def script(host: Host, app: str) -> Callable[..., object]:
    """Return what runs the script in the main checkout, on its images and ports."""
    from orienter_tasks.settings.load import load_settings

    images = load_settings(host.settings).docker
    env = {
        **host.environ,
        **host.main.variables,
        "APP": app,
        "PREFIX": PREFIX,
        "PYTHON": sys.executable,
        "POSTGRES_IMAGE": images.postgres,
        "MINIO_IMAGE": images.minio,
        "NGINX_IMAGE": images.nginx,
    }

    def bash(*words: str) -> None:
        run(["bash", str(SCRIPT), *words], host.main.path, env)

    return bash


def _start_both(host: BenchHost, bash: Callable[..., object], kind: str) -> tuple[list[float], list[float]]:
    """Start with ours and with theirs in turn; return the seconds of each. Warm means that each has its data."""
    cold = kind == "cold"
    if not cold:
        host.main.inv("dev", "--detach")
        host.main.inv("dev.stop")
        bash("up")
        bash("down")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(lambda: host.main.inv("dev", "--detach")))
        host.main.inv("dev.stop", *(["--volumes", "--yes"] if cold else []))
        theirs.append(timed(lambda: bash("up")))
        bash("down", *(["volumes"] if cold else []))
    return ours, theirs
