"""The component postgres: a private server on loopback, with a password and no socket file."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients import sessions
from orienter_tasks.backends.clients.postgres import ensure_database, password_statement, require_accepting
from orienter_tasks.backends.clients.proof import LoginProof
from orienter_tasks.backends.embedded import postmaster, programs
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch, Server
from orienter_tasks.backends.embedded.user import prefix_for_postgres
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import CheckError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.infra.component import InfraComponent, ServerContents
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.catalog import POSTGRES
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.errors import OrienterError
    from orienter_tasks.infra.component import Unmet
    from orienter_tasks.infra.copying import Copying
    from orienter_tasks.infra.portable import Portable
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

NAME = POSTGRES.name
SHARED_MEMORY = 256  # MB: parallel queries need more than the engine's default
DATA_IN_CONTAINER = "/var/lib/postgresql/data"
INCOMPATIBLE = "database files are incompatible with server"
MAJOR = r"initialized by PostgreSQL version (\d+)"
PROOF = "orienter-login"
EXECUTE = """printf %s "$STATEMENT" | psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres"""
RETRY_SECONDS = 5.0
STILL_IN_USE = "pre-existing shared memory block"
IO_METHODS_SINCE = 18
LONGEST_NAME = 63  # bytes: NAMEDATALEN - 1
CONTENTS = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_postmaster_start_time()::text,
       current_setting('data_directory'), (SELECT array_agg(datname::text ORDER BY datname) FROM pg_database)
"""

# with fsync=off, data survives a crash of the processes, not of the machine; for that synchronous_commit must stay on
TUNING = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "jit": "off",
}


class PostgresComponent(InfraComponent):
    """PostgreSQL."""

    facts = ("system_identifier", "postgres_started_at", "data_directory")
    trace = "row"

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        del placed
        from orienter_tasks.backends.docker.spec import ContainerSpec, Health, Mount, Port, common_fields
        from orienter_tasks.infra import postgres_first_start

        variables = config.variables
        user, database = variables["POSTGRES_USER"], variables["POSTGRES_DB"]
        return ContainerSpec(
            **common_fields(config, NAME),
            network=config.instance.network,
            environment={
                "POSTGRES_USER": user,
                "POSTGRES_PASSWORD": variables["POSTGRES_PASSWORD"],
                "POSTGRES_DB": database,
                "PGDATA": _data_in_container(config),  # from 18 on, the image's own is elsewhere
            },
            ports=(Port(config.instance.ports["postgres"], 5432),),
            mounts=(Mount("volume", config.instance.volume(NAME), DATA_IN_CONTAINER),),
            shared_memory=SHARED_MEMORY,
            prelude=postgres_first_start.SCRIPT,
            # over TCP: while the database is created, a temporary server answers on the unix socket
            health=Health(("CMD", "pg_isready", "-q", "-h", LOOPBACK, "-U", user, "-d", database)),
        )

    def native(self, config: InstanceConfig) -> NativePostgres:
        return NativePostgres(config, NAME)

    def copying(self) -> Copying:
        from orienter_tasks.infra.postgres_copying import PostgresCopying

        return PostgresCopying(DATA_IN_CONTAINER, notes=[PROOF])

    def portable(self) -> Portable:
        from orienter_tasks.infra.postgres_portable import PostgresPortable

        return PostgresPortable()

    def ready(self, config: InstanceConfig, inside: Inside) -> None:
        require_accepting(config)  # else every attempt would ask the engine, and may import pg8000
        if volumes.is_adopted(config.instance):
            inside.run(EXECUTE, {"STATEMENT": password_statement(config.variables)})
            volumes.settle_adopted(config.instance)
        proof = config.instance.data_dir / PROOF
        _require_login(config, proof, lambda name: inside.modified(f"{_data_in_container(config)}/{name}"))

    def installed(self, settings: Settings) -> bool:
        directory = programs.find_postgres(settings)
        if directory is not None and settings.database.extensions:
            from orienter_tasks.infra.postgres_needs import require_installed

            require_installed(directory, settings)
        return directory is not None

    def version(self, settings: Settings) -> str:
        return version_of(programs.postgres_bin(settings) / "postgres", "--version")

    def client(self, settings: Settings) -> Path | None:
        directory = programs.find_postgres(settings)
        return programs.postgres_program(directory, "psql") if directory is not None else None

    def require_runnable(self, config: InstanceConfig) -> None:
        prefix_for_postgres(volumes.working_dir(config.instance, NAME))

    def explain(self, config: InstanceConfig, log: Sequence[str]) -> OrienterError | None:
        text = "\n".join(log)
        if INCOMPATIBLE not in text:
            return None
        major = re.search(MAJOR, text)
        made = f"PostgreSQL {major[1]}" if major else "another PostgreSQL"
        return CheckError(
            f"postgres of {config.instance}: volume {config.instance.volume(NAME)} was made by {made}, "
            f"which {config.settings.docker.postgres} cannot read",
            hint=f"set orienter.docker.postgres to {f'a postgres:{major[1]} image' if major else 'the former image'}, "
            "or start over with: inv infra.down --volumes",
            details=log,
        )

    def login(self, config: InstanceConfig) -> str:
        with sessions.database(config) as session:
            session.rows("SELECT 1")
        return f"PostgreSQL answers on {config.instance.ports['postgres']}: {config.variables['POSTGRES_DB']}"

    def contents(self, config: InstanceConfig) -> ServerContents:
        with sessions.database(config) as session:
            identifier, started, directory, names = session.rows(CONTENTS)[0]
        return ServerContents(
            names=tuple(names),
            remedy="cd {root} && inv infra.psql -- -c 'DROP DATABASE \"{name}\"'",
            built_in=frozenset({"postgres", "template0", "template1"}),
            # directories copied from one template have the same identifier
            key=f"PostgreSQL server, {identifier} started {started}",
            facts=dict(zip(self.facts, (identifier, started, directory), strict=True)),
        )

    def leave_trace(self, config: InstanceConfig, text: str) -> None:
        with sessions.database(config) as session:
            session.rows("CREATE TABLE IF NOT EXISTS orienter_trace (text text NOT NULL)")
            session.rows("INSERT INTO orienter_trace VALUES (:text)", text=text)

    def traces(self, config: InstanceConfig) -> list[str]:
        with sessions.database(config) as session:
            return [str(text) for (text,) in session.rows("SELECT text FROM orienter_trace")]

    def require_valid(self, variables: Variables) -> None:
        if len(variables["POSTGRES_DB"].encode()) > LONGEST_NAME:
            hint = "shorten POSTGRES_DB in .env"
            raise CheckError(f"PostgreSQL would cut {variables['POSTGRES_DB']} short", hint=hint)

    def unmet(self, config: InstanceConfig, root: Path, *, native: bool, running: bool) -> Sequence[Unmet]:
        from orienter_tasks.infra.postgres_needs import unmet

        return unmet(config, root, native=native, running=running)

    def address(self, config: InstanceConfig) -> tuple[str, str]:
        where = f"localhost:{config.instance.ports['postgres']}"
        return "postgres", f"{where}, database {config.variables['POSTGRES_DB']}"


