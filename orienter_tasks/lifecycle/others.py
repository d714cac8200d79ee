"""Other checkouts' instances, as their claims and `.env` files describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine.state import locked

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.settings.model import Settings


def leftovers(claim: Claim, settings: Settings) -> bool:
    """Whether anything of a claim is left; what cannot be seen counts as left."""
    if not claim.backend:
        return False
    try:
        backend = choice.make(claim.backend, _config_of(claim, settings))
        return bool(backend.data_volumes() or any(status.up for status in backend.status()))
    except OrienterError:
        return True


def stop(claim: Claim, settings: Settings, claims: Claims, grace: float) -> OrienterError | None:
    """Stop another checkout's instance; return why that failed, if it did."""
    from orienter_tasks.lifecycle.stop import stop_instance

    try:
        config = _config_of(claim, settings)
        backend = choice.make(claim.backend, config) if claim.backend else None
        with locked(config.instance.lock, timeout=settings.timeouts.lock):
            stop_instance(config.instance, backend, grace, lambda _: None)
        claims.mark_used(claim.token)
    except OrienterError as error:
        return error
    return None


def _config_of(claim: Claim, settings: Settings) -> InstanceConfig:
    try:
        return config_of(claim, settings, {})
    except ConfigError:  # an error in its `.env`: looking and stopping need no variables
        return config_of(claim, settings, {}, {})
