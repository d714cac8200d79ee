"""Sessions with an instance's PostgreSQL and S3 store under its own credentials: to look, not to wait for readiness."""

from __future__ import annotations

import io
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.clients.postgres import logged_in
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orienter_tasks.backends.protocol import InstanceConfig

SECONDS = 5.0
ERROR_MESSAGE = "M"  # of PostgreSQL's error and notice message fields


class DatabaseSession:
    """A login to the instance's own database."""

    def __init__(self, config: InstanceConfig, connection: Any) -> None:
        self._config = config
        self._connection = connection

    def rows(self, statement: str, **values: object) -> list[list[Any]]:
        """Run a statement and return its rows.

        Raises:
            CheckError: the server refuses it, or is gone.
        """
        from pg8000 import exceptions

        try:
            return list(self._connection.run(statement, **values) or ())
        except (exceptions.Error, OSError) as error:
            raise CheckError(f"PostgreSQL of {self._config.instance}: {_reason(error)}") from error


@contextmanager
def database(config: InstanceConfig) -> Iterator[DatabaseSession]:
    """Log in to the instance's own database.

    Raises:
        CheckError: nobody answers, or the login is refused.
    """
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


class StoreSession:
    """Signed requests to the instance's S3 store."""

    def __init__(self, config: InstanceConfig, client: Any) -> None:
        self._config = config
        self._client = client
        self._bucket = config.variables["S3_BUCKET"]

    def buckets(self) -> list[str]:
        """Name every bucket that the store has."""
        return sorted(bucket.name for bucket in self._asked(self._client.list_buckets))

    def objects(self) -> list[str]:
        """Name every object of the instance's bucket."""
        found = self._asked(lambda: list(self._client.list_objects(self._bucket, recursive=True)))
        return sorted(entry.object_name for entry in found)

    def put(self, name: str, content: bytes) -> None:
        """Write an object into the instance's bucket."""
        self._asked(lambda: self._client.put_object(self._bucket, name, io.BytesIO(content), len(content)))

    def get(self, name: str) -> bytes:
        """Read an object of the instance's bucket."""

        def read() -> bytes:
            with self._client.get_object(self._bucket, name) as answer:
                return bytes(answer.read())

        return bytes(self._asked(read))

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


@contextmanager
def store(config: InstanceConfig) -> Iterator[StoreSession]:
    """Open a session with the instance's S3 store; the first request tells whether it answers."""
    import urllib3
    from minio import Minio

    variables = config.variables
    with urllib3.PoolManager(timeout=SECONDS, retries=False) as pool:
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
        return str(fields.get(ERROR_MESSAGE, error))
    return " ".join(str(error).split()) or type(error).__name__
