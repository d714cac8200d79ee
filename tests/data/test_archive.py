"""The file of an export: what is written is read, and nothing else."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.data import archive
from orienter_tasks.data.manifest import Manifest, Part
from orienter_tasks.errors import CheckError, ConfigError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = tarfile.BLOCKSIZE
FIRST = BLOCK + archive.MANIFEST_BYTES


def write(path: Path) -> None:
    with archive.writing(path) as writer:
        writer.add("echo/0", [b"some", b"thing"])
        writer.add("echo/1", [])
        content = writer.content("echo")
        part = Part(component="echo", server="", size=content.size, files=content.files, digest=content.digest)
        made = Manifest(
            project="shop",
            instance=0,
            root="/",
            branch="",
            commit="",
            backend="docker",
            token="",
            way="portable",
            created_at=0.0,
            parts=(part,),
        )
        writer.finish(made)


def test_written_and_read(tmp_path: Path) -> None:
    write(tmp_path / "x.tar")
    with archive.reading(tmp_path / "x.tar") as found:
        found.verify()
        assert [(each.name, b"".join(each.blocks())) for each in found.members("echo")] == [
            ("echo/0", b"something"),
            ("echo/1", b""),
        ]
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getnames() == ["manifest.json", "echo/0", "echo/1"]
    with pytest.raises(ConflictError, match="is there already"):
        write(tmp_path / "x.tar")
    with pytest.raises(NotFoundError), archive.reading(tmp_path / "y.tar"):
        pass


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> None:
        with archive.writing(tmp_path / "x.tar") as writer:
            writer.add("echo/0", [b"some"])
            raise CheckError("no")

    with pytest.raises(CheckError, match="no"):
        failing()
    assert not list(tmp_path.iterdir())


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 9) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("at", "by", "what"),
    [
        (FIRST, header("echo/0", tarfile.SYMTYPE), "not a plain file"),
        (FIRST, header("echo/0", tarfile.CHRTYPE), "not a plain file"),
        (FIRST, header("echo/0", tarfile.XHDTYPE), "not a plain file"),
        (FIRST, header("/etc/passwd"), "has a member"),
        (FIRST, header("echo/../0"), "has a member"),
        (
            FIRST,
            header(
                "echo/..",
            ),
            "has a member",
        ),
        (FIRST, header("other/0"), "has a member"),
        (FIRST, header("echo/0", size=2**60), "ends within"),
        (FIRST, header("echo/0", size=8), "is not what was written"),
        (FIRST, b"x" * BLOCK, "damaged or not an export"),
        (FIRST + BLOCK, b"S", "is not what was written"),
        (0, header("other.json", size=archive.MANIFEST_BYTES), "not an export"),
        (0, header("manifest.json", size=2**40), "not an export"),
        (BLOCK, b"}", "damaged"),
    ],
)
def test_what_is_not_as_it_was_written(tmp_path: Path, at: int, by: bytes, what: str) -> None:
    path = tmp_path / "x.tar"
    write(path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(by)
    with pytest.raises(CheckError, match=what), archive.reading(path) as found:
        found.verify()


def test_cut_short_and_newer(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"schema_version": 1', b'"schema_version": 9'))
    with pytest.raises(ConfigError, match="schema version 9"), archive.reading(path):
        pass
    for length in (0, 100, BLOCK, FIRST, FIRST + BLOCK + 3):
        path.write_bytes(content[:length])
        with pytest.raises(CheckError), archive.reading(path) as found:
            found.verify()
