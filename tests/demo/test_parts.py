"""The demo's parts that need no server."""

from __future__ import annotations

import json
import stat
import struct
import subprocess
import sys
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from examples.demo import pages, qr
from examples.demo.attachments import read_storage
from examples.demo.changes import LISTENERS, Changes
from examples.demo.configuration import read_instance
from examples.demo.database import parse
from examples.demo.errors import BadInputError, ConfigurationError, UnavailableError
from examples.demo.notes import LONGEST_TEXT, checked_text
from examples.demo.notes_api import CONTENT_TYPE
from examples.demo.sessions import LIFETIME, Sessions, load_key
from tests.demo.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LEAST: dict[str, str] = {"AI_INSTANCE_ID": "3", "AI_INSTANCE_ROOT": "/somewhere"}


def test_the_colours_of_thirty_instances_differ() -> None:
    hues = {read_instance({**LEAST, "AI_INSTANCE_ID": str(number)}).hue for number in range(30)}
    assert len(hues) == 30


def test_neighbours_among_ten_instances_have_colours_far_apart() -> None:
    hues = [read_instance({**LEAST, "AI_INSTANCE_ID": str(number)}).hue for number in range(10)]
    nearest = min(min((a - b) % 360, (b - a) % 360) for a in hues for b in hues if a != b)
    assert nearest == 36


def test_ports_that_no_variable_names_are_left_out() -> None:
    instance = read_instance({**LEAST, "DASHBOARD_PORT": "7098", "MINIO_API_PORT": "12000"})
    assert dict(instance.ports) == {"dashboard": 7098, "minio_api": 12000}
    with pytest.raises(ConfigurationError, match="VITE_PORT is not set"):
        instance.port("vite")


@pytest.mark.parametrize(
    ("name", "value"),
    [("AI_INSTANCE_ID", ""), ("AI_INSTANCE_ID", "-1"), ("AI_INSTANCE_ID", "²"), ("DASHBOARD_PORT", "70000")],
)
def test_a_variable_that_is_no_number_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_instance({**LEAST, name: value})


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "postgresql://u:secret@h:port/d", "secret", "postgresql://u@h"]
)
def test_a_wrong_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://USER") as caught:
        parse(url)
    assert "secret" not in str(caught.value)


def test_secrets_stay_out_of_what_is_printed() -> None:
    address = parse("postgresql://me:s%40crt@localhost:1/db")
    assert address.password == "s@crt"
    assert "crt" not in repr(address)
    given = {"AWS_ENDPOINT_URL": "http://h:1", "AWS_ACCESS_KEY_ID": "k", "S3_BUCKET": "b"}
    assert "hush" not in repr(read_storage({**given, "AWS_SECRET_ACCESS_KEY": "hush"}))


@pytest.mark.parametrize("text", [None, 7, "", "   ", "x" * (LONGEST_TEXT + 1), "a\0b", "a\ud800b"])
def test_what_no_note_may_say(text: object) -> None:
    with pytest.raises(BadInputError):
        checked_text(text)


def test_a_note_may_say_anything_else() -> None:
    assert checked_text("  שלום 🙂 <b>\n") == "שלום 🙂 <b>"
    assert checked_text("🙂" * LONGEST_TEXT) == "🙂" * LONGEST_TEXT


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", 'a/b;c="d e"', "image/svg+xml"])
def test_content_types(kind: str) -> None:
    assert CONTENT_TYPE.fullmatch(kind)


@pytest.mark.parametrize("kind", ["text", "text/", "/plain", "text/plain\nX: y", "text/plain; charset", 'a/b;c="d'])
def test_no_content_types(kind: str) -> None:
    assert not CONTENT_TYPE.fullmatch(kind)


def test_a_session_lasts_its_time_and_no_longer() -> None:
    now = 1000.0
    sessions = Sessions(b"key", 3, lambda: now)
    token = sessions.issue()
    now += LIFETIME - 1
    assert sessions.valid(token)
    now += 1
    assert not sessions.valid(token)


@pytest.mark.parametrize("token", ["", ".", "9999999999.", "9999999999.00", "x.y", "\ud800.\ud800", "é"])
def test_no_made_up_token_is_a_session(token: str) -> None:
    assert not Sessions(b"key", 3).valid(token)


def test_a_session_is_good_for_its_own_instance_and_key_only() -> None:
    token = Sessions(b"key", 3).issue()
    assert Sessions(b"key", 3).valid(token)
    assert not Sessions(b"key", 4).valid(token)
    assert not Sessions(b"other", 3).valid(token)
    expiry, _, signature = token.partition(".")
    assert not Sessions(b"key", 3).valid(f"{int(expiry) + 1}.{signature}")


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "dashboard" / "session.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_listener_hears_of_a_change() -> None:
    changes = Changes()
    stream = changes.listen(lambda: False)
    assert next(stream).startswith(b"retry:")
    assert b'"revision": 0' in next(stream)
    changes.announce()
    assert b'"revision": 1' in next(stream)


def test_a_listener_that_went_away_is_noticed() -> None:
    assert len(list(islice(Changes().listen(lambda: True), 3))) == 1


def test_listeners_are_limited_and_give_their_place_back() -> None:
    changes = Changes()
    streams: list[Any] = [changes.listen(lambda: False) for _ in range(LISTENERS)]
    with pytest.raises(UnavailableError):
        changes.listen(lambda: False)
    streams[0].close()
    streams[0].close()
    changes.listen(lambda: False)
    with pytest.raises(UnavailableError):
        changes.listen(lambda: False)


def test_the_picture_is_a_png_of_the_pattern() -> None:
    matrix = qr.pattern("instance 3")
    rows = pixels(qr.png(matrix))
    middle = qr.SCALE // 2
    seen = [
        [not rows[(y + qr.BORDER) * qr.SCALE + middle][(x + qr.BORDER) * qr.SCALE + middle] for x in range(qr.SIZE)]
        for y in range(qr.SIZE)
    ]
    assert seen == matrix
    assert all(all(row) for row in rows[: qr.BORDER * qr.SCALE])


def test_the_pattern_has_three_corner_marks_and_differs_by_instance() -> None:
    one, two = qr.pattern("instance 1"), qr.pattern("instance 2")
    assert one != two
    for top, left in ((0, 0), (0, qr.SIZE - 7), (qr.SIZE - 7, 0)):
        assert one[top][left : left + 7] == [True] * 7
        assert one[top + 1][left : left + 7] == [True] + [False] * 5 + [True]
        assert one[top + 3][left : left + 7] == [True, False, True, True, True, False, True]


def pixels(data: bytes) -> list[list[bool]]:
    """Read a one-bit grey PNG, its checksums too."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    rest = data[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, body = rest[4:8], rest[8 : 8 + length]
        assert struct.unpack(">I", rest[8 + length : 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind], rest = body, rest[12 + length :]
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour, width) == (1, 0, height)
    lines, step = zlib.decompress(chunks[b"IDAT"]), 1 + width // 8
    assert len(lines) == height * step
    return [
        [bit == "1" for byte in lines[y * step + 1 : (y + 1) * step] for bit in f"{byte:08b}"] for y in range(height)
    ]


def test_the_page_is_loaded_anew_when_a_file_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.js").write_text("1")
    before = pages.version().body
    assert pages.version().body == before
    (tmp_path / "src" / "other.js").write_text("2")
    assert pages.version().body != before


def test_nothing_heavy_is_loaded_before_the_first_answer() -> None:
    code = "import json, sys, examples.demo.dashboard; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not {"minio", "urllib3", "pg8000"} & set(json.loads(done.stdout))
