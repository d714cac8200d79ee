"""The S3 store with the clients that services use, and what becomes of it after crashes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.backends.embedded.programs import store
from orienter_tasks.errors import BackendError, CheckError, ConfigError
from orienter_tasks.identity.volumes import working_dir
from orienter_tasks.infra import all as infra
from orienter_tasks.processes import census
from orienter_tasks.processes.record import load
from tests.backends.contract import component, down, get, put, s3, status_of, up
from tests.backends.embedded.lab import kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded

MIB = 1 << 20
ODD_KEYS = (
    "with space/and+plus",
    "ümläut/€/日本語.txt",
    "percent%20/100%",
    "quote'\"s&amp;=?#",
    "deep/" * 20 + "end",
    "dots/..hidden/.file",
    "tilde~under_score-dash.",
)


@pytest.fixture
def boto(served: InstanceConfig) -> Iterator[Any]:
    with closing(boto_client(served)) as client:
        yield client


def boto_client(config: InstanceConfig, **options: Any) -> Any:
    """Give a boto3 client that knows only what the services' variables say."""
    import boto3
    from botocore.config import Config

    variables = config.variables
    checksums = {
        "request_checksum_calculation": variables["AWS_REQUEST_CHECKSUM_CALCULATION"],
        "response_checksum_validation": variables["AWS_RESPONSE_CHECKSUM_VALIDATION"],
    }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=options.pop("secret", variables["AWS_SECRET_ACCESS_KEY"]),
        region_name=variables["AWS_REGION"],
        config=Config(retries={"max_attempts": 0}, **checksums, **options),
    )


@pytest.mark.parametrize("region", [None, "us-east-1"])
def test_minios_client_needs_no_region(served: InstanceConfig, region: str | None) -> None:
    """rclone's own errors are text/xml, at which this client gives up; the front cures that."""
    with s3(served, region=region) as client:
        assert client.bucket_exists(served.variables["S3_BUCKET"])
        assert not client.bucket_exists("there-is-none")
        client.make_bucket("another")
        client.put_object("another", "one", io.BytesIO(b"1"), 1)
        client.remove_object("another", "one")
        client.remove_bucket("another")
        assert not client.bucket_exists("another")


def test_errors_have_their_s3_names(served: InstanceConfig) -> None:
    from minio.error import S3Error

    bucket = served.variables["S3_BUCKET"]
    with s3(served) as client:
        for call, code in (
            (lambda: client.get_object(bucket, "none"), "NoSuchKey"),
            (lambda: client.stat_object(bucket, "none"), "NoSuchKey"),
            (lambda: list(client.list_objects("no-such-bucket")), "NoSuchBucket"),
        ):
            with pytest.raises(S3Error) as caught:
                call()
            assert caught.value.code == code


def test_what_is_stored_comes_back_as_it_was(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    content = os.urandom(3 * MIB + 17)
    answer = boto.put_object(
        Bucket=bucket, Key="note.bin", Body=content, ContentType="application/x-note", Metadata={"who_is": "me"}
    )
    assert answer["ETag"].strip('"') == hashlib.md5(content).hexdigest()
    head = boto.head_object(Bucket=bucket, Key="note.bin")
    assert (head["ContentType"], head["ContentLength"]) == ("application/x-note", len(content))
    assert {key.lower(): value for key, value in head["Metadata"].items()} == {"who_is": "me"}
    assert boto.get_object(Bucket=bucket, Key="note.bin")["Body"].read() == content
    stored = working_dir(served.instance, "minio") / "data" / bucket / "note.bin"
    assert stored.read_bytes() == content, "plain files that anybody can look at"


def test_an_object_of_type_text_xml_keeps_its_type(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="feed", Body=b"<a/>", ContentType="text/xml")
    assert boto.get_object(Bucket=bucket, Key="feed")["ContentType"] == "text/xml"


def test_parts_of_an_object(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key="long", Body=bytes(range(256)) * 100)
    answer = boto.get_object(Bucket=bucket, Key="long", Range="bytes=250-259")
    assert answer["ContentRange"] == "bytes 250-259/25600"
    assert answer["Body"].read() == bytes([*range(250, 256), *range(4)])
    assert boto.get_object(Bucket=bucket, Key="long", Range="bytes=-2")["Body"].read() == b"\xfe\xff"


def test_listing_by_prefix_and_by_pages(served: InstanceConfig, boto: Any) -> None:
    bucket = served.variables["S3_BUCKET"]
    keys = [f"a/{number:03}" for number in range(25)] + ["b/1", "c"]
    for key in keys:
        boto.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = list(
        boto.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="a/", PaginationConfig={"PageSize": 10})
    )
    assert [len(page["Contents"]) for page in pages] == [10, 10, 5]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys[:25]
    tops = boto.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in tops["CommonPrefixes"]] == ["a/", "b/"]
    assert [entry["Key"] for entry in tops["Contents"]] == ["c"]


