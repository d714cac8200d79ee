"""Sessions with an instance's PostgreSQL and S3 store, with its credentials; not for readiness."""

from __future__ import annotations

import io
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orienter_tasks.backends.clients.postgres import logged_in
from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig

SECONDS = 5.0
PATIENCE = 600.0  # a store says nothing while it puts an object of gigabytes together
BLOCK = 2**20
METADATA = "x-amz-meta-"


class DatabaseSession:
    """A login to the instance's own database."""

    def __init__(self, config: InstanceConfig, connection: Any) -> None:
        self._config = config
        self._connection = connection

    def rows(self, statement: str, **values: object) -> list[list[Any]]:
        from pg8000 import exceptions

        try:
            return list(self._connection.run(statement, **values) or ())
        except (exceptions.Error, OSError) as error:
            raise CheckError(f"PostgreSQL of {self._config.instance}: {_reason(error)}") from error


@contextmanager
def database(config: InstanceConfig) -> Iterator[DatabaseSession]:
    """Log in to the instance's database."""
    from pg8000 import exceptions

    with ExitStack() as opened:
        try:
            connection = opened.enter_context(logged_in(config, config.variables["POSTGRES_DB"], SECONDS))
        except (exceptions.Error, OSError) as error:
            raise CheckError(
                f"PostgreSQL of {config.instance} on port {config.instance.ports['postgres']}: {_reason(error)}",
                hint="see: inv infra.logs -s postgres",
            ) from error
        yield DatabaseSession(config, connection)


class StoredObject(Struct, frozen=True):
    """An object of the bucket; `modified` is a time in UTC."""

    key: str
    size: int
    modified: str


class ObjectFacts(Struct, frozen=True):
    """What the store knows of an object beside its content."""

    key: str
    content_type: str = ""
    metadata: dict[str, str] = {}


class StoreSession:
    """Signed requests to the instance's S3 store."""

    def __init__(self, config: InstanceConfig, client: Any) -> None:
        self._config = config
        self._client = client
        self._bucket = config.variables["S3_BUCKET"]

    def buckets(self) -> list[str]:
        return sorted(bucket.name for bucket in self._asked(self._client.list_buckets))

    def objects(self) -> list[str]:
        return sorted(self.each_object())

    def each_object(self) -> Iterator[str]:
        """Yield the keys as the store lists them, a page at a time."""
        entries = self._client.list_objects(self._bucket, recursive=True)
        while (entry := self._asked(lambda: next(entries, None))) is not None:
            yield entry.object_name

    def listing(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys begin with a prefix, in order."""
        found = self._asked(lambda: list(self._client.list_objects(self._bucket, prefix, recursive=True)))
        objects = (StoredObject(it.object_name, it.size or 0, f"{it.last_modified:%Y-%m-%d %H:%M:%S}") for it in found)
        return sorted(objects, key=lambda it: it.key)

    def require(self, key: str) -> None:
        """Require that there is such an object; else NotFoundError."""
        self._of(key, lambda: self._client.stat_object(self._bucket, key))

    def upload(self, path: Path, key: str) -> None:
        from mimetypes import guess_type

        kind = guess_type(path.name)[0] or "application/octet-stream"
        self._asked(lambda: self._client.fput_object(self._bucket, key, str(path), kind))

    def download(self, key: str, path: Path) -> None:
        self._of(key, lambda: self._client.fget_object(self._bucket, key, str(path)))

    def copy(self, key: str, target: str) -> None:
        from minio.commonconfig import CopySource

        self._of(key, lambda: self._client.copy_object(self._bucket, target, CopySource(self._bucket, key)))

    def remove(self, key: str) -> None:
        self._asked(lambda: self._client.remove_object(self._bucket, key))

    def put(self, name: str, content: bytes) -> None:
        self._asked(lambda: self._client.put_object(self._bucket, name, io.BytesIO(content), len(content)))

    def get(self, name: str) -> bytes:
        def read() -> bytes:
            with self._client.get_object(self._bucket, name) as answer:
                return bytes(answer.read())

        return bytes(self._asked(read))

    @contextmanager
    def reading(self, key: str) -> Iterator[tuple[ObjectFacts, Iterator[bytes]] | None]:
        """Yield the facts and the content of an object; None if there is none."""
        from minio.error import S3Error

        def get() -> Any:
            try:
                return self._client.get_object(self._bucket, key)
            except S3Error as error:
                if error.code not in ("NoSuchKey", "NoSuchObject"):
                    raise
                return None

        answer = self._asked(get)
        if answer is None:
            yield None
            return
        with closing(answer):
            headers = {name.lower(): str(value) for name, value in answer.headers.items()}
            metadata = {
                name.removeprefix(METADATA): value for name, value in headers.items() if name.startswith(METADATA)
            }
            yield ObjectFacts(key, headers.get("content-type", ""), metadata), self._content(answer, headers)

    def _content(self, answer: Any, headers: Mapping[str, str]) -> Iterator[bytes]:
        length = 0
        while block := self._asked(lambda: answer.read(BLOCK)):
            length += len(block)
            yield block
        if str(length) != headers.get("content-length", str(length)):
            raise CheckError(f"S3 store of {self._config.instance}: it ended within an object")

    def write(self, facts: ObjectFacts, size: int, blocks: Iterator[bytes]) -> None:
        kind = facts.content_type or "application/octet-stream"
        metadata = dict(facts.metadata)
        given = (self._bucket, facts.key, _Stream(blocks), size, kind, metadata or None)
        # each part that is uploaded is in memory
        self._asked(lambda: self._client.put_object(*given, num_parallel_uploads=1))

    def _of(self, key: str, request: Callable[[], Any]) -> None:
        from minio.error import S3Error

        def asked() -> None:
            try:
                request()
            except S3Error as error:
                if error.code not in ("NoSuchKey", "NoSuchObject"):
                    raise
                raise NotFoundError(f"{self._bucket} has no object {key}", hint="inv infra.s3 ls") from error

        self._asked(asked)

    def _asked(self, request: Callable[[], Any]) -> Any:
        import urllib3
        from minio.error import MinioException

        try:
            return request()
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "code", "") or type(error).__name__
            raise CheckError(
                f"S3 store of {self._config.instance} on port {self._config.instance.ports['minio_api']}: {reason}",
                hint="see: inv infra.logs -s minio",
            ) from error


class _Stream:
    """Blocks as a file, which is read in pieces of any length."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (block := next(self._blocks, b"")):
            self._rest += block
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


@contextmanager
def store(config: InstanceConfig, *, patient: bool = False) -> Iterator[StoreSession]:
    """Open a session with the instance's S3 store; only a request shows whether it answers.

    A `patient` one, for whole objects, waits as long as a store may work on a big one.
    """
    import urllib3
    from minio import Minio

    variables = config.variables
    timeout = urllib3.Timeout(connect=SECONDS, read=PATIENCE if patient else SECONDS)
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        client = Minio(
            f"{LOOPBACK}:{config.instance.ports['minio_api']}",
            access_key=variables["AWS_ACCESS_KEY_ID"],
            secret_key=variables["AWS_SECRET_ACCESS_KEY"],
            region=variables["AWS_REGION"],
            secure=False,
            http_client=pool,
        )
        yield StoreSession(config, client)


def _reason(error: Exception) -> str:
    fields: Any = error.args[0] if error.args else ""
    if isinstance(fields, dict):
        return str(fields.get("M", error))  # PostgreSQL's error and notice message fields
    return " ".join(str(error).split()) or type(error).__name__
