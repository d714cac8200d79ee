"""Judge the evidence: each instance by itself, then all of them against each other. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from orienter_tasks.instance.variables import base_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.commands.verify.snapshot import Evidence, Place

Verdict = Literal["ok", "shared", "unseen", "absent"]
BUILT_IN = frozenset({"postgres", "template0", "template1"})
SHOWN = 4


@dataclass(frozen=True)
class Check:
    """One thing that was proved, or was not.

    Attributes:
        instances: the ids that it is about.
        topic: what was looked at.
        verdict: ok; shared with somebody; it could not be seen; there is nothing to see.
        detail: what was found.
        remedy: what to do, as a command.
    """

    instances: tuple[int, ...]
    topic: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def judge(evidence: Sequence[Evidence]) -> list[Check]:
    """Return every check: first each instance's own, then what two could share."""
    if not evidence:
        return []
    checks = [check for one in evidence for check in _alone(one)]
    return [*checks, *(_apart(topic, needs, common, evidence) for topic, (needs, common) in COMMON.items())]


def _alone(one: Evidence) -> Iterator[Check]:
    judges: dict[str, Callable[[Evidence], tuple[str, str, str]]] = {
        "databases": _databases,
        "buckets": _buckets,
        "networks": _networks,
        "data": _places,
        "ports": _ports,
        "processes": _actors,
    }
    for topic, look in judges.items():
        ids = (one.instance.id,)
        if topic in one.unseen:
            yield Check(ids, topic, "unseen", one.unseen[topic], f"cd {one.instance.root} && inv infra.status")
        elif topic in one.absent:
            yield Check(ids, topic, "absent", one.absent[topic])
        else:
            wrong, found, remedy = look(one)
            yield Check(ids, topic, "shared" if wrong else "ok", wrong or found, remedy if wrong else "")


def _databases(one: Evidence) -> tuple[str, str, str]:
    names = one.cluster.databases if one.cluster is not None else ()
    own = [name for name in names if name not in BUILT_IN]
    alien = [name for name in own if _of_another(name, one.database, "_")]
    found = ", ".join([one.database, *(name for name in own if name != one.database)])
    remedy = f"cd {one.instance.root} && inv env.exec -- psql -c 'DROP DATABASE \"{alien[0]}\"'" if alien else ""
    return f"has {', '.join(alien)} of another instance" if alien else "", found, remedy


def _buckets(one: Evidence) -> tuple[str, str, str]:
    names = one.buckets or ()
    alien = [name for name in names if _of_another(name, one.bucket, "-")]
    remedy = f"look into it at {one.instance.root}, then remove bucket {alien[0]}" if alien else ""
    return f"has {', '.join(alien)} of another instance" if alien else "", ", ".join(names), remedy


def _of_another(name: str, own: str, separator: str) -> bool:
    base = base_name(own, separator)
    return name != own and re.fullmatch(rf"{re.escape(base)}{re.escape(separator)}\d+", name) is not None


def _networks(one: Evidence) -> tuple[str, str, str]:
    for network in one.networks:
        if not network.own:
            return (
                f"{', '.join(network.members)} is on network {network.name}, which is not its own",
                "",
                f"docker network disconnect {network.name} {network.members[0]}",
            )
        if network.strangers:
            return (
                f"{', '.join(network.strangers)} is on {network.name} too",
                "",
                f"docker network disconnect {network.name} {network.strangers[0]}",
            )
    found = "; ".join(f"{network.name}: {', '.join(network.members)}" for network in one.networks)
    return "", found or "none but this machine's own", ""


def _places(one: Evidence) -> tuple[str, str, str]:
    alien = [place for place in one.places if not place.own]
    wrong = ", ".join(f"{place.component} uses {place.source}" for place in alien)
    remedy = f"cd {one.instance.root} && inv dev.stop && inv dev"
    return wrong and f"{wrong}, which is not its own", _short([place.source for place in one.places], one), remedy


def _ports(one: Evidence) -> tuple[str, str, str]:
    wrong = ", ".join(f"{port} is held by {who}" for port, who in sorted(one.taken.items()))
    return wrong, ", ".join(map(str, sorted(one.listening))) or "none is open", "inv doctor"


