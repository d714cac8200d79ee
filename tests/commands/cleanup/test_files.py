"""Logs, records and directories: reached without following a link, emptied only as they were seen."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.commands.cleanup import files
from orienter_tasks.commands.cleanup.execute import ChangedError
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.directories import LINKED
from orienter_tasks.processes.record import start_mark
from tests.commands.cleanup.worlds import age, dead_record, snapshot

if TYPE_CHECKING:
    from orienter_tasks.commands.cleanup.model import Resource
    from orienter_tasks.identity.claims import Claim
    from tests.commands.cleanup.worlds import World


@pytest.fixture
def claim(world: World) -> Claim:
    return world.checkout(1, "here")


@pytest.fixture
def log_dir(claim: Claim) -> Path:
    return Path(claim.root) / "logs" / "instance-1"


def logs(claim: Claim) -> dict[str, Resource]:
    return {resource.component: resource for resource in files.logs(claim, Path(claim.root))}


class TestLogs:
    def test_what_is_a_log(self, claim: Claim, log_dir: Path) -> None:
        for name in ("api.log", "api.log.1", "api.log.12"):
            (log_dir / name).write_text("x")
        (log_dir / "empty.log").write_text("")
        (log_dir / "session.json").write_text("{}")
        (log_dir / "directory.log").mkdir()
        os.mkfifo(log_dir / "fifo.log")
        found = logs(claim)
        assert {name for name, resource in found.items() if not resource.blocker} == {
            *("api.log", "api.log.1", "api.log.12", "old.log", "new.log"),
        }
        assert {name for name, resource in found.items() if resource.blocker} == {"session.json", "fifo.log"}

    def test_it_is_emptied_and_keeps_its_file_and_mode(self, claim: Claim, log_dir: Path) -> None:
        path = log_dir / "old.log"
        path.chmod(0o600)
        before = path.stat()
        files.truncate(logs(claim)["old.log"])
        after = path.stat()
        assert (after.st_size, after.st_ino, after.st_mode) == (0, before.st_ino, before.st_mode)
        files.truncate(replace(logs(claim)["new.log"], key=str(path.with_name("not-there.log"))))

    def test_one_that_is_written_to_meanwhile_is_left_alone(self, claim: Claim, log_dir: Path) -> None:
        seen = logs(claim)["old.log"]
        with (log_dir / "old.log").open("a") as file:
            file.write("one line more\n")
        with pytest.raises(ChangedError, match="written to"):
            files.truncate(seen)
        assert (log_dir / "old.log").read_text().endswith("one line more\n")

    def test_one_that_grows_all_the_time_never_loses_what_comes_after(self, claim: Claim, log_dir: Path) -> None:
        path, done = log_dir / "old.log", threading.Event()
        writer = os.open(path, os.O_WRONLY | os.O_APPEND)

        def write() -> None:
            while not done.wait(0.001):
                os.write(writer, b"line\n")

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(20):
                with contextlib.suppress(ChangedError, KeyError):  # it was written to, or is empty
                    files.truncate(logs(claim)["old.log"])
        finally:
            done.set()
            thread.join()
            os.write(writer, b"last\n")
            os.close(writer)
        content = path.read_bytes()
        assert content.endswith(b"last\n")
        assert b"\0" not in content  # no hole where the old lines were

    def test_a_link_is_never_followed(self, claim: Claim, log_dir: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside.log"
        outside.write_text("precious")
        (log_dir / "link.log").symlink_to(outside)
        os.link(outside, log_dir / "hard.log")
        found = logs(claim)
        assert found["link.log"].blocker == "it is a symbolic link"
        assert found["hard.log"].blocker == "it has another name elsewhere"
        seen = found["old.log"]
        (log_dir / "old.log").unlink()
        (log_dir / "old.log").symlink_to(outside)
        with pytest.raises(CheckError):
            files.truncate(replace(seen, size=8))
        assert outside.read_text() == "precious"

    @pytest.mark.parametrize("which", ["logs", "logs/instance-1"])
    def test_a_linked_directory_is_not_entered(self, claim: Claim, tmp_path: Path, which: str) -> None:
        seen = logs(claim)["old.log"]
        real = Path(claim.root) / which
        outside = tmp_path / "outside"
        real.rename(outside)
        real.symlink_to(outside)
        before = snapshot(outside)
        assert logs(claim) == {}
        with pytest.raises(ChangedError):
            files.truncate(seen)
        assert snapshot(outside) == before


class TestRecords:
    def records(self, claim: Claim) -> dict[str, Resource]:
        return {resource.component: resource for resource in files.dead_records(claim, Path(claim.root))}

    def test_dead_ones_are_found_and_removed(self, claim: Claim) -> None:
        pids = Path(claim.root) / ".dev-pids" / "instance-1"
        alive = dead_record(claim, "alive", pid=os.getpid(), mark=start_mark(os.getpid()))
        (pids / "alive.json").write_bytes(alive)
        (pids / "reused.json").write_bytes(dead_record(claim, "reused", pid=os.getpid()))
        (pids / "broken.json").write_bytes(b"{")
        (pids / "newer.json").write_bytes(dead_record(claim, "newer", schema_version=2))
        (pids / "other.json").write_bytes(dead_record(claim, "other", root="/elsewhere"))
        (pids / "link.json").symlink_to(pids / "api.json")
        (pids / "notes.txt").write_text("mine")
        found = self.records(claim)
        assert {name for name, resource in found.items() if not resource.blocker} == {"api", "reused"}
        assert {name for name, resource in found.items() if resource.blocker} == {"broken", "newer", "other", "link"}
        files.remove_record(found["api"])
        files.remove_record(found["api"])
        assert not (pids / "api.json").exists()
        (pids / "reused.json").write_bytes(alive)
        with pytest.raises(ChangedError):
            files.remove_record(found["reused"])

    def test_a_linked_directory_is_not_entered(self, claim: Claim, tmp_path: Path) -> None:
        found = self.records(claim)
        real = Path(claim.root) / ".dev-pids"
        real.rename(tmp_path / "outside")
        real.symlink_to(tmp_path / "outside")
        assert self.records(claim) == {}
        with pytest.raises(ChangedError):
            files.remove_record(found["api"])
        assert (tmp_path / "outside" / "instance-1" / "api.json").exists()


class TestDirectories:
    def test_only_the_instances_own(self, claim: Claim) -> None:
        root = Path(claim.root)
        for parent in (".dev-data", "logs", ".dev-pids"):
            (root / parent / "instance-11").mkdir()
            (root / parent / "mine").mkdir()
        outside = root / "precious"
        outside.write_text("precious")
        (root / ".dev-data" / "instance-1" / "link").symlink_to(root)
        for resource in files.directories(claim, root):
            assert resource.blocker == ""
            files.remove_directory(resource)
            files.remove_directory(resource)
        for parent in (".dev-data", "logs", ".dev-pids"):
            assert sorted(path.name for path in (root / parent).iterdir()) == ["instance-11", "mine"]
        assert outside.read_text() == "precious"

    @pytest.mark.parametrize("which", [".dev-data", ".dev-data/instance-1"])
    def test_a_link_is_not_removed_through(self, claim: Claim, tmp_path: Path, which: str) -> None:
        root = Path(claim.root)
        seen = next(resource for resource in files.directories(claim, root) if resource.component == "data")
        (root / which).rename(tmp_path / "big-disk")
        (root / which).symlink_to(tmp_path / "big-disk")
        before = snapshot(tmp_path / "big-disk")
        found = next(resource for resource in files.directories(claim, root) if resource.component == "data")
        assert found.blocker == LINKED
        with pytest.raises(ChangedError):
            files.remove_directory(seen)
        assert snapshot(tmp_path / "big-disk") == before

    def test_what_cannot_be_removed_is_named(self, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: object, **_: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        seen = next(iter(files.directories(claim, Path(claim.root))))
        monkeypatch.setattr(os, "rmdir", refuse)
        with pytest.raises(CheckError, match=rf"{seen.key}\S* cannot be removed"):
            files.remove_directory(seen)


def test_age_is_by_the_last_write(claim: Claim, log_dir: Path) -> None:
    age(log_dir / "new.log", 100)
    found = logs(claim)["new.log"]
    assert found.written_at == (log_dir / "new.log").stat().st_mtime
