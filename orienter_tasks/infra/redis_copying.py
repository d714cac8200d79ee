"""Copying Redis's keys: while it runs as a replica gets them, of one moment; else its files.

A copy is an append-only file that begins with what the replica got, and has nothing after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.redis import PATIENCE, redis
from orienter_tasks.data import tree
from orienter_tasks.errors import CheckError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.copying import Copying, Script
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure, private_dir
from orienter_tasks.settings.catalog import REDIS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig

FILES, BASE = "appendonlydir", "appendonly.aof.1.base.rdb"
MANIFEST, BEGINNING = "appendonly.aof.manifest", f"file {BASE} seq 1 type b\n"
ENDING = ".base.rdb"
FORMAT = rb"[A-Z]+0*(\d+)"
FORMAT_BYTES = 9

AS_REPLICA = f"""\
set -e
mkdir -p "$TARGET/{FILES}"
$(command -v valkey-cli || command -v redis-cli) -h {LOOPBACK} --rdb "$TARGET/{FILES}/{BASE}" >&2
printf '{BEGINNING.strip()}\\n' >"$TARGET/{FILES}/{MANIFEST}"
"""
AS_FILES = """\
set -e
mkdir -p "$TARGET"
cp -a "$SOURCE/." "$TARGET"
"""
SAY_FORMAT = f"""\
echo "RDB $(head -c {FORMAT_BYTES} "$TARGET/{FILES}"/*{ENDING} | tr -cd 0-9 | sed 's/^0*//')"
"""


class RedisCopying(Copying):
    """Copies Redis's data; the password is not in it. A server that is older than the data says so when it starts.

    Args:
        directory: where a native server has it, in its working directory.
        mount: where a container has it.
    """

    def __init__(self, directory: str, mount: str) -> None:
        self._directory = directory
        self._mount = mount

    def place(self, working: Path) -> Path:
        return working / self._directory

    def server(self, data: Path) -> str:
        """Return the version of the format, which servers before it cannot read."""
        for path in (data / FILES).glob(f"*{ENDING}"):
            with path.open("rb") as file:
                found = re.match(FORMAT, file.read(FORMAT_BYTES))
            if found is not None:
                return f"RDB {found[1].decode()}"
        return ""

    def copies_files(self, *, running: bool) -> bool:
        return not running

    def copy(self, config: InstanceConfig, target: Path, lock: int, *, running: bool) -> None:
        del lock
        if not running:
            tree.copy(self.place(volumes.working_dir(config.instance, REDIS.name).resolve()), target)
            return
        base = private_dir(target / FILES) / BASE
        try:
            with redis(config, PATIENCE) as session, base.open("xb") as file:
                for block in session.replicate():
                    raise_unheard()
                    file.write(block)
            (target / FILES / MANIFEST).write_text(BEGINNING, encoding="ascii")
        except OSError as error:
            raise failure(base, f"cannot write {base}", error) from error

    def check(self, config: InstanceConfig, target: Path, lock: int) -> None:
        """Require the data: what a replica gets says where it ends, so it is whole."""
        del lock
        if not (target / FILES / MANIFEST).is_file():
            raise CheckError(f"redis of {config.instance} has no append-only file", hint="it takes Redis 7, or Valkey")

    def take_over(self, config: InstanceConfig, data: Path, names: Mapping[str, str]) -> None:
        """Do nothing: the data has neither names nor passwords."""

    def mount(self) -> str:
        return self._mount

    def copy_script(self, config: InstanceConfig, *, running: bool) -> Script:
        password = config.variables["REDIS_PASSWORD"]
        return Script((AS_REPLICA if running else AS_FILES) + SAY_FORMAT, {"REDISCLI_AUTH": password})

    def take_over_script(self, config: InstanceConfig, names: Mapping[str, str]) -> Script:
        del config, names
        return Script("", {})
