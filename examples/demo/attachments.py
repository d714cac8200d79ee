"""The bytes of attachments, as objects in the instance's bucket."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from examples.demo.configuration import require
from examples.demo.errors import ConfigurationError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_SECONDS = 2.0
READ_SECONDS = 15.0
GONE = frozenset({"NoSuchKey", "NoSuchObject"})


@dataclass(frozen=True)
class Storage:
    """Where the S3 store is and how to be let in."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str

    def __repr__(self) -> str:
        return f"Storage({self.endpoint!r}, bucket={self.bucket!r})"


def read_storage(environ: Mapping[str, str]) -> Storage:
    """Read the store's place and credentials from the variables."""
    endpoint = require(environ, "AWS_ENDPOINT_URL")
    if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).netloc:
        raise ConfigurationError(f"AWS_ENDPOINT_URL is not of the form http://HOST:PORT: {endpoint!r}")
    return Storage(
        endpoint=endpoint,
        access_key=require(environ, "AWS_ACCESS_KEY_ID"),
        secret_key=require(environ, "AWS_SECRET_ACCESS_KEY"),
        bucket=require(environ, "S3_BUCKET"),
        region=environ.get("AWS_REGION") or "us-east-1",
    )


class Attachments:
    """Put, get and remove objects; the S3 client is loaded with the first one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._client: Any = None

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        self._ask(lambda client, bucket: client.put_object(bucket, key, BytesIO(body), len(body)))

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError if it is not there."""
        body: bytes = self._ask(lambda client, bucket: _read(client.get_object(bucket, key)))
        return body

    def remove(self, key: str) -> None:
        """Remove an object; it need not be there."""
        self._ask(lambda client, bucket: client.remove_object(bucket, key))

    def _ask(self, request: Callable[[Any, str], Any]) -> Any:
        from minio.error import MinioException
        from urllib3.exceptions import HTTPError

        try:
            return request(self._connected(), self._storage.bucket)
        except MinioException as error:
            code = _code(error)
            if code in GONE:
                raise NotFoundError("the attachment is not in the bucket") from error
            raise UnavailableError(f"S3 on {self._storage.endpoint} refuses: {code}") from error
        except HTTPError as error:
            raise UnavailableError(f"S3 on {self._storage.endpoint} does not answer") from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _client(self._storage)
            return self._client


def _client(storage: Storage) -> Any:
    from minio import Minio
    from urllib3 import PoolManager, Retry, Timeout

    place = urlsplit(storage.endpoint)
    return Minio(
        endpoint=place.netloc,
        access_key=storage.access_key,
        secret_key=storage.secret_key,
        secure=place.scheme == "https",
        region=storage.region,
        http_client=PoolManager(
            timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=Retry(total=1, backoff_factor=0.1),
        ),
    )


def _code(error: Exception) -> str:
    """Return S3's own word for what went wrong, also where the client could not read the answer as XML."""
    told: str | None = getattr(error, "code", None)
    if told:
        return told
    quoted = re.search(r"<Code>(\w+)</Code>", str(error))
    return quoted[1] if quoted else type(error).__name__


def _read(response: Any) -> bytes:
    try:
        body: bytes = response.read()
        return body
    finally:
        response.close()
        response.release_conn()
