"""The dashboard against a real PostgreSQL and a real S3 server."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.demo.changes import LISTENERS
from examples.demo.database import Database, parse
from examples.demo.migrate import migrate
from examples.demo.notes import Attachment, Notes
from examples.demo.notes_api import LARGEST_ATTACHMENT
from tests.demo import stack, stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.demo.stack import Instance, Service

pytestmark = pytest.mark.embedded


def add(dashboard: Service, text: str = "a note") -> int:
    answer = dashboard.send("/api/notes", {"text": text})
    assert answer.status == 201, answer.body
    note_id: int = answer.json["id"]
    return note_id


def listed(dashboard: Service) -> dict[int, dict[str, object]]:
    return {note["id"]: note for note in dashboard.ask("/api/notes").json["notes"]}


def objects(instance: Instance, note_id: int) -> list[bytes]:
    return [path.read_bytes() for path in (instance.bucket / "notes" / str(note_id)).glob("*")]


def put(dashboard: Service, note_id: int, body: bytes, kind: str = "text/plain") -> stack.Answer:
    return dashboard.ask(f"/api/notes/{note_id}/attachment", "PUT", body=body, headers={"Content-Type": kind})


def test_the_instance_describes_itself(instance: Instance, dashboard: Service) -> None:
    about = dashboard.ask("/api/instance").json
    variables = instance.variables
    assert about["id"] == 3
    assert about["root"] == variables["AI_INSTANCE_ROOT"]
    assert about["branch"] is None
    assert about["backend"] == "embedded"
    assert about["database"] == variables["POSTGRES_DB"]
    assert about["bucket"] == variables["S3_BUCKET"]
    assert about["ports"]["dashboard"] == dashboard.port
    assert about["ports"]["nginx"] == 3080


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/instance", 200),
        ("HEAD", "/api/notes", 200),
        ("GET", "/dashboard/", 200),
        ("GET", "/dashboard/login.js", 200),
        ("GET", "/apps/", 200),
        ("GET", "/api/auth/validate", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/api/notes/1/attachment/x", 404),
        ("PATCH", "/api/notes", 405),
        ("POST", "/api/notes", 400),
    ],
)
def test_every_answer_tells_the_instance(dashboard: Service, method: str, path: str, status: int) -> None:
    answer = dashboard.ask(path, method)
    assert answer.status == status
    assert answer.headers["X-Orienter-Instance"] == "3"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_note_is_written_listed_and_removed(dashboard: Service) -> None:
    first, second = add(dashboard, "  one <b>\n"), add(dashboard, "two 🙂")
    notes = listed(dashboard)
    assert notes[first] == {"id": first, "text": "one <b>", "attachment": None}
    assert notes[second]["text"] == "two 🙂"
    assert list(notes) == sorted(notes)
    assert dashboard.ask(f"/api/notes/{first}", "DELETE").status == 204
    assert first not in listed(dashboard)
    assert dashboard.ask(f"/api/notes/{first}", "DELETE").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"text", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"text": 1}', 400),
        (b'{"text": "  "}', 400),
        (b'{"text": "a\\u0000b"}', 400),
        (b'{"text": "\\ud800"}', 400),
        (b"[" * 60_000, 400),
        (b'{"text": "' + b"x" * 2001 + b'"}', 400),
        (b'{"text": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_a_wrong_note_is_refused_in_words(dashboard: Service, body: bytes, status: int) -> None:
    before = listed(dashboard)
    answer = dashboard.ask("/api/notes", "POST", body=body, headers={"Content-Type": "application/json"})
    assert answer.status == status
    assert answer.json["error"]
    assert listed(dashboard) == before


@pytest.mark.parametrize("note_id", ["0", "-1", "x", "9223372036854775807", "9223372036854775808", "9" * 30])
def test_a_note_that_is_not_there(dashboard: Service, note_id: str) -> None:
    assert dashboard.ask(f"/api/notes/{note_id}", "DELETE").status == 404
    assert dashboard.ask(f"/api/notes/{note_id}/attachment").status == 404
    assert dashboard.ask(f"/api/notes/{note_id}/attachment", "PUT", body=b"x").status == 404


@pytest.mark.parametrize("kind", ["image/png", "text/plain; charset=latin-1", "application/x-odd"])
@pytest.mark.parametrize("body", [b"", bytes(range(256)) * 4000])
def test_an_attachment_comes_back_as_it_went(instance: Instance, dashboard: Service, kind: str, body: bytes) -> None:
    note_id = add(dashboard)
    assert dashboard.ask(f"/api/notes/{note_id}/attachment").status == 404
    assert put(dashboard, note_id, body, kind).json["attachment"] == {"type": kind, "size": len(body)}
    answer = dashboard.ask(f"/api/notes/{note_id}/attachment")
    assert answer.body == body
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert listed(dashboard)[note_id]["attachment"] == {"type": kind, "size": len(body)}
    assert objects(instance, note_id) == [body]


def test_a_known_attachment_is_not_sent_again(dashboard: Service) -> None:
    note_id = add(dashboard)
    put(dashboard, note_id, b"one")
    path = f"/api/notes/{note_id}/attachment"
    known = {"If-None-Match": str(dashboard.ask(path).headers["ETag"])}
    assert dashboard.ask(path, headers=known).status == 304
    put(dashboard, note_id, b"two")
    assert dashboard.ask(path, headers=known).body == b"two"


def test_no_object_is_left_behind(instance: Instance, dashboard: Service) -> None:
    note_id = add(dashboard)
    put(dashboard, note_id, b"one")
    put(dashboard, note_id, b"two", "text/html")
    assert objects(instance, note_id) == [b"two"]
    assert dashboard.ask(f"/api/notes/{note_id}", "DELETE").status == 204
    assert objects(instance, note_id) == []


def test_of_attachments_sent_at_once_one_stays(instance: Instance, dashboard: Service) -> None:
    note_id = add(dashboard)
    bodies = [str(number).encode() * (number + 1) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: put(dashboard, note_id, body), bodies))
    assert {answer.status for answer in answers} == {200}
    (kept,) = objects(instance, note_id)
    assert dashboard.ask(f"/api/notes/{note_id}/attachment").body == kept
    assert listed(dashboard)[note_id]["attachment"] == {"type": "text/plain", "size": len(kept)}


def test_no_replaced_object_is_forgotten_or_named_twice(instance: Instance) -> None:
    database = Database(parse(instance.variables["DATABASE_URL"]), "test")
    notes = Notes(database)
    note_id = notes.add("contended").id
    given = [Attachment(str(number), "text/plain", number) for number in range(200)]
    with closing(database), ThreadPoolExecutor(8) as pool:
        replaced = list(pool.map(lambda attachment: notes.attach(note_id, attachment), given))
        last = notes.get(note_id).attachment
    assert last is not None
    assert sorted([last.key, *(key for key in replaced if key)]) == sorted(each.key for each in given)


def test_an_attachment_may_be_too_large(instance: Instance, dashboard: Service) -> None:
    note_id = add(dashboard)
    assert put(dashboard, note_id, b"x" * LARGEST_ATTACHMENT).status == 200
    answer = put(dashboard, note_id, b"y" * (LARGEST_ATTACHMENT + 1))
    assert answer.status == 413
    assert answer.json["error"]
    assert [body[:1] for body in objects(instance, note_id)] == [b"x"]


def test_a_content_type_must_be_one(dashboard: Service) -> None:
    note_id = add(dashboard)
    assert put(dashboard, note_id, b"x", "no type").status == 400
    assert put(dashboard, note_id, b"x", "text/" + "x" * 300).status == 400
    assert listed(dashboard)[note_id]["attachment"] is None


@pytest.mark.parametrize(
    "sent",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1", "Host": "localhost"},
    ],
)
def test_other_sites_may_not_write(dashboard: Service, sent: dict[str, str]) -> None:
    before = listed(dashboard)
    headers = {**sent, "Content-Type": "text/plain"}
    answer = dashboard.ask("/api/notes", "POST", body=b'{"text": "from elsewhere"}', headers=headers)
    assert answer.status == 403
    assert answer.headers["X-Orienter-Instance"] == "3"
    assert listed(dashboard) == before
    assert dashboard.ask("/api/notes", headers=headers).status == 200


def test_the_page_itself_may_write(dashboard: Service) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "http://LOCALHOST:3080", "Host": "localhost:3080"}
    assert dashboard.ask("/api/notes", "POST", body=b'{"text": "mine"}', headers=headers).status == 201


def test_signing_in_and_out(dashboard: Service) -> None:
    assert dashboard.send("/api/auth/login", {"password": "wrong"}).status == 401
    assert dashboard.send("/api/auth/login", {"password": 1}).status == 400
    answer = dashboard.send("/api/auth/login", {"password": "demo"})
    assert answer.status == 200
    cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert cookie.startswith("orienter_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(attributes)
    assert dashboard.ask("/api/auth/validate", headers={"Cookie": cookie}).status == 200
    bearer = f"Bearer {answer.json['token']}"
    assert dashboard.ask("/api/auth/validate", headers={"Authorization": bearer}).status == 200
    assert dashboard.ask("/api/auth/validate", headers={"Authorization": f"{bearer}0"}).status == 401
    assert 'orienter_session=""' in dashboard.send("/api/auth/logout", {}).headers["Set-Cookie"]


def test_an_open_page_hears_of_changes(dashboard: Service) -> None:
    with dashboard.events() as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        assert events.headers["X-Accel-Buffering"] == "no"
        first = next_event(events)
        note_id = add(dashboard)
        began = time.monotonic()
        assert next_event(events) > first
        assert time.monotonic() - began < 1
        put(dashboard, note_id, b"x")
        dashboard.ask(f"/api/notes/{note_id}", "DELETE")
        assert next_event(events) > first + 1


def next_event(events: object) -> int:
    for line in iter(events.readline, b""):  # type: ignore[attr-defined]
        if line.startswith(b"data:"):
            return int(line.rpartition(b":")[2].strip(b" }\n"))
    raise AssertionError("the stream ended")


def test_pages_that_went_away_make_room(dashboard: Service) -> None:
    with ExitStack() as pages:
        for _ in range(LISTENERS):
            stores.wait_until(lambda: pages.enter_context(dashboard.events()).status == 200, dashboard.log)
        assert dashboard.ask("/api/events").status == 503
        assert dashboard.ask("/api/notes").status == 200

    def listening() -> bool:
        with dashboard.events() as events:
            return events.status == 200

    stores.wait_until(listening, dashboard.log)


def test_connections_that_broke_are_replaced(dashboard: Service, instance: Instance, database_port: int) -> None:
    add(dashboard)
    connection = stores.connect(database_port)
    ended = connection.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name",
        name=instance.variables["POSTGRES_DB"],
    )
    connection.close()
    assert ended
    time.sleep(1.1)  # a connection used within the last second is not tried first
    assert dashboard.ask("/api/notes").status == 200


def test_before_the_migration_setup_is_required(new_instance: Callable[[int], Instance]) -> None:
    fresh = new_instance(5)
    service = fresh.dashboard()
    assert service.ask("/api/auth/setup-required").json == {"setupRequired": True}
    answer = service.ask("/api/notes")
    assert answer.status == 503
    assert "examples.demo.migrate" in answer.json["error"]
    assert fresh.migrate().returncode == 0
    assert service.ask("/api/auth/setup-required").json == {"setupRequired": False}
    note_id = add(service)
    assert fresh.migrate().returncode == 0
    assert list(listed(service)) == [note_id]


def test_migrations_at_once_take_turns(new_instance: Callable[[int], Instance]) -> None:
    for _ in range(5):
        address = parse(new_instance(9).variables["DATABASE_URL"])
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(migrate, [address] * 8))


def test_two_instances_share_nothing(new_instance: Callable[[int], Instance], dashboard: Service) -> None:
    other = new_instance(4)
    assert other.migrate().returncode == 0
    service = other.dashboard()
    note_id = add(dashboard, "mine")
    put(dashboard, note_id, b"mine")
    assert listed(service) == {}
    assert list(other.bucket.iterdir()) == []
    token = dashboard.send("/api/auth/login", {"password": "demo"}).json["token"]
    assert service.ask("/api/auth/validate", headers={"Authorization": f"Bearer {token}"}).status == 401


def test_notes_files_and_sessions_outlive_the_dashboard(new_instance: Callable[[int], Instance]) -> None:
    instance = new_instance(6)
    assert instance.migrate().returncode == 0
    service = instance.dashboard(DEMO_PASSWORD="open sesame")
    assert service.send("/api/auth/login", {"password": "demo"}).status == 401
    token = service.send("/api/auth/login", {"password": "open sesame"}).json["token"]
    note_id = add(service)
    stored = put(service, note_id, b"<svg/>", "image/svg+xml")
    assert stored.status == 200, stored.body
    assert service.stop()[0] == 0
    service = instance.dashboard()
    assert service.ask("/api/auth/validate", headers={"Authorization": f"Bearer {token}"}).status == 200
    answer = service.ask(f"/api/notes/{note_id}/attachment")
    assert (answer.body, answer.headers["Content-Type"]) == (b"<svg/>", "image/svg+xml")
    key = Path(instance.variables["DATA_DIR"]) / "dashboard" / "session.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_stop_does_not_wait_for_open_pages(new_instance: Callable[[int], Instance]) -> None:
    service = new_instance(7).dashboard()
    with service.events() as events:
        next_event(events)
        code, seconds = service.stop()
    assert code == 0
    assert seconds < 2


def test_missing_stores_are_told_not_hidden(new_instance: Callable[[int], Instance]) -> None:
    instance = new_instance(8)
    assert instance.migrate().returncode == 0
    service = instance.dashboard(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    note_id = add(service)
    answer = put(service, note_id, b"x")
    assert (answer.status, "S3" in answer.json["error"]) == (503, True)
    assert listed(service)[note_id]["attachment"] is None
    service.stop()
    service = instance.dashboard(AWS_SECRET_ACCESS_KEY="wrong")
    assert put(service, note_id, b"x").json["error"].endswith("SignatureDoesNotMatch")
    service.stop()
    service = instance.dashboard(DATABASE_URL="postgresql://u:hush@127.0.0.1:9/d")
    answer = service.ask("/api/auth/setup-required")
    assert (answer.status, "PostgreSQL" in answer.json["error"]) == (503, True)
    assert b"hush" not in answer.body


def test_an_object_that_vanished_is_not_found(instance: Instance, dashboard: Service) -> None:
    note_id = add(dashboard)
    put(dashboard, note_id, b"x")
    (path,) = (instance.bucket / "notes" / str(note_id)).iterdir()
    s3 = stores.client(int(instance.variables["MINIO_API_PORT"]))
    s3.remove_object(instance.bucket.name, f"notes/{note_id}/{path.name}")
    assert dashboard.ask(f"/api/notes/{note_id}/attachment").status == 404


@pytest.mark.parametrize("name", ["AI_INSTANCE_ID", "DASHBOARD_PORT", "DATABASE_URL", "S3_BUCKET", "DATA_DIR"])
def test_a_missing_variable_is_named_in_one_line(instance: Instance, name: str) -> None:
    done = stack.run("dashboard", {key: value for key, value in instance.variables.items() if key != name})
    assert (done.returncode, done.stderr) == (2, f"demo: {name} is not set\n")


def test_a_taken_port_is_told_in_one_line(instance: Instance, dashboard: Service) -> None:
    done = stack.run("dashboard", instance.variables)
    assert done.returncode == 2
    assert done.stderr.startswith(f"demo: cannot listen on 127.0.0.1:{dashboard.port}")
    assert done.stderr.count("\n") == 1


def test_a_migration_without_a_database_fails_in_one_line(instance: Instance) -> None:
    done = stack.run("migrate", {**instance.variables, "DATABASE_URL": "postgresql://u:hush@127.0.0.1:9/d"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr
