"""Names in the S3 store that cannot both be kept: whatever is asked, no acknowledged object is lost or hidden."""

from __future__ import annotations

import http.client
import io
import os
import random
import shlex
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from orienter_tasks.backends.clients.s3 import sign
from orienter_tasks.backends.embedded.programs import nginx
from orienter_tasks.identity.volumes import working_dir
from tests.backends.contract import get, put, s3, up
from tests.backends.embedded.test_storage import MIB, boto_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded

WRITERS, CHANGES, STORED = 8, 40, 20
SECONDS = 20.0  # rclone looks again after two, and without being told so after 300


@pytest.fixture
def boto(served: InstanceConfig) -> Iterator[Any]:
    with closing(boto_client(served, signature_version="s3v4")) as client:
        yield client


def ask(config: InstanceConfig, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a signed request with exactly this path."""
    variables, port = config.variables, config.instance.ports["minio_api"]
    keys = (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    host, plain = f"127.0.0.1:{port}", quote(unquote(path, errors="surrogateescape"), errors="surrogateescape")
    headers = sign(method, plain, host, body, keys, variables["AWS_REGION"], time.gmtime())
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def directory(config: InstanceConfig) -> Path:
    return working_dir(config.instance, "minio") / "data" / config.variables["S3_BUCKET"]


def files(config: InstanceConfig) -> dict[str, bytes]:
    bucket = directory(config)
    return {str(path.relative_to(bucket)): path.read_bytes() for path in bucket.rglob("*") if path.is_file()}


def objects(config: InstanceConfig, boto: Any) -> dict[str, bytes]:
    bucket = config.variables["S3_BUCKET"]
    found = boto.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {key: boto.get_object(Bucket=bucket, Key=key)["Body"].read() for key in (each["Key"] for each in found)}


def code_of(call: Any, **words: Any) -> str:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**words)
    return str(caught.value.response["Error"]["Code"])


def test_a_name_with_objects_below_it_is_refused(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    for name in ("u/a", "a+b %/?#&=;'\"", "${uri}\\[x]*.html", "日本", "-d", "line\nend\n/\n.", "x" * 230):
        for key in (f"{name}/0", f"{name}/deep/1", "other"):
            boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
        before = objects(served, boto)
        at = {"Bucket": bucket, "Key": name}
        assert code_of(boto.put_object, **at, Body=b"new") == "XMinioObjectExistsAsDirectory"
        assert code_of(boto.copy_object, **at, CopySource=f"{bucket}/other") == "XMinioObjectExistsAsDirectory"
        assert code_of(boto.create_multipart_upload, **at) == "XMinioObjectExistsAsDirectory"
        boto.delete_object(**at)  # deleting what does not exist succeeds
        assert objects(served, boto) == files(served) == before
        assert len(before) == 3
        assert code_of(boto.get_object, **at) == "NoSuchKey"
        for key in before:
            boto.delete_object(Bucket=bucket, Key=key)
        if (directory(served) / name).exists():  # rclone may overlook it while it looks at the directory above anew
            boto.put_object(Bucket=bucket, Key=f"{name}/2", Body=b"2")
            boto.delete_object(Bucket=bucket, Key=f"{name}/2")
        boto.put_object(**at, Body=b"new")
        assert objects(served, boto) == {name: b"new"}
        boto.delete_object(**at)


def test_every_spelling_of_it_is_refused(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="u/a/0", Body=b"0")
    for path in ("/{}/u/a/", "/{}/u", "/{}%2Fu/a", "/{}%2fu%2Fa", "//{}/u/a", "/{}/%75/a", "/{}/u/%61"):
        for method in ("PUT", "POST"):
            status, body = ask(served, method, path.format(bucket), b"new")
            assert (status, body[:5]) == (409, b"<?xml"), (method, path)
        assert ask(served, "DELETE", path.format(bucket)) == (204, b""), path
        assert objects(served, boto) == files(served) == {"u/a/0": b"0"}, path


def test_paths_that_are_no_keys_harm_nothing(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="u/a/0", Body=b"0")
    for path in ("/{}//u/a", "/{}/u//a", "/{}/x/../u/a", "/{}/.", "/{}/..", "/{}%2Fx%2F..", "/{}/u/%00"):
        assert ask(served, "PUT", path.format(bucket), b"new")[0] in (400, 409), path
        ask(served, "DELETE", path.format(bucket))
        assert objects(served, boto) == files(served) == {"u/a/0": b"0"}, path


def test_a_name_below_an_object_is_refused(served: InstanceConfig, boto: Any) -> None:
    """rclone would remove `f` for a DELETE of `f/g`, and take `f/` for `f`."""
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="f", Body=b"kept")
    assert code_of(boto.put_object, Bucket=bucket, Key="f/g", Body=b"new") == "XMinioParentIsObject"
    assert code_of(boto.put_object, Bucket=bucket, Key="f/", Body=b"new") == "XMinioInvalidObjectName"
    assert code_of(boto.put_object, Bucket=bucket, Key="f/g/h", Body=b"new") == "InternalError"
    for key in ("f/g", "f/", "f/g/h"):
        boto.delete_object(Bucket=bucket, Key=key)
    assert objects(served, boto) == files(served) == {"f": b"kept"}


def test_a_batch_with_a_name_below_an_object_deletes_nothing(served: InstanceConfig, boto: Any) -> None:
    """rclone would remove `f` for `f/g`; what is in the batch is read as rclone reads it."""
    bucket = served.variables["S3_BUCKET"]
    odd = ("f&g;<h>'\"/amp&amp;", "日本/\U0001f600", "line\nend/x")
    for key in ("f&g", *odd):
        boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
    batch = {"Objects": [{"Key": key} for key in (*odd, "none", "none/x", "f&g/below")]}
    assert code_of(boto.delete_objects, Bucket=bucket, Delete=batch) == "XMinioParentIsObject"
    assert sorted(objects(served, boto)) == sorted(("f&g", *odd))
    batch["Objects"].pop()
    assert len(boto.delete_objects(Bucket=bucket, Delete=batch)["Deleted"]) == len(batch["Objects"])
    assert objects(served, boto) == files(served) == {"f&g": b"f&g"}
    for body in (b"", b"<Delete/>", b"<Delete><Object><Key><![CDATA[f&g/below]]></Key></Object></Delete>"):
        assert ask(served, "POST", f"/{bucket}", body)[0] == 400
    assert files(served) == {"f&g": b"f&g"}


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system knows one name only")
def test_names_that_look_alike_are_two(served: InstanceConfig, boto: Any) -> None:
    """Without its flags, rclone takes one Unicode normal form for the other, and a control code's picture for it."""
    bucket = served.variables["S3_BUCKET"]
    for one, other in (
        ("caf\u00e9", "cafe\u0301"),
        ("x\u240a", "x\n"),
        ("x\u2421", "x\x7f"),
        ("\uff0e", "\uff0e\uff0e"),
    ):
        for key in (one, other, f"d/{one}/0", f"d/{other}/0"):
            boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
        boto.delete_object(Bucket=bucket, Key=one)
        assert get(served, other) == other.encode()
        assert get(served, f"d/{one}/0") == f"d/{one}/0".encode()
        assert files(served).keys() >= {other, f"d/{one}/0", f"d/{other}/0"}


def test_requests_for_buckets_pass(served: InstanceConfig, boto: Any) -> None:
    for path in ("/another", "/one-more/"):
        assert ask(served, "PUT", path)[0] == 200
        boto.put_object(Bucket=path.strip("/"), Key="a/b", Body=b"x")
        boto.delete_objects(Bucket=path.strip("/"), Delete={"Objects": [{"Key": "a/b"}]})
        assert ask(served, "DELETE", path)[0] == 204


def test_a_multipart_upload_that_was_overtaken(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    upload = {"Bucket": bucket, "Key": "late"}
    upload["UploadId"] = boto.create_multipart_upload(**upload)["UploadId"]
    tag = boto.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]
    boto.put_object(Bucket=bucket, Key="late/first", Body=b"first")
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    assert code_of(boto.complete_multipart_upload, **upload, MultipartUpload=parts) == "XMinioObjectExistsAsDirectory"
    boto.abort_multipart_upload(**upload)
    assert code_of(boto.list_parts, **upload) == "NoSuchUpload"
    assert objects(served, boto) == {"late/first": b"first"}


def test_clients_that_send_much_see_the_error(served: InstanceConfig, boto: Any) -> None:
    """boto3 waits for permission to send (Expect: 100-continue), minio-py sends all and uses its connection again."""
    from minio.error import S3Error

    bucket, content = served.variables["S3_BUCKET"], bytes(48 * MIB)
    boto.put_object(Bucket=bucket, Key="u/0", Body=b"0")
    assert code_of(boto.put_object, Bucket=bucket, Key="u", Body=content) == "XMinioObjectExistsAsDirectory"
    with s3(served) as client:
        for _ in range(2):
            with pytest.raises(S3Error) as caught:
                client.put_object(bucket, "u", io.BytesIO(content), len(content), part_size=64 * MIB)
            assert caught.value.code == "XMinioObjectExistsAsDirectory"
        client.put_object(bucket, "u/1", io.BytesIO(b"1"), 1)
    assert objects(served, boto) == {"u/0": b"0", "u/1": b"1"}


def test_who_has_not_signed_learns_nothing(served: InstanceConfig, boto: Any) -> None:
    bucket, port = served.variables["S3_BUCKET"], served.instance.ports["minio_api"]
    boto.put_object(Bucket=bucket, Key="u/0", Body=b"0")
    answers = []
    for key in ("u", "u/0", "none"):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}/{key}", b"new", method="PUT")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value:
            answers.append((caught.value.code, caught.value.read()))
    assert answers[0] == answers[1] == answers[2]


