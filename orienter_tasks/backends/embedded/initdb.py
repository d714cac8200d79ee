"""Make PostgreSQL's data with its own programs, and give it the instance's user while nothing serves it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded.programs import version_of
from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orienter_tasks.backends.embedded.user import Account

FIRST_USER = "orienter_template"
OPTIONS = ("-U", FIRST_USER, "-A", "scram-sha-256", "-E", "UTF8", "--wal-segsize=1", "-N", "--no-instructions")
SECONDS = 120.0
UNKNOWN_LOCALE = "invalid locale name"
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
    text = version_of(directory / "postgres", "--version")
    match = re.search(r"\) (\d+)", text)
    return Release(directory, text, int(match[1]) if match else 0)


def locales(major: int) -> Sequence[tuple[str, ...]]:
    """Return what to try in turn: sorted by code point, upper and lower case of all letters, as the official image."""
    if major >= BUILTIN_LOCALES_SINCE:
        return [("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")]
    return [("--locale=C", f"--lc-ctype={name}") for name in ("C.UTF-8", "en_US.UTF-8", "C")]


def initdb(data: Path, postgres: Release, account: Account) -> None:
    """Make a cluster whose superuser's password is thrown away.

    Raises:
        CheckError: with what initdb says.
    """
    data.mkdir(mode=0o700)
    account.give(data)
    pwfile = data.with_name(f"{data.name}.pw")
    try:
        descriptor = os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
            if account.owner:
                os.fchown(descriptor, *account.owner)
        for locale in locales(postgres.major):
            arguments = (*OPTIONS, *locale, "-D", str(data), "--pwfile", str(pwfile))
            done = _run(account.command(postgres.directory / "initdb", *arguments), postgres, data)
            if UNKNOWN_LOCALE not in done.stdout:
                break
    finally:
        pwfile.unlink(missing_ok=True)
    if done.returncode != 0:
        raise _failed(f"initdb of {postgres.text} failed for {data}", done)


@dataclass(frozen=True)
class Owner:
    """The instance's user, its password, and its database."""

    user: str
    password: str = field(repr=False)
    database: str


def take_over(data: Path, postgres: Release, account: Account, owner: Owner) -> None:
    """Give the superuser of a cluster that nothing serves its name and password, and make its database.

    Raises:
        CheckError: with what PostgreSQL says.
    """
    statements = (
        f"ALTER ROLE CURRENT_USER PASSWORD {_literal(owner.password)}",
        f"CREATE DATABASE {_identifier(owner.database)}",
        f"UPDATE pg_authid SET rolname = {_literal(owner.user)} WHERE rolname = '{FIRST_USER}'",  # noqa: S608 - escaped
        "SELECT FROM pg_authid, pg_database",  # marks the new rows as committed, which else the first login would write
    )
    options = ("fsync=off", "log_min_error_statement=panic", "password_encryption=scram-sha-256", "log_checkpoints=off")
    settings = [word for option in options for word in ("-c", option)]
    command = account.command(postgres.directory / "postgres", "--single", "-D", str(data), *settings, "template1")
    done = _run(command, postgres, data, stdin="".join(f"{statement}\n" for statement in statements))
    if done.returncode != 0 or re.search(r"\b(ERROR|FATAL|PANIC):", done.stdout):
        raise _failed(f"{postgres.text} cannot take {data} for user {owner.user!r}", done)


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
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{postgres.text} does not finish its data directory {data}") from error


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """Write a string constant on one line, which is where single-user mode ends a statement."""
    escaped = "".join(f"\\x{ord(char):02x}" if char in "\\'" or ord(char) < ord(" ") else char for char in text)
    return f"E'{escaped}'"


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> CheckError:
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return CheckError(what, hint=SPACE_HINT if DISK_FULL in done.stdout else "", details=lines[-TAIL_LINES:])
