"""Print each claim with its target, what was measured, and the verdict: `python -m benchmarks [embedded] [docker]`."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks import overhead, startup
from tests.integration.checkouts import INV, Host


def main(backends: list[str]) -> int:
    """Measure on the given backends; without any: on all that this machine has."""
    from orienter_tasks.backends import choice
    from orienter_tasks.validation import load

    chosen = backends or [name for name in ("embedded", "docker") if choice.available(choice.named(name), load(None))]
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    missed = 0
    for backend in chosen:
        with tempfile.TemporaryDirectory(prefix="orienter-bench-") as scratch:
            missed += _measure(backend, Path(scratch).resolve())
    return 1 if missed else 0


def _measure(backend: str, scratch: Path) -> int:
    os.environ["ORIENTER_STATE_DIR"] = str(scratch / "state")
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    os.environ |= {
        f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    host = Host(scratch / "home", f"orienter-bench-{backend}", backend)
    print(f"== {backend}")
    missed = 0
    try:
        for section in (
            startup.servers(host, str(INV)),
            startup.whole(host, str(INV)),
            overhead.measure(host, str(INV), scratch),
        ):
            for line in section:
                print(line, flush=True)
                missed += line.met is False
    finally:
        host.clean_up()
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