def test_a_page_of_another_origin_uploads_with_a_link(served: InstanceConfig, boto: Any) -> None:
    """What a browser sends and requires: fetch.spec.whatwg.org, «CORS protocol»."""
    place = {"Bucket": served.variables["S3_BUCKET"], "Key": "photo"}
    link = boto.generate_presigned_url("put_object", Params=place, ExpiresIn=60)
    wish = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type,x-amz-meta-who"}
    origin = {"Origin": "http://localhost:3000"}
    with urllib.request.urlopen(urllib.request.Request(link, headers={**origin, **wish}, method="OPTIONS")) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", origin["Origin"])
        assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
        assert answer.headers["Access-Control-Allow-Headers"] == wish["Access-Control-Request-Headers"]
    with urllib.request.urlopen(urllib.request.Request(link, b"data", origin, method="PUT")) as answer:
        assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    boto.put_object(Bucket=place["Bucket"], Key="a/b", Body=b"x")
    for refused in (link.replace("photo", "other"), boto.generate_presigned_url("put_object", {**place, "Key": "a"})):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(refused, b"data", origin, method="PUT"))
        with caught.value:
            assert caught.value.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert objects(served, boto) == {"photo": b"data", "a/b": b"x"}


@contextmanager
def unfinished_upload(config: InstanceConfig, key: str) -> Iterator[Callable[[], int]]:
    """Begin an upload of two bytes; what is given sends the second one and returns the status."""
    variables, port = config.variables, config.instance.ports["minio_api"]
    keys = (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    path, host = f"/{variables['S3_BUCKET']}/{key}", f"127.0.0.1:{port}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest("PUT", path, skip_host=True)
        signature = sign("PUT", path, host, b"ok", keys, variables["AWS_REGION"], time.gmtime())
        for name, value in {"Host": host, **signature, "Content-Length": "2"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"o")

        def finish() -> int:
            connection.send(b"k")
            return connection.getresponse().status

        yield finish


def test_requests_for_names_that_exclude_each_other_take_turns(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]

    def wait_for(method: str, key: str, status: int) -> None:
        until = time.monotonic() + SECONDS
        while (found := ask(served, method, f"/{bucket}/{key}")[0]) != status and time.monotonic() < until:
            time.sleep(0.01)
        assert found == status, (method, key)

    batch = {"Objects": [{"Key": "plain"}, {"Key": "s/b"}]}
    with unfinished_upload(served, "s") as finish:
        wait_for("DELETE", "s/b", 503)
        for method, key in (("PUT", "s/b"), ("POST", "s/b?uploads"), ("PUT", "s/b/c"), ("DELETE", "s/b/c")):
            assert ask(served, method, f"/{bucket}/{key}")[0] == 503, (method, key)
        assert code_of(boto.delete_objects, Bucket=bucket, Delete=batch) == "SlowDown"
        for key in ("s", "s2", "plain"):
            assert ask(served, "PUT", f"/{bucket}/{key}", b"x")[0] == 200, key
        assert finish() == 200
    assert ask(served, "PUT", f"/{bucket}/s/b")[0] == 409
    with unfinished_upload(served, "t/b/c"):
        wait_for("DELETE", "t/b", 503)
        for method, key, status in (("PUT", "t/b", 503), ("PUT", "t", 503), ("PUT", "t/d", 200), ("PUT", "t/b/d", 200)):
            assert ask(served, method, f"/{bucket}/{key}", b"x")[0] == status, (method, key)
    wait_for("DELETE", "t/b", 204)  # whoever hung up holds nothing
    assert files(served) == {"s": b"ok", "s2": b"x", "plain": b"x", "t/d": b"x", "t/b/d": b"x"}


def test_a_delete_below_never_takes_what_is_put_meanwhile(served: InstanceConfig, boto: Any) -> None:
    bucket, kept, lost = served.variables["S3_BUCKET"], directory(served) / "h", []
    ended = threading.Event()

    def delete_below() -> None:
        while not ended.is_set():
            ask(served, "DELETE", f"/{bucket}/h/x")

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(delete_below) for _ in range(2)]
        try:
            stored = 0
            while stored < STORED:
                if ask(served, "PUT", f"/{bucket}/h", b"kept")[0] == 200:
                    stored += 1
                    time.sleep(0.002)
                    lost += [] if kept.is_file() else [stored]
                    while ask(served, "DELETE", f"/{bucket}/h")[0] != 204:
                        pass
        finally:
            ended.set()
        for other in others:
            other.result()
    assert lost == []
    put(served, "h", b"kept")
    assert objects(served, boto) == files(served) == {"h": b"kept"}


