"""PostgreSQL's data directory: a copy of a template in this machine's cache, so initdb runs only once.

A template's superuser has a random password that is thrown away. Before a copy gets its final name, it gets the
instance's user, password and database in single-user mode, which needs no login and opens no port.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.clients.postgres import identifier, literal
from orienter_tasks.backends.embedded.programs import major_of, postgres_bin, postgres_program, postgres_version
from orienter_tasks.backends.embedded.user import prefix_for_postgres
from orienter_tasks.errors import CheckError, ConfigError, ConflictError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import locked, private_dir, state_dir
from orienter_tasks.processes import census
from orienter_tasks.processes.stop import end

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

FIRST_USER = "orienter_template"
INITDB_OPTIONS = ("-U", FIRST_USER, "-A", "scram-sha-256", "-E", "UTF8", "--wal-segsize=1", "-N", "--no-instructions")
SINGLE_USER = ("fsync=off", "log_min_error_statement=panic", "password_encryption=scram-sha-256", "log_checkpoints=off")
BUILTIN_LOCALES_SINCE = 17
UNKNOWN_LOCALE = "invalid locale name"
DISK_FULL = "No space left on device"
SPACE_HINT = "free some space, then run this again"
SECONDS = 120.0
ORPHAN_SECONDS = 2.0
TAIL_LINES = 5
LONGEST_NAME = 63  # bytes, PostgreSQL's NAMEDATALEN - 1


class Installation(msgspec.Struct, frozen=True):
    """A PostgreSQL on this machine, and the prefix of its commands that lets this user run it."""

    directory: Path
    version: str
    major: int
    prefix: Sequence[str]

    @classmethod
    def of(cls, settings: Settings, data: Path) -> Installation:
        directory = postgres_bin(settings, data)
        return cls(directory, postgres_version(directory), major_of(directory), prefix_for_postgres(data))

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(postgres_program(self.directory, program)), *arguments]


def prepare(config: InstanceConfig, data: Path, postgres: Installation, note: Note) -> None:
    """Require a data directory of this PostgreSQL's major version; create it if there is none."""
    with _explained(config, data):
        if _is_there(config, data):
            _require_same_major(config, data, postgres)
            return
    _check_user(config.variables["POSTGRES_USER"])
    private_dir(data.parent)
    place = data.resolve()  # may be a link to another disk
    partial = place.with_name(f".{place.name}.new")
    with _explained(config, data):
        try:
            _make(config.variables.values, partial, postgres, note)
            partial.replace(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def cache_dir() -> Path:
    """Return the directory of the templates; ORIENTER_STATE_DIR moves them too."""
    if os.environ.get("ORIENTER_STATE_DIR"):
        return state_dir() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("orienter", appauthor=False))


def locales(major: int) -> Sequence[tuple[str, ...]]:
    """Return locales to try in turn: sort by code point, map the case of all letters, as in the official image."""
    if major >= BUILTIN_LOCALES_SINCE:
        return [("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")]
    return [("--locale=C", f"--lc-ctype={name}") for name in ("C.UTF-8", "en_US.UTF-8", "C")]


def _make(variables: Mapping[str, str], partial: Path, postgres: Installation, note: Note) -> None:
    _discard(partial)
    template = _template(postgres, note)
    if template is not None:
        shutil.copytree(template, partial, symlinks=True)
        try:
            _take_over(variables, partial, postgres)
        except CheckError as error:
            if error.hint == SPACE_HINT:
                raise
            shutil.rmtree(template)  # it is damaged; the next instance makes a new one
            shutil.rmtree(partial)
        else:
            return
    note("initdb")
    _initdb(partial, postgres)
    _take_over(variables, partial, postgres)


def _template(postgres: Installation, note: Note) -> Path | None:
    """Return the template of this PostgreSQL, made once per machine; None if it cannot be stored."""
    from orienter_tasks.backends.embedded.features import built_with

    facts = [postgres.version, platform.machine(), *INITDB_OPTIONS, *locales(postgres.major)]
    facts += built_with(postgres.directory)  # initdb makes a collation of each locale that ICU knows
    key = f"postgres-{postgres.major}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
    template = cache_dir() / key
    if (template / "PG_VERSION").is_file():
        return template
    try:
        private_dir(template.parent)
        with locked(key, timeout=SECONDS, on_wait=lambda holder: note(f"waiting for {holder}")):
            if not template.exists():
                note("initdb")
                _build(template, postgres)
    except (OSError, CheckError, ConfigError, ConflictError):
        return None
    return template


