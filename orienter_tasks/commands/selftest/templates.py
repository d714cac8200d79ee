"""`inv test.templates`: every template renders for every id, real nginx takes it, and the compose file agrees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import placement
from orienter_tasks.backends.nginx.configuration import check, config_dir, plan
from orienter_tasks.backends.nginx.health import health_token
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.commands.selftest import sandbox as throwaway
from orienter_tasks.commands.selftest.compose_diff import compare
from orienter_tasks.commands.selftest.outcome import Outcome, Premises, prove
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import choice, compose
from orienter_tasks.instance.model import make_instance
from orienter_tasks.lifecycle.config import configure
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import BackendName

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
        config = _config(root, premises, number)
        for kind in kinds:
            files = plan(config, _facts(config, kind), config_dir(config.instance))
            if not any(health_token(config.instance) in file.content for file in files):
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
            config = ground.config(checkout, number, backend)
            check(config, choice.make(backend, config))

        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            list(pool.map(ask, premises.ids))
    return f"nginx -t for {len(premises.ids)} ids, on {backend}"


def compose_agrees(root: Path, premises: Premises, parse: Callable[[str], Any]) -> str:
    """Require that the compose file of every id says what `infra.up` would make."""
    for number in premises.ids:
        config = _config(root, premises, number)
        for where, placed in PLACEMENTS.items():
            content = compose.render(config, placed).content
            try:
                parsed = parse(content)
            except ValueError as error:
                raise CheckError(f"{compose.TEMPLATE} of instance {number}, {where}, is no YAML: {error}") from error
            compare(parsed, config, placed, f"{compose.TEMPLATE} of instance {number}, {where}")
    return f"{compose.TEMPLATE} for {len(premises.ids)} ids, {' and '.join(PLACEMENTS)}"


def _config(root: Path, premises: Premises, number: int) -> InstanceConfig:
    return configure(make_instance(premises.settings, number, root), premises.settings, premises.dotenv, {})


def _facts(config: InstanceConfig, kind: str) -> NginxFacts:
    port, bridged = config.instance.ports["nginx"], kind == "bridged"
    native = kind == "native"
    return NginxFacts(
        listen="80" if bridged else f"{LOOPBACK}:{port}",
        upstream=placement.HOST_NAME if bridged else LOOPBACK,
        runtime=str(config.instance.data_dir / "nginx" / "runtime") if native else "/runtime",
        mime_types="/mime.types",
        user="" if native else "nginx",
    )
