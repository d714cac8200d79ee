"""Each row of docs/backends.md about the embedded S3 store, held to the real store: what works, and what does not."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.contract import down, up
from tests.backends.embedded import test_names, test_storage
from tests.backends.embedded.test_storage import boto_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

PAGE = (Path(__file__).parents[3] / "docs" / "backends.md").read_text(encoding="utf-8")
CONTENT = bytes(range(100))


class Store:
    """A store that runs, its client, and what it answers."""

    def __init__(self, config: InstanceConfig, client: Any) -> None:
        self.config, self.client = config, client
        self.bucket = config.variables["S3_BUCKET"]

    def call(self, operation: str, **options: Any) -> Any:
        return getattr(self.client, operation)(Bucket=self.bucket, **options)

    def refused(self, operation: str, **options: Any) -> str:
        """Return the code of the error that an operation gets."""
        from botocore.exceptions import ClientError

        with pytest.raises(ClientError) as caught:
            self.call(operation, **options)
        error = caught.value.response
        return f"{error['ResponseMetadata']['HTTPStatusCode']} {error['Error']['Code']}"

    def content(self, key: str) -> bytes:
        return bytes(self.call("get_object", Key=key)["Body"].read())


def links(store: Store) -> None:
    store.call("put_object", Key="linked", Body=CONTENT)
    for version, status in (("s3v4", 200), ("s3", 400)):
        with closing(boto_client(store.config, signature_version=version)) as client:
            link = client.generate_presigned_url("get_object", Params={"Bucket": store.bucket, "Key": "linked"})
        assert status_of(link) == status, version


def ranges(store: Store) -> None:
    from botocore.exceptions import FlexibleChecksumError

    with closing(boto_client(store.config)) as client:
        client.meta.config.request_checksum_calculation = "when_supported"
        client.meta.config.response_checksum_validation = "when_supported"
        client.put_object(Bucket=store.bucket, Key="checked", Body=CONTENT)
        with pytest.raises(FlexibleChecksumError):
            client.get_object(Bucket=store.bucket, Key="checked", Range="bytes=2-5")["Body"].read()
    answer = store.call("get_object", Key="checked", Range="bytes=2-5")
    assert answer["Body"].read() == CONTENT[2:6]
    assert answer["ContentRange"] == "bytes 2-5/100"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200, "S3 says 206"


def no_policies(store: Store) -> None:
    """None of these changes the object, or the bucket, which is what rclone itself would do."""
    store.call("put_object", Key="plain", Body=CONTENT)
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    tags, rules = {"TagSet": [{"Key": "a", "Value": "b"}]}, [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
    expiry = [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
    unsupported: dict[str, dict[str, Any]] = {
        "put_bucket_policy": {"Policy": policy},
        "get_bucket_policy": {},
        "delete_bucket_policy": {},
        "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": expiry}},
        "put_bucket_cors": {"CORSConfiguration": {"CORSRules": rules}},
        "delete_bucket_cors": {},
        "put_bucket_tagging": {"Tagging": tags},
        "put_object_tagging": {"Key": "plain", "Tagging": tags},
        "get_object_tagging": {"Key": "plain"},
        "delete_object_tagging": {"Key": "plain"},
        "put_object_acl": {"Key": "plain", "ACL": "public-read"},
        "get_object_acl": {"Key": "plain"},
        "put_object_retention": {"Key": "plain", "Retention": {"Mode": "GOVERNANCE"}},
        "put_object_legal_hold": {"Key": "plain", "LegalHold": {"Status": "ON"}},
        "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
        "list_object_versions": {},
    }
    for operation, options in unsupported.items():
        assert store.refused(operation, **options) == "501 NotImplemented", operation
        assert store.content("plain") == CONTENT, operation
    store.client.create_bucket(Bucket="empty-one")
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match="NotImplemented"):
        store.client.delete_bucket_policy(Bucket="empty-one")
    store.client.delete_bucket(Bucket="empty-one")
    store.call("put_object", Key="public", Body=b"x", ACL="public-read")
    assert status_of(f"{store.config.variables['AWS_ENDPOINT_URL']}/{store.bucket}/public") == 400


def forms(store: Store) -> None:
    form = store.client.generate_presigned_post(store.bucket, "form.txt")
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in form["fields"].items()]
    parts.append('name="file"; filename="x"\r\n\r\nhello')
    body = "".join(f"--edge\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--edge--\r\n"
    assert status_of(form["url"], body.encode(), "multipart/form-data; boundary=edge") == 400
    assert "Contents" not in store.call("list_objects_v2", Prefix="form")


def conditions(store: Store) -> None:
    store.call("put_object", Key="once", Body=b"first", IfNoneMatch="*")
    assert store.refused("put_object", Key="once", Body=b"second", IfNoneMatch="*") == "412 PreconditionFailed"
    etag = store.call("head_object", Key="once")["ETag"]
    assert store.refused("put_object", Key="once", Body=b"third", IfMatch=etag) == "501 NotImplemented"
    assert store.refused("delete_object", Key="once", IfMatch=etag) == "501 NotImplemented"
    assert store.content("once") == b"first"
    assert store.refused("get_object", Key="once", IfNoneMatch=etag) == "304 304", "reads know conditions"

    from botocore.exceptions import ClientError

    outcomes: list[str] = []

    def claim(number: int) -> None:
        with closing(boto_client(store.config)) as client:
            try:
                client.put_object(Bucket=store.bucket, Key="race", Body=bytes([number]) * 100_000, IfNoneMatch="*")
            except ClientError as error:
                outcomes.append(error.response["Error"]["Code"])
            else:
                outcomes.append(str(number))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*outcomes} - {str(number) for number in range(6)} <= {"PreconditionFailed", "SlowDown"}
    (winner,) = [each for each in outcomes if each.isdigit()]
    assert {*store.content("race")} == {int(winner)}


def types(store: Store, restart: Callable[[], None]) -> None:
    for key in ("note.bin", "note.txt"):
        store.call("put_object", Key=key, Body=CONTENT, ContentType="application/x-note", Metadata={"who": "me"})
    kept = store.call("head_object", Key="note.txt")
    assert kept["ContentType"] == "application/x-note"
    assert {name.lower(): value for name, value in kept["Metadata"].items()} == {"who": "me"}
    restart()
    found = [store.call("head_object", Key=key) for key in ("note.bin", "note.txt")]
    assert [each["Metadata"] for each in found] == [{}, {}]
    assert [each["ContentType"] for each in found] == ["application/octet-stream", "text/plain; charset=utf-8"]
    assert store.content("note.bin") == CONTENT


HERE = {
    "presigned URLs": links,
    "the extra checksums": ranges,
    "no bucket policies": no_policies,
    "POST forms": forms,
    "conditional writes": conditions,
}
ELSEWHERE: dict[str, object] = {
    "content types": types,  # last, as it needs a restart
    "preflight": test_names.test_a_page_of_another_origin_uploads_with_a_link,
    "no console": test_storage.test_the_status_says_that_there_is_no_console,
    "an object is a file": test_names.test_a_name_with_objects_below_it_is_refused,
    "while a request changes": test_names.test_requests_for_names_that_exclude_each_other_take_turns,
    "a batch": test_names.test_a_batch_with_a_name_below_an_object_deletes_nothing,
    "where the last other object": test_names.test_what_was_acknowledged_is_kept_and_found,
    "rarely, the name": test_names.test_what_was_acknowledged_is_kept_and_found,
    "with an nginx without njs": test_names.test_an_nginx_without_njs_refuses_what_cannot_be,
}
UNTESTED = {"on macOS"}


def status_of(url: str, body: bytes | None = None, kind: str = "") -> int:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {"Content-Type": kind} if kind else {})
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_every_row_has_its_test() -> None:
    table = PAGE.split("How the embedded S3 store", 1)[1].split("\n\n", 2)[1]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    tested = [*HERE, *ELSEWHERE, *UNTESTED]
    unknown = [row for row in rows if not any(row.startswith(start) for start in tested)]
    assert unknown == []
    assert [start for start in tested if not any(row.startswith(start) for row in rows)] == []
    assert re.search(r"rclone (\d+\.\d+\.\d+)", PAGE)


@pytest.mark.embedded
def test_the_store_is_as_the_rows_say(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["minio"])

    def restart() -> None:
        down(backend)
        up(lab.backend(config), config, ["minio"])

    with closing(boto_client(config)) as client:
        store = Store(config, client)
        for check in HERE.values():
            check(store)
        types(store, restart)
