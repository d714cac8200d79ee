"""PostgreSQL's data directory: the template, the instance's own user in each copy, and what may go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import cluster
from orienter_tasks.backends.embedded.cluster import Installation
from orienter_tasks.errors import CheckError, ConfigError, InterruptError
from orienter_tasks.identity.volumes import home, place, working_dir
from tests.backends.contract import down, login, sql, up

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded


def prepare(config: InstanceConfig, notes: list[str] | None = None) -> Path:
    data = working_dir(config.instance, "postgres")
    postgres = Installation.of(config.settings, data)
    cluster.prepare(config, data, postgres, (notes if notes is not None else []).append)
    return data


def files_of(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def own_cache(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = lab.directory / "own cache"
    monkeypatch.setattr(cluster, "cache_dir", lambda: cache)
    return cache


def test_only_the_first_instance_pays_for_initdb(lab: EmbeddedLab, own_cache: Path) -> None:
    first: list[str] = []
    second: list[str] = []
    prepare(lab.config(), first)
    (template,) = own_cache.iterdir()
    made = (template / "PG_VERSION").stat().st_mtime_ns
    prepare(lab.config(1), second)
    assert (first, second) == (["initdb"], [])
    assert files_of(own_cache) == [template.name]
    assert (template / "PG_VERSION").stat().st_mtime_ns == made
    assert template.stat().st_mode & 0o077 == 0


def test_two_instances_at_once_make_one_template(lab: EmbeddedLab, own_cache: Path) -> None:
    notes: list[str] = []
    configs = [lab.config(0), lab.config(1)]
    threads = [threading.Thread(target=prepare, args=(config, notes)) for config in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes.count("initdb") == 1
    assert len(list(own_cache.iterdir())) == 1
    for config in configs:
        up(lab.backend(config), config, ["postgres"])
        assert sql(config, "SELECT current_user") == [[config.variables["POSTGRES_USER"]]]


def test_no_copy_knows_another_ones_password(lab: EmbeddedLab) -> None:
    from pg8000.exceptions import DatabaseError

    one, other = lab.config(0, {"POSTGRES_PASSWORD": "first"}), lab.config(1, {"POSTGRES_PASSWORD": "second"})
    for config in (one, other):
        up(lab.backend(config), config, ["postgres"])
    with login(one) as connection:
        stored = connection.run("SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
    assert stored != sql(other, "SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
    with pytest.raises(DatabaseError, match="28P01"), login(other, password="first"):
        pass


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("it's", "qu'ote \\ back\"slash"),
        ("dä tä", "pässwörd €"),
        ("UPPER-case", "$$; DROP TABLE x; --"),
        ("select", "percent % {} #"),
        ("u", "x" * 500),
    ],
)
def test_any_name_and_password_will_do(lab: EmbeddedLab, user: str, password: str) -> None:
    config = lab.config(dotenv={"POSTGRES_USER": user, "POSTGRES_PASSWORD": password})
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT current_user") == [[user]]
    assert sql(config, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [[True]]


@pytest.mark.parametrize("user", ["pg_mine", "public", "none", "x" * 64, "ä" * 32])
def test_a_name_that_cannot_be_is_refused(lab: EmbeddedLab, user: str) -> None:
    config = lab.config(dotenv={"POSTGRES_USER": user})
    with pytest.raises(ConfigError, match="POSTGRES_USER"):
        prepare(config)
    assert not (working_dir(config.instance, "postgres")).exists()


def test_text_sorts_and_stores_as_utf8(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SHOW server_encoding") == [["UTF8"]]
    assert sql(config, "SHOW timezone") == [["UTC"]]
    assert sql(config, "SELECT lower('ÄÖÜ É'), 'MÜLLER' ILIKE 'müller', length('€')") == [["äöü é", True, 1]]
    sql(config, "CREATE TABLE words AS SELECT unnest(ARRAY['b', 'a', 'B', 'é']) AS word")
    assert sql(config, "SELECT string_agg(word, '' ORDER BY word) FROM words") == [["Babé"]]


def test_a_system_without_the_locale_gets_a_plainer_one(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "cache_dir", lambda: lab.directory / "own cache")
    unknown = [("--locale=C", "--lc-ctype=xx_XX.none"), ("--locale=C", "--lc-ctype=C")]
    monkeypatch.setattr(cluster, "locales", lambda major: unknown)
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT datctype FROM pg_database WHERE datname = current_database()") == [["C"]]


def test_another_major_version_is_refused_and_nothing_touched(lab: EmbeddedLab) -> None:
    config = lab.config()
    data = prepare(config)
    (data / "PG_VERSION").write_text("12\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in data.rglob("*"))
    with pytest.raises(CheckError, match=r"written by PostgreSQL 12.*is PostgreSQL 16; nothing was touched"):
        up(lab.backend(config), config, ["postgres"])
    assert sorted((path, path.stat().st_mtime_ns) for path in data.rglob("*")) == before


def test_a_directory_with_something_else_is_left_alone(lab: EmbeddedLab) -> None:
    config = lab.config()
    data = working_dir(config.instance, "postgres")
    data.mkdir(parents=True)
    (data / "thesis.txt").write_text("mine")
    with pytest.raises(CheckError, match="not PostgreSQL data"):
        prepare(config)
    assert files_of(data) == ["thesis.txt"]


def test_an_empty_directory_and_a_broken_off_copy_are_no_hindrance(lab: EmbeddedLab) -> None:
    config = lab.config()
    data = working_dir(config.instance, "postgres")
    data.mkdir(parents=True)
    partial = data.with_name(".data.new")
    partial.mkdir()
    (partial / "PG_VERSION").write_text("16\n")
    prepare(config)
    assert files_of(data.parent) == ["data"]
    up(lab.backend(config), config, ["postgres"])


def test_no_cache_no_template(lab: EmbeddedLab, own_cache: Path) -> None:
    """A home directory that cannot be written costs an initdb each time, and nothing else."""
    own_cache.write_text("a file where the directory should be")
    config = lab.config()
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT 1") == [[1]]


def test_an_incomplete_template_is_not_used(lab: EmbeddedLab, own_cache: Path) -> None:
    prepare(lab.config())
    (template,) = own_cache.iterdir()
    shutil.rmtree(template / "global")
    config = lab.config(1)
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT 1") == [[1]]


def test_giving_up_leaves_nothing(lab: EmbeddedLab, own_cache: Path) -> None:
    def interrupt(text: str) -> None:
        raise InterruptError(f"given up at {text}")

    config = lab.config()
    data = working_dir(config.instance, "postgres")
    postgres = Installation.of(config.settings, data)
    with pytest.raises(InterruptError):
        cluster.prepare(config, data, postgres, interrupt)
    assert files_of(data.parent) == []
    assert files_of(own_cache) == []


def test_a_file_in_the_way_is_told(lab: EmbeddedLab) -> None:
    config = lab.config()
    volume = place(config.instance, "postgres")
    volume.parent.mkdir(parents=True)
    volume.write_text("a file")
    with pytest.raises((CheckError, ConfigError), match="postgres-data-0"):
        prepare(config)


@pytest.fixture
def small_disk(lab: EmbeddedLab) -> Path:
    """A file system of 8 MB for the instance's data; needs the right to mount."""
    config = lab.config()
    mount_point = home(config.instance)
    mount_point.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(mount_point)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is forbidden here")
    return mount_point


