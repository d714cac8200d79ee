from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker import images
from orienter_tasks.errors import BackendError, InterruptError
from tests import slot
from tests.backends.docker.lab import PROJECT
from tests.backends.docker.registry import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.docker.engine import Engine
    from tests.backends.docker.lab import DockerLab

KEY = "orienter.docker.postgres"
PORT = slot.port()
IMAGE = f"127.0.0.1:{PORT}/{PROJECT}/tiny:1"


def ignore(text: str) -> None:
    pass


def test_progress_in_words() -> None:
    assert images.progress("nginx:alpine", []) == "pulling nginx:alpine"
    assert images.progress("nginx:alpine", [(1_000_000, 4_000_000), (500_000, 6_000_000)]) == (
        "pulling nginx:alpine: 2 of 10 MB"
    )


@pytest.fixture
def engine(lab: DockerLab) -> Iterator[Engine]:
    yield lab.engine
    with contextlib.suppress(Exception):
        lab.engine.api.remove_image(IMAGE, force=True)


@pytest.mark.docker
def test_a_missing_image_is_pulled_and_told_about(engine: Engine) -> None:
    notes: list[str] = []
    with serving(PORT, f"{PROJECT}/tiny", seconds=1.5) as registry:
        assert not images.is_here(engine, registry.image)
        images.ensure(engine, registry.image, KEY, notes.append)
    assert images.is_here(engine, IMAGE)
    assert notes[0] == f"pulling {IMAGE}"
    megabytes = [int(note.removeprefix(f"pulling {IMAGE}: ").split(" of ")[0]) for note in notes if " of 4 MB" in note]
    assert len(megabytes) >= 2
    assert megabytes == sorted(megabytes)

    # without a registry what is here is enough
    images.ensure(engine, IMAGE, KEY, ignore)


@pytest.mark.docker
@pytest.mark.parametrize("image", [IMAGE, "Not An Image"], ids=["no registry", "no reference"])
def test_an_image_that_cannot_be_had(engine: Engine, image: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError) as refused:
        images.ensure(engine, image, KEY, ignore)
    assert time.monotonic() - begun < 10
    line = refused.value.line()
    assert image in line
    assert KEY in line
    assert f"docker pull {image}" in line
    assert refused.value.exit_code == 5


@pytest.mark.docker
def test_a_registry_without_the_image(engine: Engine) -> None:
    with serving(PORT, f"{PROJECT}/tiny"), pytest.raises(BackendError, match=f"{PROJECT}/other:1"):
        images.ensure(engine, f"127.0.0.1:{PORT}/{PROJECT}/other:1", KEY, ignore)


@pytest.mark.docker
def test_a_pull_that_breaks_in_the_middle(engine: Engine) -> None:
    with serving(PORT, f"{PROJECT}/tiny") as registry:
        registry.broken = True
        with pytest.raises(BackendError, match="cannot be pulled") as refused:
            images.ensure(engine, registry.image, KEY, ignore)
    assert re.search("verification failed|got sha256:", str(refused.value))  # in Docker's words, or in Podman's


@pytest.mark.docker
def test_a_pull_is_given_up_when_the_run_is(engine: Engine) -> None:
    def give_up(text: str) -> None:
        if " of " in text:
            raise InterruptError("given up")

    with serving(PORT, f"{PROJECT}/tiny", seconds=8.0) as registry:
        begun = time.monotonic()
        with pytest.raises(InterruptError):
            images.ensure(engine, registry.image, KEY, give_up)
        assert time.monotonic() - begun < 5.0
    assert not images.is_here(engine, IMAGE)
