"""Hosts whose instances are started, killed and looked at: real `inv`, real servers, tiny services."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import psutil

from orienter_tasks.machine.state import is_locked
from orienter_tasks.services import last_start
from tests import slot
from tests.integration.checkouts import REPOSITORY, Checkout
from tests.integration.left import docker_of, processes_of
from tests.integration.small import SmallHost, query, remember

if TYPE_CHECKING:
    from collections.abc import Sequence

FULL = os.environ.get("ORIENTER_FAULT_RUNS") == "full"
SEED = int(os.environ.get("ORIENTER_FAULT_SEED") or random.SystemRandom().randrange(10**6))
INJECTION = Path(__file__).parent / "injection"
BUSY = ("postgres", "nginx", "rclone", "minio", "initdb")


class MakeFaultHost(Protocol):
    """Makes a host on a backend; further settings are keys below `orienter:`."""

    def __call__(self, backend: str = "embedded", **orienter: Any) -> FaultHost: ...


class KnownCheckout(Checkout):
    """A checkout whose variables are asked for once, as long as its `.env` stays."""

    @property
    def variables(self) -> dict[str, str]:
        """What `inv env.export` gives."""
        try:
            text = (self.path / ".env").read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        if (self.path, text) not in _VARIABLES:
            _VARIABLES[self.path, text] = super().variables
        return _VARIABLES[self.path, text]


_VARIABLES: dict[tuple[Path, str], dict[str, str]] = {}


class FaultHost(SmallHost):
    """A small host under the project name of these tests, whose `inv` is killed, traced, and looked at afterwards."""

    def __init__(self, directory: Path, backend: str, clusters: Path, **orienter: Any) -> None:
        project = slot.project(f"faults-{backend}")
        super().__init__(directory, backend, clusters, **{"project": project, **orienter})

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(os.environ["ORIENTER_STATE_DIR"])

    def worktrees(self, count: int) -> list[Checkout]:
        """Add linked worktrees."""
        return [self.worktree(self.directory / "worktrees" / f"w{number}") for number in range(count)]

    def kill_at(self, checkout: Checkout, point: str, *words: str) -> int:
        """Run `inv` with a fault point (`N:NAME`); return its exit code, which is -9 where it was reached."""
        path = f"{INJECTION}{os.pathsep}{REPOSITORY}"
        answer = checkout.inv(*words, code=None, FAULT_POINT=point, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
        return answer.code

    def trace(self, checkout: Checkout, *words: str) -> list[str]:
        """Run `inv` and return the names of its state changes, in their order."""
        file = self.directory / f"trace-{time.monotonic_ns()}"
        path = f"{INJECTION}{os.pathsep}{REPOSITORY}"
        checkout.inv(*words, FAULT_TRACE=str(file), PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
        return file.read_text(encoding="utf-8").splitlines()

    def kill_after(self, checkout: Checkout, seconds: float, *words: str) -> int:
        """Run `inv` and kill it with SIGKILL after some time; return its exit code."""
        with checkout.start(*words) as process:
            with contextlib.suppress(Exception):
                process.wait(seconds)
            process.kill()
            _, err = process.communicate(timeout=30)
        assert "Traceback" not in err, err
        return process.returncode

    def left_of(self, checkout: Checkout) -> list[str]:
        """Name what a stopped instance has left: what runs, records, half-written files."""
        found = self.running_of(checkout)
        places = [self.state, checkout.path / ".dev-data", checkout.path / ".dev-pids"]
        found += [str(path) for place in places for path in place.glob("**/.*.tmp")]
        found += [str(path) for path in self.state.glob("volumes/*/*/*/.data.new*")]
        found += [str(path) for path in self.state.glob("volumes/*/*/.*")]
        # a `.gitignore` is there if the start was killed between making `.dev-pids` and writing one into that
        kept = (".gitignore", last_start.NAME)
        return [*found, *(str(path) for path in checkout.path.glob(".dev-pids/*/*") if path.name not in kept)]

    def running_of(self, checkout: Checkout) -> list[str]:
        """Name what there should not be of a stopped instance: processes, containers, listeners, locks."""
        tokens = [claim["token"] for claim in self.claims() if claim["root"] == str(checkout.path)]
        places = [checkout.path, *(path for token in tokens for path in self.state.glob(f"volumes/*/{token}"))]
        below = [found for place in places for found in working_below(place)]
        found = [*processes_of(checkout), *below, *listening_of(checkout)]
        if self.backend == "docker":
            found += docker_of(checkout, "container", "network")
        locks = [path.stem for path in self.state.glob("locks/*.lock") if is_locked(path.stem)]
        return [*found, *(f"lock {name}" for name in locks)]

    def _checkout(self, path: Path) -> Checkout:
        self.checkouts.append(KnownCheckout(path, self.environ))
        return self.checkouts[-1]

    def claims(self) -> list[dict[str, Any]]:
        """Read the claims."""
        with contextlib.suppress(FileNotFoundError):
            claims: list[dict[str, Any]] = json.loads((self.state / "claims.json").read_text())["claims"]
            return claims
        return []


def working_below(directory: Path) -> list[str]:
    """Return the server processes whose working directory lies below a directory."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] in BUSY and Path(process.cwd()).is_relative_to(directory):
                found.append(f"{process.pid} {process.info['name']} below {directory}")
        except psutil.Error:
            continue
    return found


def listening_of(checkout: Checkout) -> list[str]:
    """Return who listens on a port of the checkout's plan, whatever the address."""
    plan = {int(value) for name, value in checkout.variables.items() if name.endswith("_PORT")}
    return [
        f"{entry.pid} listens on {entry.laddr}"
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port in plan
    ]


def bucket(checkout: Checkout) -> tuple[Any, str]:
    """Return a client of the instance's S3 store, and the bucket's name."""
    from minio import Minio

    known = checkout.variables
    keys = known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"]
    endpoint = urlsplit(known["AWS_ENDPOINT_URL"]).netloc
    return Minio(endpoint, *keys, secure=False, region=known["AWS_REGION"]), known["S3_BUCKET"]


def put(checkout: Checkout, text: str) -> None:
    """Write a row and an object of that name."""
    import io

    remember(checkout, text)
    client, name = bucket(checkout)
    client.put_object(name, text, io.BytesIO(text.encode()), len(text))


def kept(checkout: Checkout) -> tuple[list[str], list[str]]:
    """Return the rows and the objects that are there."""
    client, name = bucket(checkout)
    objects = sorted(str(found.object_name) for found in client.list_objects(name))
    for found in objects:
        with client.get_object(name, found) as answer:
            assert answer.read() == found.encode()
    rows = query(checkout, "CREATE TABLE IF NOT EXISTS kept (text text)", "SELECT text FROM kept ORDER BY text")
    return [row[0] for row in rows], objects


def has(checkout: Checkout, *texts: str) -> None:
    """Require exactly these rows and objects."""
    assert kept(checkout) == (sorted(texts), sorted(texts))


def say(text: str) -> None:
    """Tell what is tried, for the report of a test that fails."""
    sys.stdout.write(text + "\n")


def end(pids: Sequence[int]) -> None:
    """End processes that a test started."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