def _data_in_container(config: InstanceConfig) -> str:
    return replacing.path_in(DATA_IN_CONTAINER, config.instance, NAME)


def _require_login(config: InstanceConfig, path: Path, modified: Callable[[str], object]) -> None:
    """Require that the server accepts the login and has what the settings want of it, unless that is proven."""
    wanted = config.settings.database.extensions
    known = (config.settings.docker.postgres, *wanted) if wanted else ()
    proof = LoginProof.of(path, config.variables.values, modified, known)
    if not proof.exists():
        ensure_database(config)
        if wanted:
            from orienter_tasks.infra import postgres_needs

            postgres_needs.require(config)
        proof.store()


class NativePostgres(NativeComponent):
    """PostgreSQL of one instance, in its volume."""

    _retry_until = 0.0

    def start(self, note: Note) -> bool:
        if volumes.is_adopted(self.config.instance):  # its password can only be set while it does not run
            self.stop(self.config.settings.timeouts.stop)
        return super().start(note)

    def launch(self, server: Server, note: Note) -> Launch:
        del server
        from orienter_tasks.backends.embedded import cluster

        postgres = cluster.Installation.of(self.config.settings, self.directory)
        cluster.prepare(self.config, self.directory, postgres, note)
        if volumes.is_adopted(self.config.instance):
            cluster.take_over(self.config, self.directory, postgres, [password_statement(self.config.variables)])
            volumes.settle_adopted(self.config.instance)
        postmaster.clear(self.config.instance, self.directory)
        self._retry_until = time.monotonic() + RETRY_SECONDS
        options = {"listen_addresses": LOOPBACK, "unix_socket_directories": "", **TUNING}
        if postgres.major >= IO_METHODS_SINCE:
            options["io_method"] = "sync"
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            binary=postgres.directory / "postgres",
            version=("--version",),
            command=postgres.command("postgres", "-D", str(self.directory), "-p", str(self.port), *settings),
            env={},
        )

    def probe(self) -> None:
        """Require that our own server has the port, is ready, and accepts the login."""
        self.require_alive()
        status = postmaster.read(self.directory)
        if status is None or status.pid != self.server.pid or not status.ready:
            raise NotReadyError("PostgreSQL does not accept connections yet")
        if status.port != self.port:
            raise CheckError(
                f"PostgreSQL of {self.config.instance} runs on port {status.port}, and its port is now {self.port}",
                hint="run: inv infra.down, then inv infra.up",
            )
        self.ask()
        self.server.require_alive()

    def ask(self) -> None:
        """Require that it accepts the login."""
        path = self.directory / PROOF
        _require_login(self.config, path, lambda name: (self.directory / name).stat().st_mtime_ns)

    def require_alive(self) -> None:
        """Require that it runs; after a kill -9, start it again while the old shared memory is still in use."""
        try:
            self.server.require_alive()
        except CheckError as error:
            if STILL_IN_USE not in "\n".join(error.details) or time.monotonic() > self._retry_until:
                raise
            with self.held() as lock:
                self.server.relaunch(lock)
            raise NotReadyError(f"the {STILL_IN_USE} is still in use") from error
