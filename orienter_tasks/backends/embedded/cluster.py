"""PostgreSQL's data directory: a copy of a template that this machine keeps, so only the first costs an initdb.

A template's superuser has a password that nobody knows. Each copy gets the instance's own user and password in
single-user mode, where no login is asked for and no port is open, before it gets its final name.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import binaries
from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.state import locked, private_dir, state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.backend import Site
    from orienter_tasks.backends.embedded.unprivileged import Account
    from orienter_tasks.stack.component import Note

TEMPLATE_USER = "orienter_template"
TEMPLATE_SECONDS = 120.0
INITDB = ("-U", TEMPLATE_USER, "-A", "scram-sha-256", "-E", "UTF8", "--wal-segsize=1", "-N", "--no-instructions")
UNKNOWN_LOCALE = "invalid locale name"
LONGEST_NAME = 63  # bytes, PostgreSQL's NAMEDATALEN - 1
BUILTIN_LOCALES_SINCE = 17
DISK_FULL = "No space left on device"
SPACE_HINT = "free some space, then run this again"
TAIL_LINES = 5


@dataclass(frozen=True)
class Release:
    """A PostgreSQL on this machine.

    Attributes:
        directory: where its programs are.
        text: what `postgres --version` says.
        major: the version that data directories are tied to.
    """

    directory: Path
    text: str
    major: int


def release(directory: Path) -> Release:
    """Ask the `postgres` in a directory which version it is.

    Raises:
        BackendError: when it cannot run here.
    """
    text = binaries.version_of(directory / "postgres", "--version")
    match = re.search(r"\) (\d+)", text)
    return Release(directory, text, int(match[1]) if match else 0)


def cache_dir() -> Path:
    """Return where the templates are kept; ORIENTER_STATE_DIR moves them too."""
    if os.environ.get("ORIENTER_STATE_DIR"):
        return state_dir() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("orienter", appauthor=False))


def prepare(site: Site, data: Path, postgres: Release, account: Account, note: Note) -> None:
    """Require a data directory of this release, making it when there is none.

    Raises:
        CheckError: what is there is of another major version, or is no data directory, and was not touched; or the
            directory cannot be written.
        ConfigError: the user's name cannot be one.
    """
    if not _is_empty(site, data):
        _require_same_major(site, data, postgres)
        with _told(site, data):
            account.open_way(data.parent)
            account.give(data)
        return
    _check_user(site.variables["POSTGRES_USER"])
    private_dir(data.parent)
    account.open_way(data.parent)
    partial = data.with_name(f".{data.name}.new")
    with _told(site, data):
        try:
            _make(site, partial, postgres, account, note)
            partial.replace(data)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _make(site: Site, partial: Path, postgres: Release, account: Account, note: Note) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    template = None if account.owner else _template(postgres, account, note)
    if template is not None:
        shutil.copytree(template, partial, symlinks=True)
        try:
            _take_over(site, partial, postgres, account)
        except CheckError as error:
            if error.hint == SPACE_HINT:
                raise
            shutil.rmtree(template)  # somebody tidied up in it; the next instance makes another
            shutil.rmtree(partial)
        else:
            return
    note("initdb")
    _initdb(partial, postgres, account)
    _take_over(site, partial, postgres, account)


def _template(postgres: Release, account: Account, note: Note) -> Path | None:
    """Return the template of a release, made at most once per machine; None where none can be kept."""
    facts = [postgres.text, platform.machine(), *INITDB, *_locales(postgres.major)]
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
    except (OSError, ConfigError):
        return None
    return template


def _build(template: Path, postgres: Release, account: Account) -> None:
    partial = template.with_name(f".{template.name}.{os.getpid()}")
    try:
        _initdb(partial, postgres, account)
        partial.replace(template)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _locales(major: int) -> Sequence[tuple[str, ...]]:
    """Return what to try in turn: sorted by code point, upper and lower case of all letters, as the official image."""
    if major >= BUILTIN_LOCALES_SINCE:
        return [("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")]
    return [("--locale=C", f"--lc-ctype={name}") for name in ("C.UTF-8", "en_US.UTF-8", "C")]


def _initdb(data: Path, postgres: Release, account: Account) -> None:
    """Make a cluster whose superuser's password is thrown away."""
    data.mkdir(mode=0o700)
    account.give(data)
    pwfile = data.with_name(f"{data.name}.pw")
    try:
        descriptor = os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
            if account.owner:
                os.fchown(descriptor, *account.owner)
        for locale in _locales(postgres.major):
            arguments = (*INITDB, *locale, "-D", str(data), "--pwfile", str(pwfile))
            done = _run(account.command(postgres.directory / "initdb", *arguments), postgres, data)
            if UNKNOWN_LOCALE not in done.stdout:
                break
    finally:
        pwfile.unlink(missing_ok=True)
    if done.returncode != 0:
        raise _failed(f"initdb of {postgres.text} failed for {data}", done)


