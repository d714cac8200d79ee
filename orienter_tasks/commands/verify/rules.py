"""Judge the evidence: each instance alone, then every pair. Pure."""

from __future__ import annotations

import os
import re
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from orienter_tasks.instance.variables import base_name
from orienter_tasks.output.checks import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.commands.verify.snapshot import DataLocation, Evidence

    Look = Callable[[Evidence], tuple[str, str, str]]
    Common = Callable[[Evidence, Evidence], str]

SHOWN = 4


def judge(evidence: Sequence[Evidence]) -> list[Check]:
    """Return all checks: first each instance's own, then what two could share; anything shared is a problem."""
    if not evidence:
        return []
    checks = [_alone(topic, look, one) for one in evidence for topic, look in _looks(one).items()]
    return [*checks, *(_apart(topic, needs, common, evidence) for topic, (needs, common) in COMMON.items())]


def _looks(one: Evidence) -> dict[str, Look]:
    contents: dict[str, Look] = {topic: partial(_contents, topic) for topic in one.own}
    return {**contents, **ALONE}


def _alone(topic: str, look: Look, one: Evidence) -> Check:
    ids = (one.instance.id,)
    if topic in one.unseen:
        remedy = f"cd {one.instance.root} && inv infra.status"
        return Check(topic, "unseen", one.unseen[topic], remedy, instances=ids)
    if topic in one.absent:
        return Check(topic, "absent", one.absent[topic], instances=ids)
    wrong, found, remedy = look(one)
    if wrong:
        return Check(topic, "problem", wrong, remedy, instances=ids)
    return Check(topic, "ok", found, instances=ids)


def _contents(topic: str, one: Evidence) -> tuple[str, str, str]:
    own, separator = one.own[topic]
    held = one.contents[topic]
    names = [name for name in held.names if name not in held.built_in]
    alien = [name for name in names if own and _of_another(name, own, separator)]
    found = ", ".join(dict.fromkeys(name for name in (own, *names) if name)) or "none"
    if not alien:
        return "", found, ""
    remedy = held.remedy.format(root=one.instance.root, name=alien[0])
    return f"has {', '.join(alien)} of another instance", found, remedy


def _of_another(name: str, own: str, separator: str) -> bool:
    base = base_name(own, separator)
    return name != own and re.fullmatch(rf"{re.escape(base)}{re.escape(separator)}\d+", name) is not None


def _networks(one: Evidence) -> tuple[str, str, str]:
    found = "; ".join(f"{network.name}: {', '.join(network.members)}" for network in one.networks)
    for network in one.networks:
        odd, words = network.outsiders, f"{network.name} too"
        if not network.own:
            odd, words = network.members, f"network {network.name}, which is not its own"
        if odd:
            return f"{', '.join(odd)} is on {words}", found, f"docker network disconnect {network.name} {odd[0]}"
    return "", found or "none but this machine's own", ""


def _locations(one: Evidence) -> tuple[str, str, str]:
    alien = [location for location in one.locations if not location.own]
    wrong = ", ".join(f"{location.component} uses {location.source}" for location in alien)
    remedy = f"cd {one.instance.root} && inv dev.stop && inv dev"
    found = ", ".join(location.source.removeprefix(f"{one.instance.root}/") for location in one.locations)
    return wrong and f"{wrong}, which is not its own", found, remedy


def _ports(one: Evidence) -> tuple[str, str, str]:
    wrong = ", ".join(f"{port} is held by {who}" for port, who in sorted(one.taken.items()))
    return wrong, ", ".join(map(str, sorted(one.listening))) or "none is open", "inv doctor"


def _workloads(one: Evidence) -> tuple[str, str, str]:
    odd = [workload for workload in one.workloads if workload.wrong]
    wrong = "; ".join(f"{each.component} {each.description}: {', '.join(each.wrong)}" for each in odd[:SHOWN])
    if len(odd) > SHOWN:
        wrong += f"; and {len(odd) - SHOWN} more"
    found = f"{len(one.workloads)} carry id {one.instance.id} and this root"
    remedy = f"cd {one.instance.root} && inv dev.restart -s {odd[0].component}" if odd else ""
    return wrong, found, remedy


ALONE: dict[str, Look] = {
    "networks": _networks,
    "data": _locations,
    "ports": _ports,
    "processes": _workloads,
}
"""How to judge one instance, besides the contents of its servers: what is wrong or "", what was found, the remedy."""


def _apart(topic: str, needs: Sequence[str], common: Common, evidence: Sequence[Evidence]) -> Check:
    ids = tuple(one.instance.id for one in evidence)
    if len(evidence) < 2:  # noqa: PLR2004 - a pair
        return Check(topic, "absent", "only one instance runs", instances=ids)
    shared = {
        (one.instance.id, other.instance.id): found
        for one, other in combinations(evidence, 2)
        if (found := common(one, other))
    }
    if shared:
        words = "; ".join(f"{one} and {other}: {found}" for (one, other), found in shared.items())
        remedy = "inv dev.stop in one of them, then inv doctor"
        return Check(topic, "problem", words, remedy, instances=next(iter(shared)))
    unseen = [(str(one.instance.id), need) for one in evidence for need in (needs or one.own) if need in one.unseen]
    if unseen:
        blind, missed = (", ".join(dict.fromkeys(words)) for words in zip(*unseen, strict=True))
        return Check(topic, "unseen", f"the {missed} of {blind} could not be seen", instances=ids)
    pairs = len(evidence) * (len(evidence) - 1) // 2
    words = f"nothing in common ({pairs} {'pair' if pairs == 1 else 'pairs'} compared)"
    return Check(topic, "ok", words, instances=ids)


def _same_server(one: Evidence, other: Evidence) -> str:
    keys = {held.key for held in other.contents.values()} - {""}
    return ", ".join(f"the same {held.key}" for held in one.contents.values() if held.key in keys)


def _same_locations(one: Evidence, other: Evidence) -> str:
    pairs = [(a, b) for a in one.locations for b in other.locations if a.data and b.data and _overlap(a, b)]
    return ", ".join(f"{a.component} uses {a.source}" for a, _ in pairs)


def _overlap(one: DataLocation, other: DataLocation) -> bool:
    """Whether two locations hold the same files, or one lies within the other."""
    if one.key == other.key:
        return True
    if not all(location.source.startswith("/") for location in (one, other)):
        return False
    paths = [one.real, other.real]
    return any(os.path.commonpath(paths) == path for path in paths)


def _same_networks(one: Evidence, other: Evidence) -> str:
    ids = {network.id for network in other.networks}
    return ", ".join(network.name for network in one.networks if network.id in ids)


def _same_ports(one: Evidence, other: Evidence) -> str:
    return ", ".join(map(str, sorted(set(one.instance.ports.values()) & set(other.instance.ports.values()))))


def _same_workloads(one: Evidence, other: Evidence) -> str:
    keys = {workload.key for workload in other.workloads}
    return ", ".join(workload.description for workload in one.workloads if workload.key in keys)


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


def _same_files(one: Evidence, other: Evidence) -> str:
    """Files that both have open for writing, such as a database in the user's home."""
    return ", ".join(words for key, words in one.written.items() if key in other.written)


COMMON: dict[str, tuple[Sequence[str], Common]] = {
    "between: servers": ((), _same_server),
    "between: data": (("data",), _same_locations),
    "between: networks": (("networks",), _same_networks),
    "between: ports": (("ports",), _same_ports),
    "between: processes": (("processes",), _same_workloads),
    "between: connections": (("processes",), _calls),
    "between: files": (("processes",), _same_files),
}
"""What two instances could share: the topics required for it (none: contents), and how to find it."""
