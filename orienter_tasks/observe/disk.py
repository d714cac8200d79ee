"""What instances take on disk, measured beside other work and waited for only as long as is wanted.

A PostgreSQL data directory has about a thousand files. `du`, which POSIX has everywhere, counts those of ten instances
in some 25 ms on a core of its own; a walk in Python takes four times as long, of the core that draws the table.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.identity.volumes import home
from orienter_tasks.machine.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.identity.claims import Claim

UNIT = 1024  # of `du -k`
END_SECONDS = 1.0


class Disk(msgspec.Struct, frozen=True):
    """Bytes of an instance's data (volumes among it) and of its logs; None where they are not known."""

    data: int | None
    logs: int | None


class DiskUsage:
    """Measures, in a thread of its own, what claims take; a context manager."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._claims = tuple(claims)
        self._sizes: dict[str, int] = {}
        self._volumes: Mapping[str, Sequence[str]] | None = None
        self._counting: subprocess.Popen[bytes] | None = None
        self._ended = False
        # the engine may take its time to answer, and nobody waits for it at the end of the program
        self._thread = threading.Thread(target=self._measure, name="disk", daemon=True)

    def __enter__(self) -> DiskUsage:
        with deferred():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        counting = self._counting
        if counting is not None and counting.poll() is None:
            counting.kill()
            self._thread.join(END_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Wait until all is measured, but no longer than that; say whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def of(self, claim: Claim) -> Disk:
        instance = of_claim(claim)
        on_engine: list[int | None] = []
        if "docker" in claim.backends.used:
            known = self._volumes
            on_engine = [None] if known is None else [self._sizes.get(place) for place in known.get(claim.token, ())]
        data = [self._size(instance.data_dir), self._size(home(instance)), *on_engine]
        return Disk(None if None in data else sum(size or 0 for size in data), self._size(instance.log_dir))

    def _size(self, directory: os.PathLike[str]) -> int | None:
        path = os.fspath(directory)
        return self._sizes.get(path) if os.path.isdir(path) else 0  # noqa: PTH112 - a text all along

    def _measure(self) -> None:
        instances = [of_claim(claim) for claim in self._claims]
        places = ((each.data_dir, each.log_dir, home(each)) for each in instances)
        self._count(str(path) for each in places for path in each)
        on_docker = [claim for claim in self._claims if "docker" in claim.backends.used]
        if on_docker:
            with contextlib.suppress(OrienterError):  # the scan for containers says that no engine answers
                self._measure_volumes(on_docker)

    def _measure_volumes(self, claims: Sequence[Claim]) -> None:
        """Count volumes where they lie, if root or a rootless engine's user asks; else let the engine do it."""
        from orienter_tasks.backends.docker import locality, resources, survey
        from orienter_tasks.backends.docker.engine import shared

        engine = shared()
        volumes = survey.volumes(engine)
        found = {claim.token: [each for each in volumes if survey.is_of(each, of_claim(claim))] for claim in claims}
        mine = [each for held in found.values() for each in held]
        if locality.is_known(engine) and all(os.access(each.place, os.R_OK | os.X_OK) for each in mine):
            self._count(each.place for each in mine)
            self._sizes.update({each.name: self._sizes[each.place] for each in mine if each.place in self._sizes})
        else:
            self._sizes.update(resources.volume_sizes(engine))
        self._volumes = {token: [each.name for each in held] for token, held in found.items()}

    def _count(self, paths: Iterable[str]) -> None:
        there = [path for path in dict.fromkeys(paths) if os.path.isdir(path)]  # noqa: PTH112 - a text all along
        if not there or self._ended:
            return
        command = ["du", "-sk", *there]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            return
        with process:
            self._counting = process
            for line in process.stdout or ():
                size, _, path = os.fsdecode(line).rstrip("\n").partition("\t")
                if size.isdecimal():
                    self._sizes[path] = int(size) * UNIT
