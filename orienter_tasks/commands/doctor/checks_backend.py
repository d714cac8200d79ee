"""The backends: which one and why, the engine, its images and networks, the embedded programs."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.doctor.finding import Finding
from orienter_tasks.errors import BackendError, OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.commands.doctor.context import Situation
    from orienter_tasks.settings.model import BackendName

DEFAULT_NETWORKS = 31
FEW_NETWORKS = 3


def decided(situation: Situation) -> tuple[BackendName, str]:
    """Say which backend this instance has, or would get, and why.

    Raises:
        BackendError: this machine has none.
    """
    if situation.settings is None or situation.asked is None:
        raise BackendError("the settings are wrong, so there is no backend")
    identity = situation.identity
    if identity is not None and identity.claim.backend:
        return choice.named(identity.claim.backend), "this checkout's instance was started there before"
    name = choice.choose(situation.asked, situation.settings)
    if situation.asked != "auto":
        where = "ORIENTER_BACKEND" if situation.environ.get("ORIENTER_BACKEND") else "orienter.backend"
        return name, f"{where} says so"
    return name, "an engine answers" if name == "docker" else "no Docker engine answers, and its programs are installed"


def backend(situation: Situation) -> Iterator[Finding]:
    """Tell the backend and why it is that one; require that it can be used."""
    if situation.settings is None or situation.asked is None:
        return
    try:
        name, why = decided(situation)
    except BackendError as error:
        yield Finding("problem", "backend", str(error), error.hint)
        return
    if situation.asked not in ("auto", name):
        yield Finding(
            "warning",
            "backend",
            f"{situation.asked} is asked for, but this instance was started on {name}",
            f"inv infra.down --volumes, then inv dev --backend {situation.asked}",
        )
    if situation.config is not None:
        try:
            choice.require(name, situation.config)
        except BackendError as error:
            yield Finding("problem", "backend", str(error), error.hint)
            return
    yield Finding("ok", "backend", f"{name}: {why}")


def engine(situation: Situation) -> Iterator[Finding]:
    """Ask the Docker engine who it is; one that is not needed need not be there."""
    from orienter_tasks.backends.docker import engine as engines

    shared = engines.shared()
    silent = shared.why_silent()
    if silent is not None:
        needed = _uses(situation, "docker")
        remedy = engines.JOIN_GROUP if "denied" in silent.lower() else engines.START_IT
        words = f"no Docker engine answers at {shared.endpoint}: {silent}"
        if needed:
            yield Finding("problem", "engine", words, remedy)
        else:
            yield Finding("ok", "engine", f"{words}; none is needed")
        return
    facts = shared.facts
    yield Finding("ok", "engine", f"Docker {facts.version} on {facts.operating_system} at {shared.endpoint}")
    if _uses(situation, "docker") and situation.settings is not None:
        yield from _placement(shared, situation)
        yield from _images(shared, situation)
        yield from _networks(shared, situation)


def embedded(situation: Situation) -> Iterator[Finding]:
    """Find the embedded programs and let each say its version."""
    from orienter_tasks.infra.all import component
    from orienter_tasks.infra.embedded import installed

    if situation.settings is None:
        return
    settings, needed = situation.settings, _uses(situation, "embedded")
    try:
        if not needed and not installed(settings):
            yield Finding("ok", "embedded", "not installed, and not needed")
            return
        kinds = [component(name) for name in catalog.names()]
        said = [kind.version(settings) for kind in kinds]
        for kind in kinds:
            if situation.config is not None:
                kind.require_runnable(situation.config)
    except OrienterError as error:
        yield Finding("problem" if needed else "warning", "embedded", str(error), error.hint)
        return
    yield Finding("ok", "embedded", ", ".join(said))


def _uses(situation: Situation, name: BackendName) -> bool:
    try:
        return decided(situation)[0] == name
    except OrienterError:
        return False


def _placement(shared: Engine, situation: Situation) -> Iterator[Finding]:
    from orienter_tasks.backends.docker import placement

    if situation.settings is None:
        return
    try:
        place = placement.of(shared, situation.settings.nginx.network)
    except OrienterError as error:
        yield Finding("problem", "engine", str(error), error.hint)
        return
    where = "on this machine's network" if place.on_host else f"bridged, services on {place.service_host}"
    yield Finding("ok", "nginx", f"{where} (orienter.nginx.network: {situation.settings.nginx.network})")


def _images(shared: Engine, situation: Situation) -> Iterator[Finding]:
    from orienter_tasks.backends.docker import images

    if situation.settings is None:
        return
    wanted = [situation.settings.docker.image(name) for name in catalog.names()]
    missing = [image for image in wanted if not images.is_here(shared, image)]
    for image in missing:
        yield Finding("warning", "images", f"{image} is not here: the first start pulls it", f"docker pull {image}")
    if not missing:
        yield Finding("ok", "images", ", ".join(wanted))


def _networks(shared: Engine, situation: Situation) -> Iterator[Finding]:
    with shared.talking("list networks"):
        found = shared.api.networks()
        info: Mapping[str, Any] = shared.api.info()
    used = sum(network["Driver"] == "bridge" for network in found)
    room = capacity(info.get("DefaultAddressPools") or ()) - used
    own = situation.config.instance.network if situation.config is not None else ""
    words = f"{used} bridge networks, address ranges for about {max(0, room)} more"
    remedy = "docker network prune, or more default-address-pools in the engine's daemon.json"
    if room <= 0 and own not in {network["Name"] for network in found}:
        yield Finding("problem", "networks", words, remedy)
    else:
        yield Finding(
            "warning" if room < FEW_NETWORKS else "ok", "networks", words, remedy if room < FEW_NETWORKS else ""
        )


def capacity(pools: Sequence[Mapping[str, Any]]) -> int:
    """Return how many bridge networks the engine has addresses for; without pools of its own, about 31."""
    if not pools:
        return DEFAULT_NETWORKS
    return sum(2 ** (int(pool["Size"]) - ipaddress.ip_network(pool["Base"], strict=False).prefixlen) for pool in pools)