def test_multipart_copy_and_batch_delete(served: InstanceConfig, boto: Any) -> None:
    from boto3.s3.transfer import TransferConfig

    bucket = served.variables["S3_BUCKET"]
    content = os.urandom(MIB) * 17
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    boto.upload_fileobj(io.BytesIO(content), bucket, "big", Config=parts)
    boto.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/big")
    back = io.BytesIO()
    boto.download_fileobj(bucket, "copy", back, Config=parts)
    assert back.getvalue() == content

    answer = boto.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "big"}, {"Key": "copy"}]})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == ["big", "copy"]
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_pass_the_front_as_they_were_signed(served: InstanceConfig, boto: Any, key: str) -> None:
    bucket = served.variables["S3_BUCKET"]
    boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert get(served, key) == key.encode()
    assert [entry["Key"] for entry in boto.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    boto.delete_object(Bucket=bucket, Key=key)


def test_links_work_without_credentials_until_they_are_changed(served: InstanceConfig) -> None:
    bucket = served.variables["S3_BUCKET"]
    put(served, "shared", b"for everybody with the link")
    with closing(boto_client(served, signature_version="s3v4")) as client:
        link = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "shared"}, ExpiresIn=60)
        upload = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "new"}, ExpiresIn=60)
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"for everybody with the link"
    with urllib.request.urlopen(urllib.request.Request(upload, data=b"sent", method="PUT")) as answer:
        assert answer.status == 200
    assert get(served, "new") == b"sent"
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(link.replace("shared", "new"))
    caught.value.close()


def test_a_wrong_secret_is_refused(served: InstanceConfig) -> None:
    from botocore.exceptions import ClientError

    with (
        closing(boto_client(served, secret="wrong-secret")) as client,
        pytest.raises(ClientError, match="SignatureDoesNotMatch"),
    ):
        client.list_buckets()


def test_a_large_upload_streams_through(served: InstanceConfig, boto: Any) -> None:
    """Neither the front nor rclone keeps it in memory."""
    before = _memory(served)
    size = 96 * MIB
    put(served, "huge", bytes(size))
    assert boto.head_object(Bucket=served.variables["S3_BUCKET"], Key="huge")["ContentLength"] == size
    assert _memory(served) - before < 80 * MIB


def _memory(config: InstanceConfig) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in census.take().pids(config.instance))


