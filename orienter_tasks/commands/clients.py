"""Clients that are connected to this instance's servers: its psql, and copying objects of its bucket."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.env import behind_dashes, replace_process
from orienter_tasks.commands.names import require_running
from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.infra.all import search_path
from orienter_tasks.instance import used
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import space
from orienter_tasks.settings.catalog import MINIO, POSTGRES
from orienter_tasks.settings.rules import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orienter_tasks.backends.clients.sessions import StoredObject, StoreSession
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.lifecycle.context import RunContext

OBJECT = "s3:"
"""What stands before an object's key, to tell it from a file."""


def psql(ctx: RunContext) -> None:
    """Become psql, connected to the instance's database; on Docker, that of its container runs.

    Raises:
        NotFoundError: the server does not run, or psql is missing.
    """
    config = _used(ctx, POSTGRES.name)
    words = behind_dashes()
    if ctx.current.backend.backends.of(POSTGRES.name) == "docker":
        sys.exit(_psql_in_container(ctx, words))
    program = shutil.which("psql", path=search_path(config, os.environ.get("PATH", os.defpath)))
    if program is None:
        raise NotFoundError("the installed PostgreSQL has no psql", hint="install one, such as postgresql-client")
    replace_process([program, *words], config)


def s3(ctx: RunContext, verb: str, *, as_json: bool) -> None:
    """List, copy or remove objects of the instance's bucket."""
    from orienter_tasks.backends.clients import sessions

    run = VERBS.get(verb)
    if run is None:
        raise ConfigError(f"infra.s3: unknown verb {verb!r}", hint=nearest(verb, list(VERBS)))
    words = behind_dashes()
    with sessions.store(_used(ctx, MINIO.name), patient=verb == "cp") as session:
        run(ctx, session, words, as_json)


def _used(ctx: RunContext, name: str) -> InstanceConfig:
    """Return the configuration of this instance, which is used now, and whose server must run."""
    config = require_running(ctx, name)
    if not ctx.options.dry:
        used.touch(config.instance)
    return config


def _psql_in_container(ctx: RunContext, words: Sequence[str]) -> int:
    from orienter_tasks.backends.docker.engine import shared
    from orienter_tasks.backends.docker.interactive import run_attached

    config = ctx.current.config
    environment = {name: config.variables[name] for name in ("PGUSER", "PGPASSWORD", "PGDATABASE")}
    code = run_attached(shared(), config, POSTGRES.name, ["psql", *words], {**environment, "PGHOST": LOOPBACK})
    if code is None:
        raise NotFoundError(f"postgres of {config.instance} does not run", hint="start it with: inv infra.up")
    return code


def _list(ctx: RunContext, session: StoreSession, words: Sequence[str], as_json: bool) -> None:
    if len(words) > 1:
        raise ConfigError("infra.s3 ls takes one prefix at most", hint="inv infra.s3 ls -- notes/")
    found = session.listing(words[0].removeprefix(OBJECT) if words else "")
    if as_json:
        ctx.report.json({"objects": [{"key": it.key, "size": it.size, "modified": it.modified} for it in found]})
        return
    columns: tuple[Column[StoredObject], ...] = (
        Column("key", lambda it: it.key),
        Column("size", lambda it: space(it.size), right=True),
        Column("modified", lambda it: it.modified),
    )
    ctx.report.table(columns, found)


def _copy(ctx: RunContext, session: StoreSession, words: Sequence[str], as_json: bool) -> None:
    del as_json
    if len(words) != 2 or not any(word.startswith(OBJECT) for word in words):  # noqa: PLR2004 - source and target
        raise ConfigError(
            "infra.s3 cp takes a source and a target, one of them an object",
            hint="inv infra.s3 cp -- logo.png s3:images/logo.png",
        )
    source, target = words
    if target.endswith("/") or target == OBJECT or (not target.startswith(OBJECT) and Path(target).is_dir()):
        target = f"{target.rstrip('/')}/{Path(source.removeprefix(OBJECT)).name}".replace(f"{OBJECT}/", OBJECT)
    key, path = target.removeprefix(OBJECT), Path(source)
    if not source.startswith(OBJECT):
        if not path.is_file():
            raise NotFoundError(f"{source} is not a file")
        session.upload(path, key)
    elif target.startswith(OBJECT):
        session.copy(source.removeprefix(OBJECT), key)
    else:
        session.download(source.removeprefix(OBJECT), Path(target))
    ctx.report.note(f"{source} → {target}")


def _remove(ctx: RunContext, session: StoreSession, words: Sequence[str], as_json: bool) -> None:
    del as_json
    if not words:
        raise ConfigError("infra.s3 rm takes the keys of objects", hint="inv infra.s3 rm -- images/logo.png")
    keys = [word.removeprefix(OBJECT) for word in words]
    for key in keys:
        session.require(key)
    for key in keys:
        session.remove(key)
        ctx.report.note(f"removed {key}")


VERBS: Mapping[str, Callable[[RunContext, StoreSession, Sequence[str], bool], None]] = {
    "ls": _list,
    "cp": _copy,
    "rm": _remove,
}
