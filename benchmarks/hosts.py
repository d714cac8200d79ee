"""The hosts that are measured: this repository's demo in git checkouts, on ports and names of their own."""

from __future__ import annotations

import compileall
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import orienter_tasks
from orienter_tasks.identity.claims import Claims, of_claim
from orienter_tasks.processes.record import load_all
from tests.integration.checkouts import DEMO, IMAGES, INV, Host, demo_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.processes.record import Record
    from tests.integration.checkouts import Checkout

# below 9535, so that the highest of 56 ids stays below 65536, and no two meet for any ids
PORTS = {
    "nginx": 1383,
    "whatsapp": 4397,
    "dashboard": 4498,
    "opencode": 4599,
    "vite": 5673,
    "postgres": 5732,
    "minio_api": 9250,
    "minio_console": 9351,
    "redis": 6479,
}
SERVERS = ("postgres", "minio", "nginx")
HIGHEST_ID = 56
TEN = 10


class BenchHost(Host):
    """A host whose `inv` runs as an installed one would, with compiled modules, which Invoke itself does not write."""

    def __init__(self, directory: Path, backend: str, *, services: bool = True) -> None:
        """Make the demo with all ids, and with the test images where this machine has them: else what a user gets."""
        known = {**demo_settings(f"orienter-bench-{backend}"), "ports": PORTS, "instances": {"max": HIGHEST_ID}}
        if backend != "docker" or not has_test_images():
            known.pop("docker")
        if not services:
            known |= {"services": dict.fromkeys(known["services"]), "hooks": {}}
        # a language that tests do not set: so each of its `inv` is a new process, as a user's is
        super().__init__(directory, backend, known, DEMO, environ={"LC_MESSAGES": "C"})
        compileall.compile_dir(Path(orienter_tasks.__file__).parent, quiet=2)
        self.inv = str(INV)

    def clean_up(self) -> None:
        """Stop all at once, then remove what does not lie below the host's directory: its volumes."""
        answers = [self.main.inv("dev.stop", "--all", "--force", code=None)]
        if self.backend == "docker":
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                words = ("dev.stop", "--force", "--volumes", "--yes")
                answers += pool.map(lambda checkout: checkout.inv(*words, code=None), self.checkouts)
        complaints = [str(answer) for answer in answers if answer.code != 0]
        assert not complaints, "\n".join(complaints)

    def start_together(self, checkouts: Sequence[Checkout]) -> list[str]:
        """Start all at once; return the errors of those that did not start."""
        with ThreadPoolExecutor(max_workers=len(checkouts)) as pool:
            words = ("dev", "--detach", "--timeout", "120")
            answers = pool.map(lambda checkout: checkout.inv(*words, code=None), checkouts)
            return [line for each in answers if each.code for line in each.err.splitlines() if "error: " in line]

    def worktrees(self, count: int) -> list[Checkout]:
        """Add so many worktrees."""
        return [self.worktree(self.directory / "wt" / f"tree-{index + 1}") for index in range(count)]


def has_test_images() -> bool:
    """Say whether this machine has the images of the tests."""
    asked = subprocess.run(["docker", "image", "inspect", f"{IMAGES}/postgres:local"], capture_output=True, check=False)
    return asked.returncode == 0


def records(checkout: Checkout, *, servers: bool) -> list[Record]:
    """Return the records of a checkout's running processes: its servers (a store's front among them), or the others."""
    claim = next(claim for claim in Claims().read() if claim.root == str(checkout.path))
    found = [record for record in load_all(of_claim(claim)) if record.alive()]
    return [record for record in found if record.component.startswith(SERVERS) is servers]


def state_below(scratch: Path) -> None:
    """Keep claims, caches and git's identity of this run below its own directory."""
    os.environ["ORIENTER_STATE_DIR"] = str(scratch / "state")
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    os.environ |= {
        f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for name in ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT"):
        os.environ.pop(name, None)
