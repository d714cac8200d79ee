"""Other checkouts' instances, as far as their claims describe them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks import environment, shutdown
from orienter_tasks.backends import choice
from orienter_tasks.backends.backend import Site
from orienter_tasks.errors import OrienterError
from orienter_tasks.instance import make_instance
from orienter_tasks.state import locked

if TYPE_CHECKING:
    from orienter_tasks.backends.backend import Backend
    from orienter_tasks.claims import Claim, Claims
    from orienter_tasks.settings import Settings


def site_of(claim: Claim, settings: Settings) -> Site:
    """Build what a backend works for from a claim, with these settings under the claim's own project."""
    own = msgspec.structs.replace(settings, project=claim.project)
    instance = make_instance(own, claim.id, Path(claim.root), claim.moved, claim.former_roots)
    return Site(instance, own, environment.derive(instance, own, {}, {}), former_roots=claim.former_roots)


def backend_of(claim: Claim, site: Site) -> Backend | None:
    """Return the backend that a claim remembers; None when it never had one."""
    return choice.make(choice.named(claim.backend), site) if claim.backend else None


def leftovers(claim: Claim, settings: Settings) -> bool:
    """Say whether anything of a claim still stands; what cannot be seen counts as standing."""
    try:
        backend = backend_of(claim, site_of(claim, settings))
        if backend is None:
            return False
        return bool(backend.holdings() or any(standing.running for standing in backend.standings()))
    except OrienterError:
        return True


def stop(claim: Claim, settings: Settings, claims: Claims, grace: float) -> OrienterError | None:
    """Stop another checkout's instance; return why that failed, if it did."""
    try:
        site = site_of(claim, settings)
        with locked(f"{claim.project}-{claim.id}", timeout=settings.timeouts.lock):
            shutdown.stop_instance(site.instance, backend_of(claim, site), grace, lambda _: None)
        claims.update(claim.token, used_at=time.time())
    except OrienterError as error:
        return error
    return None
