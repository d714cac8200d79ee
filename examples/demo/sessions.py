"""Who is signed in: a signed token in a cookie, good for one instance only."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COOKIE = "orienter_session"
LIFETIME = 7 * 24 * 3600
KEY_BYTES = 32


class Sessions:
    """Issue and check tokens of the form EXPIRY.SIGNATURE."""

    def __init__(self, key: bytes, instance_id: int, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._instance_id = instance_id
        self._now = now

    def issue(self) -> str:
        """Return a token that is good for LIFETIME seconds."""
        expiry = str(int(self._now()) + LIFETIME)
        return f"{expiry}.{self._sign(expiry)}"

    def valid(self, token: str) -> bool:
        """Tell whether this instance issued the token and it has not expired."""
        expiry, _, signature = token.partition(".")
        if not hmac.compare_digest(_bytes(signature), _bytes(self._sign(expiry))):
            return False
        return int(expiry) > self._now()

    def _sign(self, expiry: str) -> str:
        return hmac.new(self._key, _bytes(f"{self._instance_id}:{expiry}"), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def load_key(path: Path) -> bytes:
    """Return the signing key, made at the first start and readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(KEY_BYTES))
        draft.replace(path)
    return path.read_bytes()
