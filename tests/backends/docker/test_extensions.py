"""The extensions that the host needs, on Docker: the server in its image is asked before anything uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.errors import BackendError
from orienter_tasks.infra.all import component
from tests.backends.contract import sql, up
from tests.repositories import make_repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.docker.lab import DockerLab

MIGRATION = (
    "CREATE EXTENSION pgcrypto; SELECT 'a' COLLATE \"de-x-icu\", xmlparse(CONTENT '');\nCREATE EXTENSION postgis;"
)


@pytest.mark.docker
def test_what_the_image_has_and_lacks(lab: DockerLab, tmp_path: Path) -> None:
    config = lab.config(database={"extensions": ["pgcrypto", "uuid-ossp", "icu", "xml"]})
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    sql(config, "CREATE EXTENSION pgcrypto")

    root = make_repository(tmp_path / "host", {"1.sql": MIGRATION})
    (found,) = component("postgres").unmet(config, root, native=False, running=True)
    assert (found.what, found.where) == ("postgis", "1.sql:2")
    assert "orienter.docker.postgres" in found.remedy
    assert component("postgres").unmet(config, root, native=False, running=False) == [], "its image tells nothing"

    more = replace(
        config, settings=replace(config.settings, database=replace(config.settings.database, extensions=("postgis",)))
    )
    with pytest.raises(BackendError, match=r"lacks postgis of orienter\.database\.extensions") as caught:
        up(lab.backend(more), more, ["postgres"])
    assert caught.value.hint == "set orienter.docker.postgres to an image that has them"
