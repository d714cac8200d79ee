"""Beside what people use today: a bash script with docker and one-second polls, on the same images and services."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Line, run, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

SCRIPT = Path(__file__).with_name("today.sh")
PREFIX = "orienter-bench-today"
ROUNDS = {"cold": 2, "warm": 3}
LIMITS = {"cold": 2.0, "warm": 3.0}


def measure(host: BenchHost) -> Iterator[Line]:
    """Start the same components with both, cold and warm."""
    from orienter_tasks.validation import load

    host.main.inv("dev", "--detach")
    host.main.inv("dev.stop")
    images = load(json.loads((host.main.path / "invoke.yaml").read_text())["orienter"]).docker
    env = {
        **host.environ,
        **host.main.variables,
        "PREFIX": PREFIX,
        "PYTHON": sys.executable,
        "POSTGRES_IMAGE": images.postgres,
        "MINIO_IMAGE": images.minio,
        "NGINX_IMAGE": images.nginx,
    }

    def bash(*words: str) -> None:
        run(["bash", str(SCRIPT), *words], host.main.path, env)

    for kind in ("cold", "warm"):
        ours, theirs = [], []
        volumes = ["--volumes", "--yes"] if kind == "cold" else []
        host.main.inv("dev.stop", *volumes)
        try:
            for _ in range(ROUNDS[kind]):
                ours.append(timed(lambda: host.main.inv("dev", "--detach")))
                host.main.inv("dev.stop", *volumes)
                theirs.append(timed(lambda: bash("up")))
                bash("down", *(["volumes"] if kind == "cold" else []))
        finally:
            bash("down", "volumes")
            if kind == "cold":  # the warm rounds need the bash script's volumes to be there once
                bash("up")
                bash("down")
        ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
        yield Line(
            f"{host.backend}: a bash script's start ÷ inv dev --detach, {kind}",
            f"≥ {LIMITS[kind]:g} ×",
            f"{ratio:.1f} × ({statistics.median(theirs):.2f} s : {statistics.median(ours):.2f} s)",
            ratio >= LIMITS[kind],
        )
    bash("down", "volumes")
