"""PostgreSQL's data as its own pg_dump writes it; only that knows everything about the server's minor version."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orienter_tasks.backends.clients import sessions
from orienter_tasks.backends.clients.postgres import identifier, literal
from orienter_tasks.backends.embedded import cluster, programs
from orienter_tasks.errors import BackendError, CheckError
from orienter_tasks.identity import volumes
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.catalog import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.archive import Member, Writer
    from orienter_tasks.data.manifest import Part

NAME = POSTGRES.name
DUMP = f"{NAME}/dump"
BLOCK = 2**20
TAIL_LINES = 5
ROLE = "orienter_import"
EXTENSIONS = "SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname"
CREATABLE = "SELECT DISTINCT name::text FROM pg_available_extension_versions WHERE trusted"
OPTIONS = ("--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--no-password")
RESTORE = ("--no-owner", "--no-privileges", "--no-password", "--exit-on-error", "--single-transaction")


class PostgresPortable:
    """The database of the instance."""

    left_out = "roles, privileges, settings, other databases"

    def server(self, config: InstanceConfig) -> str:
        with sessions.database(config) as session:
            return f"PostgreSQL {session.rows('SHOW server_version')[0][0]}"

    def facts(self, config: InstanceConfig) -> dict[str, str]:
        with sessions.database(config) as session:
            return {"extensions": " ".join(name for (name,) in session.rows(EXTENSIONS))}

    def save(self, config: InstanceConfig, archive: Writer) -> None:
        archive.add(DUMP, _dumped(config))

    def load(self, config: InstanceConfig, part: Part, members: Iterable[Member]) -> None:
        variables, password = config.variables, secrets.token_urlsafe(32)
        database, user = identifier(variables["POSTGRES_DB"]), identifier(variables["POSTGRES_USER"])
        with sessions.database(config) as session:
            creatable = {name for (name,) in session.rows(CREATABLE)}
            lacking = sorted({*part.facts.get("extensions", "").split()} - creatable)
            if lacking:
                raise CheckError(
                    f"the PostgreSQL here cannot create extensions of the data: {', '.join(lacking)}",
                    hint="install them there, or take a server that has them (orienter.docker.postgres)",
                )
            session.rows(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER PASSWORD {literal(password)}")
            session.rows(f"ALTER DATABASE {database} OWNER TO {ROLE}")
        for member in members:
            if member.name == DUMP:
                _restore(config, password, member)
        with sessions.database(config) as session:
            session.rows(f"REASSIGN OWNED BY {ROLE} TO {user}")
            session.rows(f"DROP OWNED BY {ROLE}")
            session.rows(f"DROP ROLE {ROLE}")


def _dumped(config: InstanceConfig) -> Iterator[bytes]:
    """Dump the database with the program of the server that runs."""
    variables = config.variables
    login = {"PGUSER": variables["POSTGRES_USER"], "PGPASSWORD": variables["POSTGRES_PASSWORD"]}
    target = {**login, "PGHOST": LOOPBACK, "PGDATABASE": variables["POSTGRES_DB"]}
    if config.backends.of(NAME) == "embedded":
        program = programs.postgres_program(_started_as(config).parent, "pg_dump")
        port = {"PGPORT": str(config.instance.ports["postgres"])}
        with _running([str(program), *OPTIONS], {**target, **port}, "dumped") as process:
            if process.stdout is None:
                raise TypeError(process)
            while block := process.stdout.read(BLOCK):
                yield block
        return
    from orienter_tasks.backends.docker import engine
    from orienter_tasks.backends.docker.oneoff import running_id

    docker = engine.shared()
    container = running_id(docker, config, NAME)
    if container is None:
        raise CheckError(f"PostgreSQL of {config.instance} does not run", hint="inv infra.up")
    said = b""
    with docker.talking("dump the database", work=engine.WORK_SECONDS):
        made = docker.api.exec_create(container, ["pg_dump", *OPTIONS], environment=target)["Id"]
        for out, error in docker.api.exec_start(made, stream=True, demux=True):
            said = (said + (error or b""))[-BLOCK:]
            if out:
                yield out
        code = docker.api.exec_inspect(made)["ExitCode"]
    if code != 0:
        raise _failed("dumped", said)


def _started_as(config: InstanceConfig) -> Path:
    """Return the program of the native server, which another checkout may have chosen."""
    with suppress(OSError):
        words = read_small(volumes.working_dir(config.instance, NAME) / "postmaster.opts").decode(errors="replace")
        program = Path(words.partition(' "')[0])
        if program.is_file():
            return program
    return programs.postgres_bin(config.settings) / "postgres"


def _restore(config: InstanceConfig, password: str, dump: Member) -> None:
    found = programs.every_postgres(config.settings)
    # an older one cannot read a newer one's file
    program = programs.postgres_program(found[max(found)], "pg_restore") if found else None
    if program is None or not program.is_file():
        raise BackendError("reading the data takes pg_restore, which is not installed", hint=programs.PIP_LINE)
    database = config.variables["POSTGRES_DB"]
    port = {"PGPORT": str(config.instance.ports["postgres"])}
    login = {"PGHOST": LOOPBACK, "PGUSER": ROLE, "PGPASSWORD": password, **port}
    with _running([str(program), *RESTORE, f"--dbname={database}"], login, "restored", feed=True) as process:
        if process.stdin is None:
            raise TypeError(process)
        try:
            for block in dump.blocks():
                process.stdin.write(block)
            process.stdin.close()
        except BrokenPipeError:  # it says why
            return


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], done: str, *, feed: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; require that it succeeds, and end it on the way out of an error."""
    errors: IO[bytes]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feed else subprocess.PIPE,
            stderr=errors,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **environment},
        )
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait() != 0:
            errors.seek(0)
            raise _failed(done, errors.read(BLOCK))


def _failed(done: str, said: bytes) -> CheckError:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    hint = cluster.SPACE_HINT if any(cluster.DISK_FULL in line for line in lines) else ""
    return CheckError(f"the database cannot be {done}", hint=hint, details=lines[-TAIL_LINES:])
