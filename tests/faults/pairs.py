"""A service that writes an object and then its row, and removes older pairs; a signal ends it between two of them."""

import io
import itertools
import os
import signal
from urllib.parse import unquote, urlsplit

from minio import Minio
from pg8000 import native

KEPT = 20
told: list[bool] = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))

database, store = urlsplit(os.environ["DATABASE_URL"]), urlsplit(os.environ["AWS_ENDPOINT_URL"])
connection = native.Connection(
    unquote(database.username or ""),
    host=database.hostname or "",
    port=database.port or 0,
    database=unquote(database.path[1:]),
    password=unquote(database.password or ""),
)
keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
client = Minio(store.netloc, *keys, secure=False, region=os.environ["AWS_REGION"])
bucket = os.environ["S3_BUCKET"]
connection.run("CREATE TABLE IF NOT EXISTS kept (text text)")
start = os.getpid()
for number in itertools.count():
    if told:
        break
    text = f"{start}-{number:06}"
    client.put_object(bucket, text, io.BytesIO(text.encode()), len(text))
    connection.run("INSERT INTO kept VALUES (:text)", text=text)
    if number >= KEPT:
        former = f"{start}-{number - KEPT:06}"
        client.remove_object(bucket, former)
        connection.run("DELETE FROM kept WHERE text = :text", text=former)
connection.close()
