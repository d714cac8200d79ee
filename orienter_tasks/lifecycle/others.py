"""Other checkouts' instances, as far as their claims describe them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.protocol import InstanceConfig
from orienter_tasks.errors import OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.instance.model import make_instance
from orienter_tasks.instance.variables import derive
from orienter_tasks.lifecycle.stop import stop_instance
from orienter_tasks.machine.state import locked

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import Backend
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.settings.model import Settings


def config_of(claim: Claim, settings: Settings) -> InstanceConfig:
    """Build what a backend works for from a claim, with these settings under the claim's own project."""
    own = msgspec.structs.replace(settings, project=claim.project)
    instance = make_instance(own, claim.id, Path(claim.root), claim.moved, claim.former_roots)
    return InstanceConfig(instance, own, derive(instance, own, {}, {}))


def backend_of(claim: Claim, config: InstanceConfig) -> Backend | None:
    """Return the backend that a claim remembers; None when it never had one."""
    return choice.make(choice.named(claim.backend), config) if claim.backend else None


def leftovers(claim: Claim, settings: Settings) -> bool:
    """Say whether anything of a claim still stands; what cannot be seen counts as standing."""
    try:
        backend = backend_of(claim, config_of(claim, settings))
        if backend is None:
            return False
        return bool(backend.holdings() or any(standing.running for standing in backend.standings()))
    except OrienterError:
        return True


def stop(claim: Claim, settings: Settings, claims: Claims, grace: float) -> OrienterError | None:
    """Stop another checkout's instance; return why that failed, if it did."""
    try:
        config = config_of(claim, settings)
        with locked(f"{claim.project}-{claim.id}", timeout=settings.timeouts.lock):
            stop_instance(config.instance, backend_of(claim, config), grace, lambda _: None)
        claims.update(claim.token, used_at=time.time())
    except OrienterError as error:
        return error
    return None
