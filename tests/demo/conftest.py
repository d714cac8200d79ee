"""Servers for the demo's tests, and instances that use them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests import slot
from tests.demo import stack, stores as servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def database_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.postgres(tmp_path_factory.mktemp("postgres"), slot.port()) as port:
        yield port


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    port = slot.port()
    with servers.s3(tmp_path_factory.mktemp("s3"), port) as directory:
        yield directory, port


@pytest.fixture(scope="session")
def stores(database_port: int, buckets: tuple[Path, int]) -> servers.Stores:
    directory, port = buckets
    return servers.Stores(database_port, directory, port)


@pytest.fixture
def new_instance(
    stores: servers.Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], stack.Instance]]:
    """Return a function that makes an instance of a given id with an empty database and bucket."""
    with ExitStack() as made:
        yield lambda number: made.enter_context(stack.instance(number, tmp_path_factory.mktemp("instance"), stores))


@pytest.fixture(scope="module")
def instance(stores: servers.Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Instance]:
    """Instance 3, its database migrated."""
    with stack.instance(3, tmp_path_factory.mktemp("instance"), stores) as made:
        done = made.migrate()
        assert done.returncode == 0, done.stderr
        yield made


@pytest.fixture(scope="module")
def dashboard(instance: stack.Instance) -> stack.Service:
    return instance.dashboard()
