"""One S3 request, signed: all that a start asks of a store.

The minio client is what everything else here asks with. Its import costs an eighth of a second (ciphers and a C parser
among it), which is as long as the store's own start; so the one question that every start waits for is asked here.

The signature is AWS Signature Version 4 for one chunk: docs.aws.amazon.com, «Create a signed AWS API request».
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from orienter_tasks.stack.probes import Connection

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """Who asks, and in which region."""

    key: str
    secret: str = field(repr=False)
    region: str


@dataclass(frozen=True)
class Answer:
    """A store's answer: HTTP's status, and the start of the body."""

    status: int
    body: bytes


def ask(
    host: str, port: int, method: str, bucket: str, body: bytes, credentials: Credentials, *, timeout: float
) -> Answer:
    """Send a request about a bucket.

    Raises:
        OSError, http.client.HTTPException: nobody answers, or not in HTTP.
    """
    path = "/" + quote(bucket, safe="-._~")
    headers = {"Host": f"{host}:{port}", "User-Agent": "orienter"}
    headers |= sign(method, path, headers["Host"], body, credentials, time.gmtime())
    connection = Connection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body=body or None, headers=headers)
        with connection.getresponse() as response:  # it keeps the socket where the server closes the connection
            return Answer(response.status, response.read(65536))
    finally:
        connection.close()


def sign(
    method: str, path: str, host: str, body: bytes, credentials: Credentials, now: time.struct_time
) -> dict[str, str]:
    """Return the headers that sign a request without a query.

    Args:
        method: HTTP's.
        path: as it is sent, percent-encoded.
        host: the Host header.
        body: the whole body.
        credentials: who asks.
        now: the present time in UTC.
    """
    moment, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    names = ";".join(signed)
    lines = [method, path, "", *(f"{name}:{value}" for name, value in signed.items()), "", names, digest]
    scope = (day, credentials.region, "s3", "aws4_request")
    text = "\n".join([ALGORITHM, moment, "/".join(scope), hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    secret = f"AWS4{credentials.secret}".encode()
    for part in scope:
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    return {
        "x-amz-content-sha256": digest,
        "x-amz-date": moment,
        "Authorization": f"{ALGORITHM} Credential={'/'.join((credentials.key, *scope))}, "
        f"SignedHeaders={names}, Signature={signature}",
    }
