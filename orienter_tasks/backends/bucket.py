"""Ready means a signed S3 request with the instance's credentials; its private bucket is made when missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.environment import LOOPBACK
from orienter_tasks.errors import CheckError
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from orienter_tasks.backends.backend import Site

REQUEST_SECONDS = 3.0
REFUSED = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")
MADE_MEANWHILE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def ensure_bucket(site: Site) -> None:
    """Ask for the instance's bucket, making it first when the store does not have it.

    Raises:
        NotReadyError: the store does not answer yet.
        CheckError: it refuses the credentials, or the bucket's name.
    """
    import urllib3
    from minio import Minio
    from minio.error import MinioException, S3Error

    name = site.variables["S3_BUCKET"]
    port = site.instance.ports["minio_api"]
    with urllib3.PoolManager(timeout=REQUEST_SECONDS, retries=False) as pool:
        client = Minio(
            f"{LOOPBACK}:{port}",
            access_key=site.variables["AWS_ACCESS_KEY_ID"],
            secret_key=site.variables["AWS_SECRET_ACCESS_KEY"],
            region=site.variables["AWS_REGION"],
            secure=False,
            http_client=pool,
        )
        try:
            if not client.bucket_exists(name):
                client.make_bucket(name)
        except ValueError as error:
            raise CheckError(f"S3_BUCKET of {site.instance}: {error}", hint="change S3_BUCKET in .env") from error
        except S3Error as error:
            if error.code in REFUSED:
                raise CheckError(
                    f"the S3 store of {site.instance} refuses the credentials: {error.code}",
                    hint="put the former MINIO_ROOT_USER and MINIO_ROOT_PASSWORD back into .env, or run: "
                    "inv infra.down, then inv infra.up",
                ) from error
            if error.code not in MADE_MEANWHILE:
                raise NotReadyError(f"S3 on port {port}: {error.code}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise NotReadyError(f"S3 on port {port}: {type(error).__name__}") from error
