"""Ready means a signed S3 request with the instance's credentials; its private bucket is created if it is missing.

The request is signed here (AWS Signature Version 4 in one chunk: docs.aws.amazon.com, «Create a signed AWS API
request») because importing the minio client takes 0.13 s, as long as the store's own start. `sessions` uses it.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.http import Connection

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig

REQUEST_SECONDS = 3.0
OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
MADE_MEANWHILE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
REFUSED = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")
DEFAULT_REGION = "us-east-1"  # S3 refuses it as a LocationConstraint
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
ALGORITHM = "AWS4-HMAC-SHA256"


def is_name(text: str) -> bool:
    """Whether every S3 store accepts this bucket name: docs.aws.amazon.com, «General purpose bucket naming rules»."""
    return NAME.fullmatch(text) is not None and ".." not in text and ADDRESS.fullmatch(text) is None


def ensure_bucket(config: InstanceConfig) -> None:
    """Ask for the instance's bucket; create it if the store does not have it.

    Raises:
        NotReadyError: the store does not answer yet.
        CheckError: it refuses the credentials or the bucket's name.
    """
    name = config.variables["S3_BUCKET"]
    if not is_name(name):
        raise CheckError(
            f"S3_BUCKET of {config.instance}: invalid bucket name {name!r} (3 to 63 of a-z, 0-9, - and .)",
            hint="change S3_BUCKET in .env",
        )
    status, body = _ask(config, "HEAD")
    if status == NOT_FOUND:
        status, body = _ask(config, "PUT", _location(config.variables["AWS_REGION"]))
    if status == OK:
        return
    found = re.search(rb"<Code>([A-Za-z0-9]+)</Code>", body)  # an answer to HEAD has no body
    code = found[1].decode() if found else "AccessDenied" if status == FORBIDDEN else f"status {status}"
    if code in REFUSED:
        raise CheckError(
            f"the S3 store of {config.instance} refuses the credentials: {code}",
            hint="put the previous MINIO_ROOT_USER and MINIO_ROOT_PASSWORD back into .env, or run: "
            "inv infra.down, then inv infra.up",
        )
    if code not in MADE_MEANWHILE:
        raise NotReadyError(f"S3 on port {config.instance.ports['minio_api']}: {code}")


def _location(region: str) -> bytes:
    if region == DEFAULT_REGION:
        return b""
    from xml.sax.saxutils import escape

    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<LocationConstraint>{escape(region)}</LocationConstraint></CreateBucketConfiguration>"
    ).encode()


def _ask(config: InstanceConfig, method: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request about the bucket; return the status and the start of the body."""
    variables, port = config.variables, config.instance.ports["minio_api"]
    path = "/" + quote(variables["S3_BUCKET"], safe="-._~")
    host = f"{LOOPBACK}:{port}"
    keys = (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    signature = sign(method, path, host, body, keys, variables["AWS_REGION"], time.gmtime())
    connection = Connection(LOOPBACK, port, timeout=REQUEST_SECONDS)
    try:
        connection.request(method, path, body or None, {"Host": host, "User-Agent": "orienter", **signature})
        with connection.getresponse() as response:  # it keeps the socket if the server closes the connection
            return response.status, response.read(65536)
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"S3 on port {port}: {type(error).__name__}") from error
    finally:
        connection.close()


def sign(
    method: str, path: str, host: str, body: bytes, keys: tuple[str, str], region: str, now: time.struct_time
) -> dict[str, str]:
    """Return the headers that sign a request without a query: `path` is percent-encoded, `now` in UTC."""
    key, secret = keys
    moment, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    names = ";".join(signed)
    lines = [method, path, "", *(f"{name}:{value}" for name, value in signed.items()), "", names, digest]
    scope = (day, region, "s3", "aws4_request")
    text = "\n".join([ALGORITHM, moment, "/".join(scope), hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    derived = f"AWS4{secret}".encode()
    for part in scope:
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(derived, text.encode(), hashlib.sha256).hexdigest()
    return {
        "x-amz-content-sha256": digest,
        "x-amz-date": moment,
        "Authorization": f"{ALGORITHM} Credential={'/'.join((key, *scope))}, "
        f"SignedHeaders={names}, Signature={signature}",
    }