def test_an_nginx_without_njs_refuses_what_cannot_be(lab: EmbeddedLab) -> None:
    plain = lab.config()
    program = lab.directory / "nginx"
    program.write_text(f'#!/bin/sh\n[ "$1" = -V ] && exit\nexec {shlex.quote(str(nginx(plain.settings)))} "$@"\n')
    program.chmod(0o755)
    config = lab.config(embedded={"nginx": str(program)})
    up(lab.backend(config), config, ["minio"])
    bucket = config.variables["S3_BUCKET"]
    put(config, "u/a/0", b"0")
    assert [ask(config, "PUT", f"/{bucket}/{key}")[0] for key in ("u", "u/a", "u/b")] == [409, 409, 200]
    with closing(boto_client(config)) as client:
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "u/b"}]})
    assert files(config) == {"u/a/0": b"0"}


class Writer:
    """Changes its own keys, of which others' keys may be a part, and knows what was acknowledged."""

    def __init__(self, boto: Any, bucket: str, directory: Path, number: int) -> None:
        self._boto, self._bucket, self._directory = boto, bucket, directory
        self._random = random.Random(number)
        # each of three writers has another link of a chain: c, c/x and c/x/y
        self._keys = [f"c{chain}" + ("", "/x", "/x/y")[(chain + number) % 3] for chain in range(number // 3, 9, 3)]
        self._keys += [f"plain/{number}/{each}" for each in range(3)]
        self.kept: dict[str, bytes] = {}

    def work(self) -> None:
        for _ in range(CHANGES):
            self._change(self._random.choice(self._keys))

    def _change(self, key: str) -> None:
        from botocore.exceptions import ClientError

        at, content = {"Bucket": self._bucket, "Key": key}, os.urandom(8)
        path = self._directory / key
        with suppress(ClientError):
            kind = self._random.choice(("put", "delete", "copy", "parts"))
            if kind == "delete":
                if key in self.kept:
                    self._boto.delete_object(**at)
                    del self.kept[key]
                    assert not path.is_file(), key
                return
            if kind == "put":
                self._boto.put_object(**at, Body=content)
            elif kind == "copy":
                self._boto.copy_object(**at, CopySource=f"{self._bucket}/source")
                content = b"source"
            else:
                at["UploadId"] = self._boto.create_multipart_upload(**at)["UploadId"]
                tag = self._boto.upload_part(**at, PartNumber=1, Body=content)["ETag"]
                parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
                self._boto.complete_multipart_upload(**at, MultipartUpload=parts)
            self.kept[key] = content
            assert path.read_bytes() == content, key


def test_what_was_acknowledged_is_kept_and_found(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="source", Body=b"source")
    writers = [Writer(boto, bucket, directory(served), number) for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(Writer.work, writers))
    kept = {"source": b"source"}
    for writer in writers:
        kept |= writer.kept
    assert finished(files(served)) == kept
    until = time.monotonic() + SECONDS
    while (seen := settled(served, boto)) != kept and time.monotonic() < until:
        time.sleep(0.1)
    assert seen == kept


def settled(config: InstanceConfig, boto: Any) -> dict[str, bytes]:
    """Return the objects; nothing while a listed object cannot be read."""
    with suppress(boto.exceptions.NoSuchKey):
        return finished(objects(config, boto))
    return {}


def finished(found: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what refused uploads have left, of those that passed the check at the same moment."""
    return {key: content for key, content in found.items() if ".rclone_temp_" not in key}
