"""PostgreSQL's data directory: a copy of a template that this machine keeps, so only the first costs an initdb.

A template's superuser has a password that nobody knows. Each copy gets the instance's own user and password in
single-user mode, where no login is asked for and no port is open, before it gets its final name.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import initdb
from orienter_tasks.backends.embedded.initdb import DISK_FULL, SPACE_HINT, Owner
from orienter_tasks.errors import CheckError, ConfigError, ConflictError
from orienter_tasks.machine.state import locked, private_dir, state_dir
from orienter_tasks.processes import census
from orienter_tasks.processes.stop import end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.embedded.initdb import Release
    from orienter_tasks.backends.embedded.user import Account
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.stack.component import Note

TEMPLATE_SECONDS = 120.0
ORPHAN_SECONDS = 2.0
LONGEST_NAME = 63  # bytes, PostgreSQL's NAMEDATALEN - 1


def cache_dir() -> Path:
    """Return where the templates are kept; ORIENTER_STATE_DIR moves them too."""
    if os.environ.get("ORIENTER_STATE_DIR"):
        return state_dir() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("orienter", appauthor=False))


def prepare(config: InstanceConfig, data: Path, postgres: Release, account: Account, note: Note) -> None:
    """Require a data directory of this release, making it when there is none.

    Raises:
        CheckError: what is there is of another major version, or is no data directory, and was not touched; or the
            directory cannot be written.
        ConfigError: the user's name cannot be one.
    """
    if not _is_empty(config, data):
        _require_same_major(config, data, postgres)
        with _told(config, data):
            account.open_way(data.parent)
            account.give(data)
        return
    _check_user(config.variables["POSTGRES_USER"])
    private_dir(data.parent)
    account.open_way(data.parent)
    place = data.resolve()  # it may be a link to another disk
    partial = place.with_name(f".{place.name}.new")
    with _told(config, data):
        try:
            _make(config, partial, postgres, account, note)
            partial.replace(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _make(config: InstanceConfig, partial: Path, postgres: Release, account: Account, note: Note) -> None:
    _discard(partial)
    template = None if account.owner else _template(postgres, account, note)
    if template is not None:
        shutil.copytree(template, partial, symlinks=True)
        try:
            _take_over(config, partial, postgres, account)
        except CheckError as error:
            if error.hint == SPACE_HINT:
                raise
            shutil.rmtree(template)  # somebody tidied up in it; the next instance makes another
            shutil.rmtree(partial)
        else:
            return
    note("initdb")
    initdb.initdb(partial, postgres, account)
    _take_over(config, partial, postgres, account)


def _template(postgres: Release, account: Account, note: Note) -> Path | None:
    """Return the template of a release, made at most once per machine; None where none can be kept."""
    facts = [postgres.text, platform.machine(), *initdb.OPTIONS, *initdb.locales(postgres.major)]
    key = f"postgres-{postgres.major}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
    template = cache_dir() / key
    if (template / "PG_VERSION").is_file():
        return template
    try:
        private_dir(template.parent)
        with locked(key, timeout=TEMPLATE_SECONDS, on_wait=lambda holder: note(f"waiting for {holder}")):
            if not template.exists():
                note("initdb")
                _build(template, postgres, account)
    except (OSError, CheckError, ConfigError, ConflictError):
        return None
    return template


def _take_over(config: InstanceConfig, partial: Path, postgres: Release, account: Account) -> None:
    values = config.variables
    owner = Owner(values["POSTGRES_USER"], values["POSTGRES_PASSWORD"], values["POSTGRES_DB"])
    initdb.take_over(partial, postgres, account, owner)


def _build(template: Path, postgres: Release, account: Account) -> None:
    partial = template.with_name(f".{template.name}.new")  # the lock is held: only a killed run's can be there
    _discard(partial)
    try:
        initdb.initdb(partial, postgres, account)
        partial.replace(template)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _discard(partial: Path) -> None:
    """Remove a half-made cluster of a run that was killed, and end what that run's initdb still does in it."""
    if partial.exists():
        busy = census.take().working_in(partial, ("initdb", "postgres", "sh"))
        end(dict.fromkeys(busy, signal.SIGKILL), ORPHAN_SECONDS)
        shutil.rmtree(partial, ignore_errors=True)


def _check_user(user: str) -> None:
    reserved = user.startswith("pg_") or user in ("public", "none")
    if not user or reserved or len(user.encode()) > LONGEST_NAME or "\0" in user:
        raise ConfigError(f"POSTGRES_USER {user!r} cannot be a PostgreSQL user", hint="change it in .env")


def _is_empty(config: InstanceConfig, data: Path) -> bool:
    """Say whether there is no cluster yet.

    Raises:
        CheckError: there is something else.
    """
    with _told(config, data):
        if (data / "PG_VERSION").is_file():
            return False
        if not data.exists() or not any(data.iterdir()):
            return True
    raise CheckError(
        f"{data} of {config.instance} holds files but no PostgreSQL data", hint="move them away; nothing was touched"
    )


def _require_same_major(config: InstanceConfig, data: Path, postgres: Release) -> None:
    with _told(config, data):
        written_by = (data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    if written_by != str(postgres.major):
        raise CheckError(
            f"the data of {config.instance} was written by PostgreSQL {written_by}, "
            f"and {postgres.directory} is PostgreSQL {postgres.major}; nothing was touched",
            hint=f"name a PostgreSQL {written_by} in orienter.embedded.postgres_bin to dump it, "
            "or begin anew with: inv infra.down --volumes",
        )


@contextmanager
def _told(config: InstanceConfig, data: Path) -> Iterator[None]:
    """Name the instance and the directory in what goes wrong below."""
    try:
        yield
    except shutil.Error as error:
        reasons = sorted({str(reason) for *_, reason in error.args[0]})
        raise _unusable(config, data, reasons[0]) from error
    except OSError as error:
        raise _unusable(config, data, str(error)) from error


def _unusable(config: InstanceConfig, data: Path, reason: str) -> CheckError:
    if DISK_FULL in reason:
        return CheckError(f"no space is left for {data} of {config.instance}", hint=SPACE_HINT)
    return CheckError(f"cannot use {data} of {config.instance}: {reason}")
