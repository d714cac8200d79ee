"""The backend in use and why; the Docker engine, its images and networks; the embedded programs."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.doctor.context import asked_for, known, started_on
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.output.checks import Check, caught, collect, failed
from orienter_tasks.settings.catalog import NGINX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Verdict
    from orienter_tasks.settings.model import BackendName

DEFAULT_NETWORKS = 31
FEW_NETWORKS = 3


def decided(ctx: RunContext) -> tuple[Backends, str]:
    """Return the backends that this instance has or would get, and why.

    Raises:
        BackendError: none is available.
    """
    asked, started = asked_for(ctx), started_on(ctx)
    if started:
        return started, "this checkout's instance was started there before"
    found = choice.choose(asked, ctx.settings)
    where = "ORIENTER_BACKEND" if os.environ.get("ORIENTER_BACKEND") else "orienter.backend"
    apart = [f"orienter.infra.{name}.backend" for name in ctx.settings.servers if ctx.settings.own_backend(name)]
    says = [*([where] if asked != "auto" else []), *apart]
    if says:
        return found, f"{' and '.join(says)} {'says' if len(says) == 1 else 'say'} so"
    if found.general == "docker":
        return found, f"an engine answers{', in which nginx could reach no service' if found.others else ''}"
    return found, "no Docker engine answers, and its programs are installed"


def backend(ctx: RunContext) -> Iterator[Check]:
    """Name the backends and the reason, and require that they are available."""
    found, why = decided(ctx)
    asked = known(lambda: choice.choose(asked_for(ctx), ctx.settings, found))
    if asked is not None and asked != found:
        words = f"{asked} is asked for, but this instance was started on {found}"
        yield Check("backend", "warning", words, "inv infra.down --volumes, then inv dev")
    config = known(lambda: ctx.current.config)
    if config is not None:
        choice.require(found, config.settings, config.instance)
    yield Check("backend", "ok", f"{found}: {why}")


def _servers_on(ctx: RunContext, name: BackendName) -> list[str]:
    """Return the servers that this instance has or would have on a backend."""
    found = known(lambda: decided(ctx)[0])
    return [] if found is None else [server for server in ctx.settings.servers if found.of(server) == name]


def engine(ctx: RunContext) -> Iterator[Check]:
    """Describe the Docker engine; it may be missing when it is not needed."""
    from orienter_tasks.backends.docker import engine as engines

    shared, needed = engines.shared(), _servers_on(ctx, "docker")
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
        if NGINX.name in needed:
            yield from collect("engine", lambda: _placement(shared, ctx))
        yield from _images(shared, ctx, needed)
        yield from _networks(shared, ctx)


def _placement(shared: Engine, ctx: RunContext) -> Iterator[Check]:
    from orienter_tasks.backends.docker import placement

    network = ctx.settings.nginx.network
    place = placement.of(shared, network)
    where = "on this machine's network" if place.on_host else f"bridged, services on {place.service_host}"
    yield Check("nginx", "ok", f"{where} (orienter.nginx.network: {network})")


def _images(shared: Engine, ctx: RunContext, servers: Sequence[str]) -> Iterator[Check]:
    from orienter_tasks.backends.docker import images

    wanted = [image for name in servers if (image := ctx.settings.docker.image(name))]
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
    from orienter_tasks.infra.embedded import missing

    needed = _servers_on(ctx, "embedded")
    servers = needed or ctx.settings.servers
    found: list[Check] = []
    with caught(lambda error: found.append(failed("embedded", error, "problem" if needed else "warning"))):
        if needed or not missing(ctx.settings, servers):
            found.append(Check("embedded", "ok", ", ".join(_versions(ctx, servers))))
        else:
            found.append(Check("embedded", "ok", "not installed, and not needed"))
    return found


def _versions(ctx: RunContext, servers: Sequence[str]) -> Iterator[str]:
    config = known(lambda: ctx.current.config)
    for name in servers:
        yield component(name).version(ctx.settings)
        if config is not None:
            component(name).require_runnable(config)


def migrations(ctx: RunContext) -> Iterator[Check]:
    """Name what the checkout's migrations need of a server that lacks it."""
    config, backends = ctx.current.config, known(lambda: decided(ctx)[0])
    if backends is None:
        return  # the checks of the backend say why
    seen = choice.make(backends, config).status() if started_on(ctx) else ()
    up = {status.name for status in seen if status.up}
    for server in config.instance.infra:
        native = backends.of(server) == "embedded"
        for each in component(server).unmet(config, config.instance.root, native=native, running=server in up):
            yield Check("migrations", "warning", f"{server} lacks {each.what}, which {each.where} needs", each.remedy)
