"""The backend in use and why; the Docker engine, its images and networks; the embedded programs."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.doctor.context import asked_for, known, started_on
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.output.checks import Check, caught, collect, failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Verdict
    from orienter_tasks.settings.model import BackendName

DEFAULT_NETWORKS = 31
FEW_NETWORKS = 3


def decided(ctx: RunContext) -> tuple[BackendName, str]:
    """Return the backend that this instance has or would get, and why.

    Raises:
        BackendError: none is available.
    """
    asked, started = asked_for(ctx), started_on(ctx)
    if started:
        return choice.named(started), "this checkout's instance was started there before"
    name = choice.choose(asked, ctx.settings)
    if asked != "auto":
        where = "ORIENTER_BACKEND" if os.environ.get("ORIENTER_BACKEND") else "orienter.backend"
        return name, f"{where} says so"
    return name, "an engine answers" if name == "docker" else "no Docker engine answers, and its programs are installed"


def backend(ctx: RunContext) -> Iterator[Check]:
    """Name the backend and the reason, and require that it is available."""
    name, why = decided(ctx)
    asked = asked_for(ctx)
    if asked not in ("auto", name):
        words = f"{asked} is asked for, but this instance was started on {name}"
        yield Check("backend", "warning", words, f"inv infra.down --volumes, then inv dev --backend {asked}")
    config = known(lambda: ctx.current.config)
    if config is not None:
        choice.require(name, config.settings, config.instance)
    yield Check("backend", "ok", f"{name}: {why}")


def _uses(ctx: RunContext, name: BackendName) -> bool:
    return known(lambda: decided(ctx)[0]) == name


def engine(ctx: RunContext) -> Iterator[Check]:
    """Describe the Docker engine; it may be missing when it is not needed."""
    from orienter_tasks.backends.docker import engine as engines

    shared, needed = engines.shared(), _uses(ctx, "docker")
    silent = shared.why_silent()
    if silent is not None:
        words = f"no Docker engine answers at {shared.endpoint}: {silent}"
        if needed:
            remedy = f"{shared.endpoint.how_to_reach(silent)}; or use: inv dev --backend embedded"
            yield Check("engine", "problem", words, remedy)
        else:
            yield Check("engine", "ok", f"{words}; none is needed")
        return
    yield Check("engine", "ok", shared.description)
    if needed:
        yield from collect("engine", lambda: _placement(shared, ctx))
        yield from _images(shared, ctx)
        yield from _networks(shared, ctx)


def _placement(shared: Engine, ctx: RunContext) -> Iterator[Check]:
    from orienter_tasks.backends.docker import placement

    network = ctx.settings.nginx.network
    place = placement.of(shared, network)
    where = "on this machine's network" if place.on_host else f"bridged, services on {place.service_host}"
    yield Check("nginx", "ok", f"{where} (orienter.nginx.network: {network})")


def _images(shared: Engine, ctx: RunContext) -> Iterator[Check]:
    from orienter_tasks.backends.docker import images

    wanted = [image for name in ctx.settings.servers if (image := ctx.settings.docker.image(name))]
    missing = [image for image in wanted if not images.is_here(shared, image)]
    for image in missing:
        yield Check("images", "warning", f"{image} is not here: the first start pulls it", f"docker pull {image}")
    if not missing:
        yield Check("images", "ok", ", ".join(wanted))


def _networks(shared: Engine, ctx: RunContext) -> Iterator[Check]:
    with shared.talking("list networks"):
        found = shared.reader.networks()
        info: Mapping[str, Any] = shared.reader.info()
    used = sum(network["Driver"] == "bridge" for network in found)
    room = capacity(info.get("DefaultAddressPools") or ()) - used
    config = known(lambda: ctx.current.config)
    there = config is not None and config.instance.network in {network["Name"] for network in found}
    verdict: Verdict = "ok" if room >= FEW_NETWORKS else "warning" if room > 0 or there else "problem"
    words = f"{used} bridge networks, address ranges for about {max(0, room)} more"
    remedy = "docker network prune, or more default-address-pools in the engine's daemon.json"
    yield Check("networks", verdict, words, "" if verdict == "ok" else remedy)


def capacity(pools: Sequence[Mapping[str, Any]]) -> int:
    """Return how many bridge networks the engine has addresses for: about 31 with the default pools."""
    if not pools:
        return DEFAULT_NETWORKS
    return sum(2 ** (int(pool["Size"]) - ipaddress.ip_network(pool["Base"], strict=False).prefixlen) for pool in pools)


def embedded(ctx: RunContext) -> Iterable[Check]:
    """Find the embedded programs and report their versions."""
    from orienter_tasks.infra.embedded import installed

    needed = _uses(ctx, "embedded")
    found: list[Check] = []
    with caught(lambda error: found.append(failed("embedded", error, "problem" if needed else "warning"))):
        if needed or installed(ctx.settings):
            found.append(Check("embedded", "ok", ", ".join(_versions(ctx))))
        else:
            found.append(Check("embedded", "ok", "not installed, and not needed"))
    return found


def _versions(ctx: RunContext) -> Iterator[str]:
    config = known(lambda: ctx.current.config)
    for name in ctx.settings.servers:
        yield component(name).version(ctx.settings)
        if config is not None:
            component(name).require_runnable(config)


def migrations(ctx: RunContext) -> Iterator[Check]:
    """Name what the checkout's migrations need of a server that lacks it."""
    config, name = ctx.current.config, known(lambda: decided(ctx)[0])
    if name is None:
        return  # the checks of the backend say why
    up = {status.name for status in choice.make(name, config).status() if status.up} if started_on(ctx) else set[str]()
    for server in config.instance.infra:
        native = name == "embedded"
        for each in component(server).unmet(config, config.instance.root, native=native, running=server in up):
            yield Check("migrations", "warning", f"{server} lacks {each.what}, which {each.where} needs", each.remedy)
