"""`inv test.templates`: every template renders for every id, real nginx takes it, and the compose file agrees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import placement
from orienter_tasks.backends.nginx.configuration import check, plan
from orienter_tasks.backends.nginx.health import health_token
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.commands.selftest.compose_diff import compare
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import choice, compose
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.output.checks import prove
from orienter_tasks.settings.catalog import NGINX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.selftest.host import HostConfig
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.output.checks import Check

THREADS = 4
PLACEMENTS = {"on the machine's network": placement.ON_HOST, "bridged": placement.BRIDGED}


def checks(host: HostConfig, backends: Callable[[], Backends], parse: Callable[[str], Any]) -> Iterator[Check]:
    """Check the templates.

    Args:
        host: the checkout; its own templates take precedence.
        backends: returns the backends, for their nginx.
        parse: reads YAML.
    """
    yield prove("nginx's templates render", lambda: nginx_renders(host))
    yield prove("nginx accepts them", lambda: nginx_accepts(host, backends()))
    yield prove("the compose file agrees", lambda: compose_agrees(host, parse))


def nginx_renders(host: HostConfig) -> str:
    """Require that both files render for every id and placement of nginx, and answer with the instance's token."""
    kinds = ("native", "on the machine's network", "bridged")
    for number in host.ids:
        config = host.instance(number)
        for kind in kinds:
            files = plan(config, _facts(config, kind), config.instance.nginx_dir)
            if not any(health_token(config.instance) in file.content for file in files):
                raise CheckError(
                    f"{host.settings.nginx.template} of instance {number} does not answer /health with its token",
                    hint="copy `location = /health` from the package's nginx-local.conf.j2",
                )
    return f"{host.settings.nginx.template} for {len(host.ids)} ids, {', '.join(kinds)}"


def nginx_accepts(host: HostConfig, backends: Backends) -> str:
    """Have the real nginx test the configuration of every id."""
    with open_sandbox(host) as sandbox:
        folder = sandbox.folder("templates")

        def ask(number: int) -> None:
            config = folder.instance(number, backends=backends)
            check(config, choice.make(backends, config))

        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            list(pool.map(ask, host.ids))
    return f"nginx -t for {len(host.ids)} ids, on {backends.of(NGINX.name)}"


def compose_agrees(host: HostConfig, parse: Callable[[str], Any]) -> str:
    """Require that the compose file of every id describes what `infra.up` would create."""
    for number in host.ids:
        config = host.instance(number)
        for where, placed in PLACEMENTS.items():
            content = compose.render(config, placed).content
            try:
                parsed = parse(content)
            except ValueError as error:
                raise CheckError(
                    f"{compose.TEMPLATE} of instance {number}, {where}, is not valid YAML: {error}"
                ) from error
            compare(parsed, config, placed, f"{compose.TEMPLATE} of instance {number}, {where}")
    return f"{compose.TEMPLATE} for {len(host.ids)} ids, {' and '.join(PLACEMENTS)}"


def _facts(config: InstanceConfig, kind: str) -> NginxFacts:
    port, bridged = config.instance.ports["nginx"], kind == "bridged"
    native = kind == "native"
    return NginxFacts(
        listen="80" if bridged else f"{LOOPBACK}:{port}",
        upstream=placement.HOST_NAME if bridged else LOOPBACK,
        directory=str(config.instance.nginx_dir) if native else "/configuration",
        runtime=str(config.instance.nginx_dir / "runtime") if native else "/runtime",
        mime_types="/mime.types",
        user="" if native else "nginx",
        noted="/noted",
    )