def _build(template: Path, postgres: Installation) -> None:
    partial = template.with_name(f".{template.name}.new")  # the lock is held: if it exists, its run was killed
    _discard(partial)
    try:
        _initdb(partial, postgres)
        partial.replace(template)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _discard(partial: Path) -> None:
    """Remove the unfinished cluster of a killed run, and end that run's initdb if it still works in it."""
    if partial.exists():
        busy = census.take().working_in(partial, ("initdb", "postgres", "sh"))
        end(dict.fromkeys(busy, signal.SIGKILL), ORPHAN_SECONDS)
        shutil.rmtree(partial, ignore_errors=True)


def _initdb(data: Path, postgres: Installation) -> None:
    data.mkdir(mode=0o700)
    pwfile = data.with_name(f"{data.name}.pw")
    try:
        descriptor = os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        for locale in locales(postgres.major):
            arguments = (*INITDB_OPTIONS, *locale, "-D", str(data), "--pwfile", str(pwfile))
            done = _run(postgres, data, "initdb", *arguments)
            if UNKNOWN_LOCALE not in done.stdout:
                break
    finally:
        pwfile.unlink(missing_ok=True)
    if done.returncode != 0:
        raise _failed(f"initdb of {postgres.version} failed for {data}", done)


def _take_over(variables: Mapping[str, str], data: Path, postgres: Installation) -> None:
    """Set the superuser's name and password in a cluster that is not running, and create the database."""
    user, password, database = (variables[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
    _execute(
        data,
        postgres,
        f"ALTER ROLE CURRENT_USER PASSWORD {literal(password)}",
        f"CREATE DATABASE {identifier(database)}",
        f"UPDATE pg_authid SET rolname = {literal(user)} WHERE rolname = '{FIRST_USER}'",  # noqa: S608 - escaped
        "SELECT FROM pg_authid, pg_database",  # sets hint bits that the first login would write otherwise
        what=f"{postgres.version} cannot take {data} for user {user!r}",
    )


def take_over(config: InstanceConfig, data: Path, postgres: Installation, statements: Sequence[str]) -> None:
    """Give a cluster that is not running, and that another instance made, this instance's password and names."""
    with _explained(config, data):
        _require_same_major(config, data, postgres)
    _execute(data, postgres, *statements, what=f"{config.instance} cannot take over data of another instance")


def _execute(data: Path, postgres: Installation, *statements: str, what: str) -> None:
    """Execute statements, each on one line, in a cluster that is not running; `what` names a failure."""
    settings = [word for option in SINGLE_USER for word in ("-c", option)]
    text = "".join(f"{statement}\n" for statement in statements)
    done = _run(postgres, data, "postgres", "--single", "-D", str(data), *settings, "template1", stdin=text)
    if done.returncode != 0 or re.search(r"\b(ERROR|FATAL|PANIC):", done.stdout):
        raise _failed(what, done)


def _run(
    postgres: Installation, data: Path, program: str, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            postgres.command(program, *arguments),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=data,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},  # as in the official image
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(
            f"{postgres.version} takes longer than {SECONDS:.0f} s for its data directory {data}"
        ) from error


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> CheckError:
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return CheckError(what, hint=SPACE_HINT if DISK_FULL in done.stdout else "", details=lines[-TAIL_LINES:])


def _check_user(user: str) -> None:
    reserved = user.startswith("pg_") or user in ("public", "none")
    if not user or reserved or len(user.encode()) > LONGEST_NAME or "\0" in user:
        raise ConfigError(f"POSTGRES_USER {user!r} cannot be a PostgreSQL user", hint="change it in .env")


def _is_there(config: InstanceConfig, data: Path) -> bool:
    if (data / "PG_VERSION").is_file():
        return True
    if data.exists() and any(data.iterdir()):
        raise CheckError(
            f"{data} of {config.instance} contains files, but not PostgreSQL data",
            hint="move them away; nothing was touched",
        )
    return False


def _require_same_major(config: InstanceConfig, data: Path, postgres: Installation) -> None:
    written_by = read_small(data / "PG_VERSION").decode("ascii", "replace").strip()
    if written_by != str(postgres.major):
        raise CheckError(
            f"the data of {config.instance} was written by PostgreSQL {written_by}, "
            f"and {postgres.directory} is PostgreSQL {postgres.major}; nothing was touched",
            hint=f"name a PostgreSQL {written_by} in orienter.embedded.postgres_bin to dump it, "
            "or start over with: inv infra.down --volumes",
        )


@contextmanager
def _explained(config: InstanceConfig, data: Path) -> Iterator[None]:
    """Name the instance and the directory in errors of the file system."""
    try:
        yield
    except (shutil.Error, OSError) as error:  # shutil.Error is an OSError with a list of reasons
        reason = min(str(why) for *_, why in error.args[0]) if isinstance(error, shutil.Error) else str(error)
        if DISK_FULL in reason:
            raise CheckError(f"no space is left for {data} of {config.instance}", hint=SPACE_HINT) from error
        raise CheckError(f"cannot use {data} of {config.instance}: {reason}") from error