@pytest.mark.root
def test_a_full_disk_is_told_in_one_line(lab: EmbeddedLab, small_disk: Path) -> None:
    config = lab.config()
    try:
        with pytest.raises(CheckError, match=r"no space is left for .*postgres-data-0/data of instance 0") as caught:
            up(lab.backend(config), config, ["postgres"])
        assert "free some space" in caught.value.hint
        assert not working_dir(config.instance, "postgres").exists()
    finally:
        lab.clean()
        subprocess.run(["umount", str(small_disk)], check=True)


@pytest.mark.root
def test_a_read_only_disk_is_told_in_one_line(lab: EmbeddedLab, small_disk: Path) -> None:
    config = lab.config()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        for name in ("postgres", "minio"):
            with pytest.raises((CheckError, ConfigError), match="Read-only file system") as caught:
                up(lab.backend(config), config, [name])
            assert str(small_disk) in caught.value.line()
    finally:
        lab.clean()
        subprocess.run(["umount", str(small_disk)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_directory_is_told_in_one_line(lab: EmbeddedLab) -> None:
    config = lab.config()
    home(config.instance).mkdir(parents=True)
    home(config.instance).chmod(0o500)
    try:
        with pytest.raises((CheckError, ConfigError), match="Permission denied"):
            up(lab.backend(config), config, ["postgres"])
    finally:
        home(config.instance).chmod(0o700)


def test_what_was_made_once_is_kept(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    sql(config, "CREATE TABLE kept ()")
    down(backend)
    prepare(config)
    up(backend, config, ["postgres"])
    assert sql(config, "SELECT count(*) FROM kept") == [[0]]


def test_a_link_to_another_disk_is_followed(lab: EmbeddedLab) -> None:
    config = lab.config()
    elsewhere = lab.directory / "large disk" / "pg"
    elsewhere.mkdir(parents=True)
    working_dir(config.instance, "postgres").parent.mkdir(parents=True)
    working_dir(config.instance, "postgres").symlink_to(elsewhere)
    up(lab.backend(config), config, ["postgres"])
    assert (elsewhere / "PG_VERSION").is_file()
    assert files_of(elsewhere.parent) == ["pg"]
