"""`inv test.templates`: every template renders for every id, real nginx takes it, and the compose file agrees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from orienter_tasks import environment, nginx
from orienter_tasks.backends import choice
from orienter_tasks.backends.backend import NginxFacts, Site
from orienter_tasks.backends.docker import compose, placement
from orienter_tasks.errors import CheckError
from orienter_tasks.hostcheck import throwaway
from orienter_tasks.hostcheck.agreement import compare
from orienter_tasks.hostcheck.outcome import Outcome, Premises, prove
from orienter_tasks.instance import make_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.settings import BackendName

THREADS = 4
PLACEMENTS = {"on the machine's network": placement.ON_HOST, "bridged": placement.BRIDGED}


def checks(
    root: Path, premises: Premises, backend: Callable[[], BackendName], parse: Callable[[str], Any]
) -> Iterator[Outcome]:
    """Prove everything about the templates.

    Args:
        root: the checkout, whose own templates come first.
        premises: its configuration.
        backend: says which backend's nginx is to be asked.
        parse: reads YAML.
    """
    yield prove("nginx's templates render", lambda: nginx_renders(root, premises))
    yield prove("nginx accepts them", lambda: nginx_accepts(root, premises, backend()))
    yield prove("the compose file agrees", lambda: compose_agrees(root, premises, parse))


def nginx_renders(root: Path, premises: Premises) -> str:
    """Require that both files render for every id, wherever nginx may run, and say who they are."""
    kinds = ("native", "on the machine's network", "bridged")
    for number in premises.ids:
        site = _site(root, premises, number)
        for kind in kinds:
            files = nginx.plan(site, _facts(site, kind), nginx.config_dir(site.instance))
            if not any(nginx.health_token(site.instance) in file.content for file in files):
                raise CheckError(
                    f"{premises.settings.nginx.template} of instance {number} does not answer /health with its token",
                    hint="copy `location = /health` from the package's nginx-local.conf.j2",
                )
    return f"{premises.settings.nginx.template} for {len(premises.ids)} ids, {', '.join(kinds)}"


def nginx_accepts(root: Path, premises: Premises, backend: BackendName) -> str:
    """Let the real nginx of a backend test the configuration of every id."""
    with throwaway.ground(root, premises.settings) as ground:
        checkout = ground.folder("templates")

        def ask(number: int) -> None:
            site = ground.site(checkout, number, backend)
            nginx.check(site, choice.make(backend, site))

        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            list(pool.map(ask, premises.ids))
    return f"nginx -t for {len(premises.ids)} ids, on {backend}"


def compose_agrees(root: Path, premises: Premises, parse: Callable[[str], Any]) -> str:
    """Require that the compose file of every id says what `infra.up` would make."""
    for number in premises.ids:
        site = _site(root, premises, number)
        for where, placed in PLACEMENTS.items():
            content = compose.render(site, placed).content
            try:
                parsed = parse(content)
            except ValueError as error:
                raise CheckError(f"{compose.TEMPLATE} of instance {number}, {where}, is no YAML: {error}") from error
            compare(parsed, site, placed, f"{compose.TEMPLATE} of instance {number}, {where}")
    return f"{compose.TEMPLATE} for {len(premises.ids)} ids, {' and '.join(PLACEMENTS)}"


def _site(root: Path, premises: Premises, number: int) -> Site:
    instance = make_instance(premises.settings, number, root)
    variables = environment.derive(instance, premises.settings, premises.dotenv, {})
    return Site(instance, premises.settings, variables)


def _facts(site: Site, kind: str) -> NginxFacts:
    port, bridged = site.instance.ports["nginx"], kind == "bridged"
    native = kind == "native"
    return NginxFacts(
        listen="80" if bridged else f"{environment.LOOPBACK}:{port}",
        upstream=placement.HOST_NAME if bridged else environment.LOOPBACK,
        runtime=str(site.instance.data_dir / "nginx" / "runtime") if native else "/runtime",
        mime_types="/mime.types",
        user="" if native else "nginx",
    )