def test_a_very_long_path_is_no_hindrance(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path may have 107 bytes; this one's directory alone has four times that."""
    root = lab.directory / ("d" * 200) / ("e" * 200)
    monkeypatch.setenv("ORIENTER_VOLUME_DIR", str(root / "volumes"))
    config = lab.config(root=root)
    up(lab.backend(config), config, ["minio"])
    assert len(str(working_dir(config.instance, "minio") / "s3.sock")) > 400
    put(config, "key", b"value")
    assert get(config, "key") == b"value"


@pytest.mark.parametrize(
    "name", ["blank in it", "quo'te", 'double"quote', "dollar$HOME", "semi;colon", "ümläut", "{b}"]
)
def test_any_path_will_do(lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ORIENTER_VOLUME_DIR", str(lab.directory / name / "volumes"))
    config = lab.config(root=lab.directory / name)
    up(lab.backend(config), config)
    put(config, "key", b"value")
    assert get(config, "key") == b"value"


def test_only_the_dead_half_is_started_again(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    for dead, kept in (("minio", "minio-front"), ("minio-front", "minio")):
        survivor = load(config.instance, kept)
        kill(config, dead)
        found = status_of(backend, "minio")
        assert (found.up, found.running) == (True, False)
        assert "died" in found.what
        assert up(lab.backend(config), config, ["minio"]) == ["minio"]
        assert load(config.instance, kept) == survivor
        put(config, dead, b"again")


def test_workers_of_a_killed_front_are_ended(lab: EmbeddedLab) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["minio"])
    record = load(config.instance, "minio-front")
    assert record is not None
    workers = psutil.Process(record.pid).children()
    assert workers
    kill(config, "minio-front")
    assert any(worker.is_running() for worker in workers), "nginx leaves them"
    up(lab.backend(config), config, ["minio"])
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_the_status_says_that_there_is_no_console(served: InstanceConfig) -> None:
    assert infra.component("minio").lacks(served) == "no console"


@pytest.mark.parametrize("secret", ["with,comma", "line\nbreak"])
def test_credentials_that_rclone_cannot_take_are_named(lab: EmbeddedLab, secret: str) -> None:
    config = lab.config(dotenv={"MINIO_ROOT_PASSWORD": secret})
    with pytest.raises(ConfigError, match="MINIO_ROOT_PASSWORD") as caught:
        component(lab.backend(config), "minio").start(lambda text: None)
    assert secret not in caught.value.line()
    assert census.take().of(config.instance) == []


@pytest.mark.parametrize("secret", ['quo"te', "blank in it", "semi;colon#=", "x" * 200])
def test_other_credentials_are_taken(lab: EmbeddedLab, secret: str) -> None:
    config = lab.config(dotenv={"MINIO_ROOT_PASSWORD": secret})
    up(lab.backend(config), config, ["minio"])
    put(config, "key", b"value")
    assert get(config, "key") == b"value"


def test_new_credentials_after_a_restart_keep_the_objects(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    put(config, "key", b"value")
    down(backend)
    changed = lab.config(dotenv={"MINIO_ROOT_USER": "another", "MINIO_ROOT_PASSWORD": "another-secret"})
    up(lab.backend(changed), changed, ["minio"])
    assert get(changed, "key") == b"value"


MINIO = """#!{python}
import json, os, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(0)
words = sys.argv[1:]
assert words[0] == "server", words
options = dict(zip(words[2::2], words[3::2]))
os.makedirs(os.path.join(words[1], ".minio.sys"), exist_ok=True)
user, password = os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"]
os.environ["RCLONE_AUTH_KEY"] = f'"{{user}},{{password}}"'
with open(os.path.join(words[1], os.pardir, "asked.json"), "w") as file:
    json.dump([words[1], options, os.environ["MINIO_REGION"]], file)
os.execv({rclone!r}, [{rclone!r}, "serve", "s3", "--config", os.devnull, "--addr", options["--address"], words[1]])
"""


def test_a_minio_server_gets_what_it_needs(lab: EmbeddedLab) -> None:
    """Its command line and variables, translated for the server that is at hand; its data binds the instance to it."""
    import sys

    plain = lab.config()
    program = lab.directory / "minio"
    program.write_text(MINIO.format(python=sys.executable, rclone=str(store(plain.settings, "rclone").program)))
    program.chmod(0o755)
    config = lab.config(embedded={"minio": str(program)})
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    put(config, "key", b"value")
    ports = config.instance.ports
    data = working_dir(config.instance, "minio") / "data"
    asked = json.loads((data.parent / "asked.json").read_text())
    assert asked == [
        str(data),
        {
            "--address": f"127.0.0.1:{ports['minio_api']}",
            "--console-address": f"127.0.0.1:{ports['minio_console']}",
        },
        "us-east-1",
    ]
    assert load(config.instance, "minio-front") is None, "nothing stands in front of it"
    assert infra.component("minio").lacks(config) == ""
    down(backend)

    if store(plain.settings).kind == "rclone":
        with pytest.raises(BackendError, match="written by a MinIO server"):
            component(lab.backend(plain), "minio").start(lambda text: None)


def test_a_minio_that_appears_later_does_not_hide_the_objects(lab: EmbeddedLab) -> None:
    config = lab.config()
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    put(config, "key", b"value")
    down(backend)
    later = lab.directory / "minio"
    later.write_text("#!/bin/sh\nexit 1\n")
    later.chmod(0o755)
    with_minio = lab.config(embedded={"minio": str(later)})
    up(lab.backend(with_minio), with_minio, ["minio"])
    assert get(with_minio, "key") == b"value"


def test_a_program_that_cannot_run_is_told_as_that(lab: EmbeddedLab) -> None:
    broken = lab.directory / "rclone"
    broken.write_text("#!/bin/sh\necho \"version 'GLIBC_2.99' not found\" >&2\nexit 1\n")
    broken.chmod(0o755)
    config = lab.config(embedded={"rclone": str(broken)})
    with pytest.raises(BackendError, match=r"rclone cannot run here: .*GLIBC_2\.99"):
        up(lab.backend(config), config, ["minio"])
    assert census.take().of(config.instance) == []


def test_the_public_port_is_the_fronts(served: InstanceConfig) -> None:
    record = load(served.instance, "minio")
    assert record is not None
    assert psutil.Process(record.pid).net_connections("tcp") == [], "rclone itself has no TCP port"
    assert (working_dir(served.instance, "minio") / "s3.sock").is_socket()
    assert Path(record.cwd) == working_dir(served.instance, "minio")


def test_a_wrong_secret_is_told_at_once(lab: EmbeddedLab, served: InstanceConfig) -> None:
    from msgspec.structs import replace

    from orienter_tasks.backends.clients.s3 import ensure_bucket

    wrong = {**served.variables.values, "AWS_SECRET_ACCESS_KEY": "another-secret"}
    with pytest.raises(CheckError, match="refuses the credentials"):
        ensure_bucket(replace(served, variables=replace(served.variables, values=wrong)))