def _actors(one: Evidence) -> tuple[str, str, str]:
    odd = [actor for actor in one.actors if actor.wrong]
    wrong = "; ".join(f"{actor.component} {actor.description}: {', '.join(actor.wrong)}" for actor in odd[:SHOWN])
    if len(odd) > SHOWN:
        wrong += f"; and {len(odd) - SHOWN} more"
    found = f"{len(one.actors)} carry id {one.instance.id} and this root"
    remedy = f"cd {one.instance.root} && inv dev.restart -s {odd[0].component}" if odd else ""
    return wrong, found, remedy


def _apart(topic: str, needs: str, common: Callable[[Evidence, Evidence], str], evidence: Sequence[Evidence]) -> Check:
    ids = tuple(one.instance.id for one in evidence)
    if len(evidence) < 2:  # noqa: PLR2004 - a pair
        return Check(ids, topic, "absent", "only one instance runs")
    shared = {
        (one.instance.id, other.instance.id): found
        for one, other in combinations(evidence, 2)
        if (found := common(one, other))
    }
    if shared:
        detail = "; ".join(f"{one} and {other}: {found}" for (one, other), found in shared.items())
        return Check(next(iter(shared)), topic, "shared", detail, "inv dev.stop in one of them, then inv doctor")
    blind = [str(one.instance.id) for one in evidence if needs in one.unseen]
    if blind:
        return Check(ids, topic, "unseen", f"the {needs} of {', '.join(blind)} could not be seen")
    pairs = len(evidence) * (len(evidence) - 1) // 2
    return Check(ids, topic, "ok", f"nothing in common ({pairs} {'pair' if pairs == 1 else 'pairs'} compared)")


def _same_cluster(one: Evidence, other: Evidence) -> str:
    if one.cluster is None or other.cluster is None or one.cluster.key != other.cluster.key:
        return ""
    return f"the same PostgreSQL server, {one.cluster.key}"


def _same_places(one: Evidence, other: Evidence) -> str:
    pairs = [(a, b) for a in one.places for b in other.places if a.data and b.data and _overlap(a, b)]
    return ", ".join(f"{a.component} uses {a.source}" for a, _ in pairs)


def _overlap(one: Place, other: Place) -> bool:
    """Say whether two places hold the same files, or one lies within the other."""
    if one.key == other.key:
        return True
    if not all(place.source.startswith("/") for place in (one, other)):
        return False
    paths = [one.real, other.real]
    return any(os.path.commonpath(paths) == path for path in paths)


def _same_networks(one: Evidence, other: Evidence) -> str:
    ids = {network.id for network in other.networks}
    return ", ".join(network.name for network in one.networks if network.id in ids)


def _same_ports(one: Evidence, other: Evidence) -> str:
    return ", ".join(map(str, sorted(set(one.instance.ports.values()) & set(other.instance.ports.values()))))


def _same_actors(one: Evidence, other: Evidence) -> str:
    keys = {actor.key for actor in other.actors}
    return ", ".join(actor.description for actor in one.actors if actor.key in keys)


def _calls(one: Evidence, other: Evidence) -> str:
    found = []
    for caller, called in ((one, other), (other, one)):
        names = {port: name for name, port in called.instance.ports.items()}
        found += [
            f"{who} of {caller.instance.id} is connected to {names[port]} of {called.instance.id} (port {port})"
            for port, who in caller.calls.items()
            if port in called.listening
        ]
    return ", ".join(found)


COMMON: dict[str, tuple[str, Callable[[Evidence, Evidence], str]]] = {
    "between: servers": ("databases", _same_cluster),
    "between: data": ("data", _same_places),
    "between: networks": ("networks", _same_networks),
    "between: ports": ("ports", _same_ports),
    "between: processes": ("processes", _same_actors),
    "between: connections": ("processes", _calls),
}
"""What two instances could share: the topic that must have been seen of each, and how to find what is shared."""


def _short(sources: Sequence[str], one: Evidence) -> str:
    """Name directories relative to the checkout."""
    return ", ".join(source.removeprefix(f"{one.instance.root}/") for source in sources)
