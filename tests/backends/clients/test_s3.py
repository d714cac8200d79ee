"""The one S3 request of a start: signed as the AWS SDK signs it; every answer of a store means one thing."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from orienter_tasks.backends.clients import sessions
from orienter_tasks.backends.clients.s3 import ensure_bucket, is_name, sign
from orienter_tasks.errors import CheckError
from orienter_tasks.stack.component import NotReadyError
from tests import slot
from tests.configs import make_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True) | st.text(min_size=1, max_size=20)


@given(
    method=st.sampled_from(["HEAD", "PUT", "GET"]),
    bucket=BUCKETS,
    body=st.binary(max_size=2000),
    key=WORDS,
    secret=WORDS | st.text(min_size=1, max_size=30),
    region=st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1"]) | WORDS,
    port=st.integers(1, 65535),
)
def test_signed_as_botocore_signs(
    method: str, bucket: str, body: bytes, key: str, secret: str, region: str, port: int
) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    path, host = f"/{quote(bucket, safe='-._~')}", f"127.0.0.1:{port}"
    theirs = AWSRequest(method, f"http://{host}{path}", headers={"Host": host}, data=body)
    S3SigV4Auth(Credentials(key, secret), "s3", region).add_auth(theirs)
    moment = time.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    ours = sign(method, path, host, body, (key, secret), region, moment)
    assert ours == {name: theirs.headers[name] for name in ours}
    assert set(ours) == {"x-amz-content-sha256", "x-amz-date", "Authorization"}


@pytest.mark.parametrize("name", ["orienter-data-0", "a.b", "0ab", "a" * 63])
def test_a_buckets_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "ab", "Orienter", "a_b", "-ab", "ab-", "a..b", "10.0.0.1", "a" * 64, "abc\n"])
def test_no_buckets_name(name: str) -> None:
    assert not is_name(name)


@contextmanager
def store(*answers: tuple[int, str], seconds: float = 0.0) -> Iterator[tuple[int, list[tuple[str, str, bytes]]]]:
    """Answer requests in turn with a status and an S3 error code, after some time; yields port and requests."""
    asked: list[tuple[str, str, bytes]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, body))
            status, code = left.pop(0)
            time.sleep(seconds)
            content = f"<Error><Code>{code}</Code></Error>".encode() if code and self.command != "HEAD" else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_HEAD  # noqa: N815 - http.server calls it by that name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Not to stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ports_from(port: int) -> dict[str, int]:
    """Port bases that follow each other; the S3 server's comes first."""
    names = sorted(slot.NAMES, key=lambda name: name != "minio_api")
    return {name: port + place for place, name in enumerate(names)}


def asked_of(root: Path, *answers: tuple[int, str], **storage: str) -> list[tuple[str, str, bytes]]:
    with store(*answers) as (port, asked):
        ensure_bucket(make_config(root, ports=ports_from(port), storage=storage))
    return asked


def test_a_bucket_that_is_there_costs_one_request(tmp_path: Path) -> None:
    assert asked_of(tmp_path, (200, "")) == [("HEAD", "/orienter-data-0", b"")]


def test_a_missing_bucket_is_made(tmp_path: Path) -> None:
    assert [method for method, *_ in asked_of(tmp_path, (404, ""), (200, ""))] == ["HEAD", "PUT"]


def test_a_bucket_is_made_in_its_region(tmp_path: Path) -> None:
    *_, (_, _, body) = asked_of(tmp_path, (404, ""), (200, ""), region="eu-<1>")
    assert b"<LocationConstraint>eu-&lt;1&gt;</LocationConstraint>" in body


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "BucketAlreadyExists"])
def test_a_bucket_that_another_start_made_meanwhile_is_there(tmp_path: Path, code: str) -> None:
    asked_of(tmp_path, (404, ""), (409, code))


def test_refused_credentials_are_no_matter_of_waiting(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="refuses the credentials: AccessDenied"):
        asked_of(tmp_path, (403, ""))
    with pytest.raises(CheckError, match="refuses the credentials: SignatureDoesNotMatch"):
        asked_of(tmp_path, (404, ""), (403, "SignatureDoesNotMatch"))


@pytest.mark.parametrize(("status", "told"), [(503, "status 503"), (301, "status 301")])
def test_any_other_answer_is_not_ready_yet(tmp_path: Path, status: int, told: str) -> None:
    with pytest.raises(NotReadyError, match=told):
        asked_of(tmp_path, (status, ""))


def test_nobody_is_not_ready_yet(tmp_path: Path) -> None:
    with store() as (port, _):
        pass
    with pytest.raises(NotReadyError, match=f"S3 on port {port}: ConnectionRefusedError"):
        ensure_bucket(make_config(tmp_path, ports=ports_from(port)))


def test_only_a_patient_session_waits_for_a_store_that_works_on_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SECONDS", 0.2)
    with store((200, ""), (200, ""), seconds=0.5) as (port, asked):
        config = make_config(tmp_path, ports=ports_from(port))
        with sessions.store(config) as session, pytest.raises(CheckError, match="ReadTimeoutError"):
            session.put("big", b"1")
        with sessions.store(config, patient=True) as session:
            session.put("big", b"1")
    assert [each[:2] for each in asked] == [("PUT", "/orienter-data-0/big")] * 2
