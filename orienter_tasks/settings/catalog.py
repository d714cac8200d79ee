"""The catalog of infrastructure: the facts of each component that every layer may need, before its code is loaded.

A host enters further ones in its tasks.py, by `orienter_tasks.infra.all.register`, and its settings add others: so
whoever needs the names asks when a task runs, never at import.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class CatalogEntry(Struct, frozen=True, kw_only=True):
    """The facts of one component.

    The values of `defaults` and `variables` may hold `${NAME}` for another variable of the instance and
    `${section.key}` for a setting; what is put into an address (`scheme://…`) is percent-encoded.

    Attributes:
        name: names its container, its data and its record.
        ports: its ports' names and bases; it serves on the first.
        image: its Docker image, unless the settings name another.
        awaited: whether hooks wait for it; such components are started first.
        data: whether it keeps data, in a volume.
        files: where the embedded server keeps them below its working directory.
        further_processes: names of native processes other than the one named like the component.
        titles: programs that write their titles over their environments, and which of its processes that is: those
            are recognized by their working directory.
        program: the key of `embedded` that names its native program, if there is one; "" where none can be chosen.
        stop_signal: ends its native processes gracefully.
        secrets: those of `defaults` that are passwords.
        defaults: variables that `.env` and the environment may set, and their values where neither does.
        numbered: variables that end in the instance's id: the base before it, which `.env` may set, and the separator.
        variables: variables that follow from the others.
        shields: variables that could lead its clients elsewhere: services get this value instead, or none where it is
            "".
        inherit: the setting under which services get the user's own values of these.
        wins: those of `shields` that then win over derived variables, and how.
        holds: what its server holds, in the plural; the first of `numbered`, if there is one, names the instance's own,
            and `infra.verify` looks for other instances' among them.
        further: whether it is part of the infrastructure only where the settings say so.
    """

    name: str
    ports: Mapping[str, int]
    image: str = ""
    awaited: bool = True
    data: bool = False
    files: str = ""
    further_processes: Sequence[str] = ()
    titles: Mapping[str, str] = {}
    program: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    secrets: Sequence[str] = ()
    defaults: Mapping[str, str] = {}
    numbered: Mapping[str, tuple[str, str]] = {}
    variables: Mapping[str, str] = {}
    shields: Mapping[str, str] = {}
    inherit: str = ""
    wins: Mapping[str, str] = {}
    holds: str = ""
    further: bool = False

    @property
    def port(self) -> str:
        """The name of the port on which it serves."""
        return next(iter(self.ports))

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of its native processes' records, the main one first."""
        return (self.name, *self.further_processes)


POSTGRES = CatalogEntry(
    name="postgres",
    ports={"postgres": 5432},
    image="postgres:16-alpine",
    data=True,
    titles={"postgres": "postgres", "postmaster": "postgres"},
    program="postgres_bin",
    stop_signal=signal.SIGINT,  # disconnects its clients
    secrets=("POSTGRES_PASSWORD",),
    defaults={"POSTGRES_USER": "${database.user}", "POSTGRES_PASSWORD": "${database.password}"},
    numbered={"POSTGRES_DB": ("${database.name}", "_")},
    variables={
        "DATABASE_URL": "postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${POSTGRES_PORT}/${POSTGRES_DB}",
        "PGHOST": "127.0.0.1",
        "PGPORT": "${POSTGRES_PORT}",
        "PGUSER": "${POSTGRES_USER}",
        "PGPASSWORD": "${POSTGRES_PASSWORD}",
        "PGDATABASE": "${POSTGRES_DB}",
    },
    shields=dict.fromkeys(
        (
            *("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGPASSFILE", "PGTARGETSESSIONATTRS"),
            *("PGREQUIREAUTH", "PGCHANNELBINDING", "PGREQUIREPEER", "PGGSSENCMODE", "PGREQUIRESSL", "PGSSLMODE"),
            *("PGSSLNEGOTIATION", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"),
        ),
        "",
    ),
    holds="databases",
)
MINIO = CatalogEntry(
    name="minio",
    ports={"minio_api": 9000, "minio_console": 9001},
    image="minio/minio:RELEASE.2025-09-07T16-13-09Z",
    data=True,
    files="data",
    further_processes=("minio-front",),
    titles={"nginx": "minio-front"},
    program="minio",
    secrets=("MINIO_ROOT_PASSWORD",),
    defaults={"MINIO_ROOT_USER": "${storage.user}", "MINIO_ROOT_PASSWORD": "${storage.password}"},
    numbered={"S3_BUCKET": ("${storage.bucket}", "-")},
    variables={
        "AWS_ENDPOINT_URL": "http://127.0.0.1:${MINIO_API_PORT}",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:${MINIO_API_PORT}",
        "AWS_ACCESS_KEY_ID": "${MINIO_ROOT_USER}",
        "AWS_SECRET_ACCESS_KEY": "${MINIO_ROOT_PASSWORD}",
        "AWS_REGION": "${storage.region}",
        "AWS_DEFAULT_REGION": "${storage.region}",  # botocore reads no other
        # newer SDKs send and expect checksums that other S3 servers than AWS's do not all know
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    },
    shields={
        **dict.fromkeys(
            (
                *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
                *("AWS_CREDENTIAL_EXPIRATION", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
                *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
                *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"),
            ),
            "",
        ),
        # files that are there but empty: an unset variable would mean those in ~/.aws
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    },
    inherit="storage.inherit_aws",
    wins={
        "AWS_PROFILE": "the SDK for JavaScript takes its keys",
        "AWS_SESSION_TOKEN": "it is sent with the derived keys",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "SDKs talk to AWS",
        "AWS_USE_FIPS_ENDPOINT": "SDKs refuse any other endpoint",
        "AWS_USE_DUALSTACK_ENDPOINT": "SDKs refuse any other endpoint",
    },
    holds="buckets",
)
NGINX = CatalogEntry(
    name="nginx",
    ports={"nginx": 80},
    image="nginx:alpine",
    awaited=False,
    titles={"nginx": "nginx"},
    program="nginx",
)

REDIS = CatalogEntry(
    name="redis",
    ports={"redis": 6379},
    image="valkey/valkey:8-alpine",
    data=True,
    program="redis",
    secrets=("REDIS_PASSWORD",),
    defaults={"REDIS_PASSWORD": "development"},
    variables={
        "REDIS_URL": "redis://:${REDIS_PASSWORD}@127.0.0.1:${REDIS_PORT}/0",
        "REDIS_HOST": "127.0.0.1",
    },
    holds="keyspaces",
    further=True,
)

LINK = "link"
"""The ssh by which an instance reaches an engine on another machine: part of its infrastructure, and no server."""

BUILT_IN = (POSTGRES, MINIO, NGINX)
PRESETS = {entry.name: entry for entry in (REDIS,)}
"""Components that a host's settings can add by name."""

_entries: dict[str, CatalogEntry] = {entry.name: entry for entry in BUILT_IN}
_further: dict[str, CatalogEntry] = {}


def add(entry: CatalogEntry) -> None:
    """Enter a component; it replaces one of the same name.

    Raises:
        ValueError: one of its names is another component's.
    """
    others = [other for other in _entries.values() if other.name != entry.name]
    taken = {name for other in others for name in (*other.ports, *other.processes)}
    clash = sorted(taken & {*entry.ports, *entry.processes})
    if clash:
        raise ValueError(f"{', '.join(clash)} of {entry.name} is the name of another component's port or process")
    _entries[entry.name] = entry


def set_further(wanted: Iterable[CatalogEntry]) -> None:
    """Enter the components that settings add or change, in place of those of settings that were read before."""
    _further.clear()
    _further.update((entry.name, entry) for entry in wanted)


@contextmanager
def keeping() -> Iterator[None]:
    """Keep the components of the present settings, beside those of others that are read within."""
    former = dict(_further)
    try:
        yield
    finally:
        _further.update(former)


def entries() -> Sequence[CatalogEntry]:
    """Return the facts of all components, in the order in which they are listed everywhere."""
    return list({**_entries, **_further}.values())


def entry_of(name: str) -> CatalogEntry:
    return _further.get(name) or _entries[name]


def names() -> list[str]:
    return list({**_entries, **_further})


def built_in(name: str) -> CatalogEntry | None:
    """Return the facts of a component that is there without settings, as they are without them."""
    return _entries.get(name)


def with_data() -> list[str]:
    return [entry.name for entry in entries() if entry.data]


def awaited() -> list[str]:
    """Name the components that hooks wait for."""
    return [entry.name for entry in entries() if entry.awaited]


def ports() -> dict[str, int]:
    """Return the bases of all components' ports."""
    return {name: base for entry in entries() for name, base in entry.ports.items()}


def registered() -> list[str]:
    """Name the components that the host's tasks.py has registered."""
    return [*_entries.keys() - {entry.name for entry in BUILT_IN}]


def inputs() -> list[str]:
    """Name the variables that `.env` and the environment may set."""
    return [name for entry in entries() for name in entry.defaults]


def secrets() -> list[str]:
    """Name the variables that hold the components' passwords."""
    return [name for entry in entries() for name in entry.secrets]


def numbered() -> list[str]:
    """Name the variables that end in the instance's id."""
    return [name for entry in entries() for name in entry.numbered]


def component_of_port(port: str) -> str:
    """Name the component that a port of that name belongs to; "" for any other port."""
    return next((entry.name for entry in entries() if port in entry.ports), "")


def is_infrastructure(name: str) -> bool:
    """Whether a component is part of the infrastructure, and so no service or hook."""
    return name == LINK or bool(component_of(name))


def last() -> list[str]:
    """Name the components that nothing waits for."""
    return [entry.name for entry in entries() if not entry.awaited]


def processes() -> list[str]:
    return [process for entry in entries() for process in entry.processes]


def component_of(process: str) -> str:
    """Name the component that a native process of that name is part of; "" for a service or hook."""
    return next((entry.name for entry in entries() if process in entry.processes), "")