def _take_over(site: Site, data: Path, postgres: Release, account: Account) -> None:
    """Give the superuser of a cluster that nothing serves its name and password."""
    user, password = site.variables["POSTGRES_USER"], site.variables["POSTGRES_PASSWORD"]
    statements = (
        f"ALTER ROLE CURRENT_USER PASSWORD {_literal(password)}",
        f"UPDATE pg_authid SET rolname = {_literal(user)} WHERE rolname = '{TEMPLATE_USER}'",  # noqa: S608 - escaped
    )
    options = ("fsync=off", "log_min_error_statement=panic", "password_encryption=scram-sha-256", "log_checkpoints=off")
    settings = [word for option in options for word in ("-c", option)]
    command = account.command(postgres.directory / "postgres", "--single", "-D", str(data), *settings, "template1")
    done = _run(command, postgres, data, stdin="".join(f"{statement}\n" for statement in statements))
    if done.returncode != 0 or re.search(r"\b(ERROR|FATAL|PANIC):", done.stdout):
        raise _failed(f"{postgres.text} cannot take {data} for user {user!r}", done)


def _run(command: Sequence[str], postgres: Release, data: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=data,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},  # as in the official image
            encoding="utf-8",
            errors="replace",
            timeout=TEMPLATE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{postgres.text} does not finish its data directory {data}") from error


def _literal(text: str) -> str:
    """Write a string constant on one line, which is where single-user mode ends a statement."""
    escaped = "".join(f"\\x{ord(char):02x}" if char in "\\'" or ord(char) < ord(" ") else char for char in text)
    return f"E'{escaped}'"


def _check_user(user: str) -> None:
    reserved = user.startswith("pg_") or user in ("public", "none")
    if not user or reserved or len(user.encode()) > LONGEST_NAME or "\0" in user:
        raise ConfigError(f"POSTGRES_USER {user!r} cannot be a PostgreSQL user", hint="change it in .env")


def _is_empty(site: Site, data: Path) -> bool:
    """Say whether there is no cluster yet.

    Raises:
        CheckError: there is something else.
    """
    with _told(site, data):
        if (data / "PG_VERSION").is_file():
            return False
        if not data.exists() or not any(data.iterdir()):
            return True
    raise CheckError(
        f"{data} of {site.instance} holds files but no PostgreSQL data", hint="move them away; nothing was touched"
    )


def _require_same_major(site: Site, data: Path, postgres: Release) -> None:
    with _told(site, data):
        written_by = (data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    if written_by != str(postgres.major):
        raise CheckError(
            f"the data of {site.instance} was written by PostgreSQL {written_by}, "
            f"and {postgres.directory} is PostgreSQL {postgres.major}; nothing was touched",
            hint=f"name a PostgreSQL {written_by} in orienter.embedded.postgres_bin to dump it, "
            "or begin anew with: inv infra.down --volumes",
        )


@contextmanager
def _told(site: Site, data: Path) -> Iterator[None]:
    """Name the instance and the directory in what goes wrong below."""
    try:
        yield
    except shutil.Error as error:
        reasons = sorted({str(reason) for *_, reason in error.args[0]})
        raise _unusable(site, data, reasons[0]) from error
    except OSError as error:
        raise _unusable(site, data, str(error)) from error


def _unusable(site: Site, data: Path, reason: str) -> CheckError:
    if DISK_FULL in reason:
        return CheckError(f"no space is left for {data} of {site.instance}", hint=SPACE_HINT)
    return CheckError(f"cannot use {data} of {site.instance}: {reason}")


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> CheckError:
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return CheckError(what, hint=SPACE_HINT if DISK_FULL in done.stdout else "", details=lines[-TAIL_LINES:])
