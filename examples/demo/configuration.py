"""What the environment says about this instance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.demo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS = {
    "nginx": "NGINX_PORT",
    "dashboard": "DASHBOARD_PORT",
    "vite": "VITE_PORT",
    "opencode": "OPENCODE_PORT",
    "whatsapp": "WHATSAPP_PORT",
    "postgres": "POSTGRES_PORT",
    "minio_api": "MINIO_API_PORT",
}
HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Instance:
    """The checkout's slot, as the services' variables describe it."""

    id: int
    root: Path
    backend: str
    host: str
    ports: Mapping[str, int]
    database: str
    bucket: str
    whatsapp_enabled: bool

    def port(self, name: str) -> int:
        """Return the port of one component; ConfigurationError if its variable is not set."""
        if name not in self.ports:
            raise ConfigurationError(f"{PORTS[name]} is not set")
        return self.ports[name]

    @property
    def hue(self) -> int:
        """The id as a hue in degrees: next ids lie far apart, and no two below 30 share one."""
        return (250 + 108 * self.id + 12 * (self.id // 10)) % 360


def require(environ: Mapping[str, str], name: str) -> str:
    """Return a variable; ConfigurationError if it is not set or empty."""
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set")
    return value


def _number(environ: Mapping[str, str], name: str, highest: int) -> int:
    value = require(environ, name)
    if not value.isascii() or not value.isdigit() or int(value) > highest:
        raise ConfigurationError(f"{name} is not a number from 0 to {highest}: {value!r}")
    return int(value)


def read_instance(environ: Mapping[str, str]) -> Instance:
    """Read the instance from its variables; ports that no variable names are left out."""
    return Instance(
        id=_number(environ, "AI_INSTANCE_ID", HIGHEST_PORT),
        root=Path(require(environ, "AI_INSTANCE_ROOT")),
        backend=environ.get("ORIENTER_BACKEND") or "unknown",
        host=environ.get("SERVICE_HOST") or "127.0.0.1",
        ports={name: _number(environ, key, HIGHEST_PORT) for name, key in PORTS.items() if environ.get(key)},
        database=environ.get("POSTGRES_DB", ""),
        bucket=environ.get("S3_BUCKET", ""),
        whatsapp_enabled=environ.get("WHATSAPP_ENABLED", "").lower() == "true",
    )
