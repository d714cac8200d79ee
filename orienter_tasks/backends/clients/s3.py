"""Ready means a signed S3 request with the instance's credentials; its private bucket is made when missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from orienter_tasks.backends.clients.sigv4 import Answer
    from orienter_tasks.backends.protocol import InstanceConfig

REQUEST_SECONDS = 3.0
OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
MADE_MEANWHILE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
REFUSED = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")
DEFAULT_REGION = "us-east-1"  # S3 refuses it as a LocationConstraint
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def ensure_bucket(config: InstanceConfig) -> None:
    """Ask for the instance's bucket, making it first when the store does not have it.

    Raises:
        NotReadyError: the store does not answer yet.
        CheckError: it refuses the credentials, or the bucket's name.
    """
    _check_name(config)
    answer = _ask(config, "HEAD")
    if answer.status == NOT_FOUND:
        answer = _ask(config, "PUT", _place(config.variables["AWS_REGION"]))
    if answer.status == OK:
        return
    code = _code(answer)
    if code in REFUSED:
        raise CheckError(
            f"the S3 store of {config.instance} refuses the credentials: {code}",
            hint="put the former MINIO_ROOT_USER and MINIO_ROOT_PASSWORD back into .env, or run: "
            "inv infra.down, then inv infra.up",
        )
    if code not in MADE_MEANWHILE:
        raise NotReadyError(f"S3 on port {config.instance.ports['minio_api']}: {code}")


def _ask(config: InstanceConfig, method: str, body: bytes = b"") -> Answer:
    import http.client

    from orienter_tasks.backends.clients.sigv4 import Credentials, ask

    variables, port = config.variables, config.instance.ports["minio_api"]
    credentials = Credentials(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], variables["AWS_REGION"]
    )
    try:
        return ask(LOOPBACK, port, method, variables["S3_BUCKET"], body, credentials, timeout=REQUEST_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"S3 on port {port}: {type(error).__name__}") from error


def is_name(text: str) -> bool:
    """Say whether every S3 store takes a bucket of this name.

    Source: docs.aws.amazon.com, «General purpose bucket naming rules».
    """
    return NAME.fullmatch(text) is not None and ".." not in text and ADDRESS.fullmatch(text) is None


def _check_name(config: InstanceConfig) -> None:
    name = config.variables["S3_BUCKET"]
    if not is_name(name):
        raise CheckError(
            f"S3_BUCKET of {config.instance}: invalid bucket name {name!r} (3 to 63 of a-z, 0-9, - and .)",
            hint="change S3_BUCKET in .env",
        )


def _place(region: str) -> bytes:
    if region == DEFAULT_REGION:
        return b""
    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<LocationConstraint>{_escaped(region)}</LocationConstraint></CreateBucketConfiguration>"
    ).encode()


def _escaped(text: str) -> str:
    from xml.sax.saxutils import escape

    return escape(text)


def _code(answer: Answer) -> str:
    """Return S3's own code of an error; an answer to HEAD has no body to tell it."""
    found = re.search(rb"<Code>([A-Za-z0-9]+)</Code>", answer.body)
    if found is not None:
        return found[1].decode()
    return "AccessDenied" if answer.status == FORBIDDEN else f"status {answer.status}"
