"""Copying PostgreSQL's data: a base backup while it runs, else a copy of its files."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.backends.clients.postgres import identifier, literal, password_statement
from orienter_tasks.backends.embedded import cluster, programs
from orienter_tasks.data import tree
from orienter_tasks.errors import CheckError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.copying import Copying, Script
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.settings.catalog import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import Settings

NAME = POSTGRES.name
OF_ONE_SERVER = ("postmaster.pid", "postmaster.opts")
MANIFEST = "backup_manifest"
OF_THE_BACKUP = (MANIFEST, "backup_label.old")
TABLESPACES = "it has tablespaces outside of its data directory, which are not copied"
BACKUP = ("-X", "stream", "-c", "fast", "--no-sync", "--no-password")  # else its checkpoint takes minutes
TAIL_LINES = 5
POLL_SECONDS = 0.2

AS_POSTGRES = """\
as_postgres() {
    if command -v gosu >/dev/null; then gosu postgres "$@"; else su-exec postgres "$@"; fi
}
"""
BASE_BACKUP = f"""\
set -e
{AS_POSTGRES}
mkdir -p "$TARGET"
chown postgres "$TARGET"
chmod 700 "$TARGET"
as_postgres pg_basebackup -h {LOOPBACK} -D "$TARGET" {" ".join(BACKUP)} >&2
copied
as_postgres pg_verifybackup -q "$TARGET" >&2
"""
FILES = """\
set -e
mkdir -p "$TARGET"
cp -a "$SOURCE/." "$TARGET"
copied
"""
FINISH = f"""\
cd "$TARGET"
rm -f {" ".join((*OF_ONE_SERVER, *OF_THE_BACKUP))}
if [ -n "$(ls pg_tblspc)" ]; then
    echo "{TABLESPACES}" >&2
    exit 1
fi
echo "PostgreSQL $(cat PG_VERSION)"
"""
TAKE_OVER = f"""\
set -e
{AS_POSTGRES}
chown -R postgres "$TARGET"
chmod 700 "$TARGET"
set -- -c log_min_error_statement=panic -c password_encryption=scram-sha-256 -c log_checkpoints=off
if ! printf %s "$STATEMENTS" | as_postgres postgres --single -D "$TARGET" "$@" template1 >/tmp/said 2>&1 ||
    grep -qE '(ERROR|FATAL|PANIC):' /tmp/said; then
    cat /tmp/said >&2
    exit 1
fi
"""


class PostgresCopying(Copying):
    """Copies PostgreSQL's data.

    Args:
        mount: where a container has it.
        notes: files of ours in it that say something of one instance.
    """

    def __init__(self, mount: str, notes: Sequence[str]) -> None:
        self._mount = mount
        self._notes = (*OF_ONE_SERVER, *notes)

    def names(self, config: InstanceConfig) -> dict[str, str]:
        return {"user": config.variables["POSTGRES_USER"], "database": config.variables["POSTGRES_DB"]}

    def place(self, working: Path) -> Path:
        return working

    def server(self, data: Path) -> str:
        return f"PostgreSQL {read_small(data / 'PG_VERSION').decode('ascii', 'replace').strip()}"

    def reader(self, settings: Settings) -> str:
        return f"PostgreSQL {programs.major_of(programs.postgres_bin(settings))}"

    def settings_to_read(self, settings: Settings, server: str) -> Settings:
        found = {f"PostgreSQL {major}": place for major, place in programs.every_postgres(settings).items()}
        if server not in found:
            return settings
        return replace(settings, embedded=replace(settings.embedded, postgres_bin=str(found[server])))

    def copies_files(self, *, running: bool) -> bool:
        return not running

    def copy(self, config: InstanceConfig, target: Path, lock: int, *, running: bool) -> None:
        source = volumes.working_dir(config.instance, NAME).resolve()
        if running:
            postgres = cluster.Installation.of(config.settings, source)
            address = ("-h", LOOPBACK, "-p", str(config.instance.ports["postgres"]))
            user = config.variables["POSTGRES_USER"]
            backup = postgres.command("pg_basebackup", "-D", str(target), "-U", user, *address, *BACKUP)
            _run(config, backup, lock, {"PGPASSWORD": config.variables["POSTGRES_PASSWORD"]})
        else:
            tree.copy(source, target, leave_out=lambda name: name in self._notes)

    def check(self, config: InstanceConfig, target: Path, lock: int) -> None:
        if (target / MANIFEST).exists():
            postgres = cluster.Installation.of(config.settings, target)
            _run(config, postgres.command("pg_verifybackup", "-q", str(target)), lock)
        for name in (*self._notes, *OF_THE_BACKUP):
            (target / name).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            if any((target / "pg_tblspc").iterdir()):
                raise _failed(config, [TABLESPACES])

    def take_over(self, config: InstanceConfig, data: Path, names: Mapping[str, str]) -> None:
        postgres = cluster.Installation.of(config.settings, data)
        cluster.take_over(config, data, postgres, statements(config, names))

    def mount(self) -> str:
        return self._mount

    def copy_script(self, config: InstanceConfig, *, running: bool) -> Script:
        user, password = config.variables["POSTGRES_USER"], config.variables["POSTGRES_PASSWORD"]
        text = (BASE_BACKUP if running else FILES) + FINISH
        return Script(text, {"PGUSER": user, "PGPASSWORD": password})

    def server_script(self) -> str:
        return 'echo "PostgreSQL $(cat "$SOURCE/PG_VERSION")"'

    def reader_script(self) -> str:
        return """postgres -V | sed 's/.*) \\([0-9]*\\).*/PostgreSQL \\1/'"""

    def take_over_script(self, config: InstanceConfig, names: Mapping[str, str]) -> Script:
        lines = "".join(f"{statement}\n" for statement in statements(config, names))
        return Script(TAKE_OVER, {"STATEMENTS": lines})


def statements(config: InstanceConfig, names: Mapping[str, str]) -> Sequence[str]:
    """Return the statements, each on one line, that give a cluster the instance's names and password."""
    user, database = config.variables["POSTGRES_USER"], config.variables["POSTGRES_DB"]
    found = []
    if names["user"] != user:  # the user of the session cannot be renamed otherwise
        found.append(f"UPDATE pg_authid SET rolname = {literal(user)} WHERE rolname = {literal(names['user'])}")  # noqa: S608 - escaped
    if names["database"] != database:
        found.append(f"ALTER DATABASE {identifier(names['database'])} RENAME TO {identifier(database)}")
    return [*found, password_statement(config.variables)]


def _run(
    config: InstanceConfig, command: Sequence[str], lock: int, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program in a group of its own, which is ended as a whole: a base backup has a child that would go on."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **(environment or {})}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        pass_fds=(lock,),
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            said = _said(process)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise _failed(config, [line for line in said.splitlines() if line.strip()][-TAIL_LINES:])


def _said(process: subprocess.Popen[str]) -> str:
    """Return what a program says until it ends, or until a signal arrives, also where that does not interrupt it."""
    while True:
        raise_unheard()
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=POLL_SECONDS)[0]


def _failed(config: InstanceConfig, details: Sequence[str]) -> CheckError:
    full = any(cluster.DISK_FULL in line for line in details)
    hint = cluster.SPACE_HINT if full else ""
    return CheckError(f"the data of {NAME} of {config.instance} cannot be copied", hint=hint, details=details)
