"""Print each claim with its target, what was measured, and the verdict.

python -m benchmarks [embedded] [docker] [SECTION…] [--pictures DIR]; without names: all that this machine can. Four
sections must be named: «far», an engine on another machine, which takes root; and three that take minutes: «thirty»,
which really starts as many checkouts as Docker's networks allow, «big», gigabytes of data that travel, and «growth»,
what many instances and 8 GB of data slow down. Only one run at a time: its hosts have ports of their own. It ends with
the rows for docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    agents,
    answers,
    data,
    far,
    growth,
    idle,
    many,
    mixed,
    overhead,
    prompt,
    real,
    servers,
    start_stop,
    today,
)
from benchmarks.hosts import BenchHost, state_below
from benchmarks.measure import Line, table
from orienter_tasks.errors import OrienterError
from orienter_tasks.machine.flock import HeldError, hold, name_holder
from tests.node import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orienter_tasks.settings.model import BackendName

BACKENDS: tuple[BackendName, ...] = ("embedded", "docker")
SECTIONS = (
    "overhead",
    "answers",
    "start",
    "today",
    "real",
    "idle",
    "redis",
    "mixed",
    "data",
    "agents",
    "prompt",
    "ten",
    "fifty",
    "full",
)
ALL_SECTIONS = (*SECTIONS, "far", "thirty", "big", "growth")
ONLY = {
    "overhead": "embedded",
    "prompt": "embedded",
    "today": "docker",
    "real": "docker",
    "mixed": "docker",
    "fifty": "embedded",
    "full": "docker",
    "far": "docker",
    "thirty": "docker",
    "growth": "embedded",
}
SERVERS_ONLY = ("redis", "mixed", "far", "data", "fifty", "full", "thirty", "big")


def main() -> int:
    """Measure on the given backends; without any: on all that this machine has."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*BACKENDS, *ALL_SECTIONS))}")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the charts there as SVG")
    told = parser.parse_args()
    unknown = sorted(set(told.names) - {*BACKENDS, *ALL_SECTIONS})
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    backends = [name for name in BACKENDS if name in told.names] or _available()
    sections = [name for name in ALL_SECTIONS if name in told.names] or list(SECTIONS)
    try:
        with hold(Path(tempfile.gettempdir()) / "orienter-bench.lock") as lock:
            name_holder(lock, os.getpid())
            return _run(backends, sections, told.pictures)
    except HeldError as error:
        parser.error(f"another run has the ports of its hosts: {error}")


def _run(backends: Sequence[str], sections: Sequence[str], pictures: Path | None) -> int:
    load = os.getloadavg()[0]
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"load {load:.1f} before it begins{': this machine is busy' if load > 1 else ''}\n", flush=True)
    begun, found = time.monotonic(), []
    for section in sections:
        for backend in backends:
            if ONLY.get(section, backend) == backend:
                lines = _show(f"{section}, {backend}", _measure(section, backend, pictures))
                found += [(backend, line) for line in lines]
    missed = [line for _, line in found if line.met is False]
    print("", *table(found), sep="\n")
    print(f"\n{len(found)} lines, {len(missed)} missed, {time.monotonic() - begun:.0f} s")
    return 1 if missed else 0


def _available() -> list[str]:
    from orienter_tasks.infra import choice
    from orienter_tasks.settings.load import load_settings

    settings = load_settings(None)
    return [name for name in BACKENDS if choice.available(name, settings, settings.servers)]


def _show(title: str, found: Iterable[Line | str]) -> list[Line]:
    print(f"== {title}")
    begun, lines = time.monotonic(), []
    try:
        for line in found:
            print(line, flush=True)
            if isinstance(line, Line):
                lines.append(line)
    except (AssertionError, OrienterError, MissingError) as error:  # the other sections can still be measured
        lines.append(Line("what could not be measured", "nothing", "failed", met=False, figures=str(error).strip()))
        print(lines[-1], flush=True)
    print(f"  ({time.monotonic() - begun:.0f} s)", flush=True)
    return lines


def _measure(section: str, backend: str, pictures: Path | None) -> Iterator[Line | str]:
    """Measure one section on a host of its own, which is gone afterwards."""
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="orienter-bench-") as directory:
        scratch = Path(directory).resolve()
        scratch.chmod(0o755)
        state_below(scratch)
        empty = overhead.empty_tasks(scratch)
        if section == "real":
            orient = real.make_host(scratch)
            try:
                yield from real.measure(orient)
            finally:
                orient.clean_up()
            return
        host = BenchHost(scratch / "home", backend, services=section not in SERVERS_ONLY)
        measures: dict[str, Callable[[], Iterator[Line | str]]] = {
            "overhead": lambda: overhead.measure(host, empty),
            "answers": lambda: answers.measure(host, empty),
            "start": lambda: start_stop.measure(host, empty, pictures),
            "today": lambda: today.measure(host),
            "idle": lambda: idle.measure(host),
            "redis": lambda: servers.measure(host),
            "mixed": lambda: mixed.measure(host, empty),
            "data": lambda: data.measure(host),
            "agents": lambda: agents.measure(host),
            "prompt": lambda: prompt.measure(host),
            "ten": lambda: many.ten(host, empty),
            "fifty": lambda: many.fifty(host, empty, pictures),
            "full": lambda: many.full(host),
            "far": lambda: far.measure(host, empty, scratch),
            "thirty": lambda: many.until_full(host),
            "big": lambda: data.big(host),
            "growth": lambda: growth.measure(host, empty),
        }
        try:
            yield from measures[section]()
        finally:
            host.clean_up()


if __name__ == "__main__":
    sys.exit(main())
