"""Who is connected to the ports of an instance from elsewhere than its own processes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.processes import sockets
from orienter_tasks.processes.listeners import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from orienter_tasks.processes.sockets import Connected, Sockets


class OutsideClient(NamedTuple):
    """A connection to a port; `silent`: seconds since it was last asked and answered, None where that is not known."""

    port: int
    silent: float | None


class Connections:
    """The connections of the machine at one moment, which is when they are first asked for."""

    def __init__(self, seen: Sockets) -> None:
        self._seen = seen

    def from_outside(self, ports: Collection[int], pids: Callable[[], Iterable[int]]) -> list[OutsideClient]:
        """Return the connections to some ports of this machine whose other ends none of these processes has.

        Where the processes can be seen, so can what they have opened; whatever else is connected, is somebody else.
        """
        ends, holders = self._found
        near = [each for each in ends if each.near[1] in ports or each.far[1] in ports]
        if not near:
            return []
        own = {holder for pid in pids() for holder in holders(pid)}
        inside = {(each.near, each.far[1]) for each in near if each.holder in own}
        silences: dict[tuple[tuple[str, int], int], list[float | None]] = {}
        for each in near:
            if each.near[1] in ports and (each.holder in own or is_loopback(each.near[0])):
                silences.setdefault((each.far, each.near[1]), []).append(each.silent)
            if each.far[1] in ports and is_loopback(each.far[0]):
                silences.setdefault((each.near, each.far[1]), []).append(each.silent)
        return [
            OutsideClient(client[1], min((each for each in known if each is not None), default=None))
            for client, known in silences.items()
            if client not in inside
        ]

    @cached_property
    def _found(self) -> tuple[Sequence[Connected], Callable[[int], Iterable[int]]]:
        try:
            return sockets.connected_by_kernel(), self._seen.inodes
        except OSError:  # no Linux, or a sandbox without netlink
            return sockets.connected_by_psutil(), lambda pid: (pid,)
