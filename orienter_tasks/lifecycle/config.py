"""What follows from a claim: the one place that derives an instance's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.backends.protocol import InstanceConfig
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.infra import choice
from orienter_tasks.infra.choice import NONE
from orienter_tasks.instance.dotenv import read_dotenv
from orienter_tasks.instance.model import port_plan
from orienter_tasks.instance.variables import derive
from orienter_tasks.settings.catalog import NGINX
from orienter_tasks.settings.defaults import SERVICES
from orienter_tasks.settings.load import load_settings
from orienter_tasks.settings.model import PORT_STEP, WHATSAPP_SWITCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Settings


def configure(
    instance: Instance,
    settings: Settings,
    dotenv: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    backends: Backends = NONE,
    whatsapp: bool | None = None,
) -> InstanceConfig:
    """Derive the configuration of an instance.

    It has no `backends` until its first start; `whatsapp` is what the command line says, None when it says nothing.
    """
    if whatsapp is None and WHATSAPP_SWITCH not in environ and _is_on(instance, settings):
        whatsapp = True
    variables = derive(
        instance,
        settings,
        dotenv,
        environ,
        whatsapp=whatsapp,
        service_host=choice.service_host(backends.of(NGINX.name), settings),
        backend=backends.general,
    )
    return InstanceConfig(instance, settings, variables, backends)


def instance_of(claim: Claim, settings: Settings) -> Instance:
    """Build the instance of a claim, with its host name and those ports of the plan that the claim does not have."""
    ports = {**port_plan(settings, claim.id, claim.moved), **claim.ports}
    return replace(of_claim(claim), ports=ports, hostname=settings.hostname(claim.id))


def settings_of(claim: Claim) -> Settings:
    """Return settings under which a claim stays as it is, to look at or to stop what it has."""
    bases = {name: port - claim.id * PORT_STEP for name, port in claim.ports.items() if name not in claim.moved}
    services = dict.fromkeys(SERVICES)
    return load_settings(
        {"project": claim.project, "ports": bases, "instances": {"max": claim.id}, "services": services}
    )


def config_of(
    claim: Claim, settings: Settings, environ: Mapping[str, str], dotenv: Mapping[str, str] | None = None
) -> InstanceConfig:
    """Derive the configuration of any checkout from its claim, with settings under the claim's own project.

    Its `.env` is read unless `dotenv` has its variables.
    """
    own = replace(settings, project=claim.project)
    instance = instance_of(claim, own)
    given = read_dotenv(instance.root / ".env")[0] if dotenv is None else dotenv
    return configure(instance, own, given, environ, backends=claim.backends)


def _is_on(instance: Instance, settings: Settings) -> bool:
    """Whether an earlier start of the instance has WhatsApp running: then it stays on."""
    from orienter_tasks.services import lease

    switched = [service for service in settings.services.values() if service.enabled_by == WHATSAPP_SWITCH]
    return any(service.lease and lease.is_held_by(service.lease, instance) for service in switched)
