"""A start logs in to PostgreSQL's container only if that may have another result than the last time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.clients.postgres import ensure_database
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import postgres
from tests.backends.contract import down, sql, up

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The databases that starts logged in to."""
    made: list[str] = []

    def noted(config: InstanceConfig) -> None:
        made.append(config.variables["POSTGRES_DB"])
        ensure_database(config)

    monkeypatch.setattr(postgres, "ensure_database", noted)
    return made


def test_what_nobody_changed_costs_no_login(lab: DockerLab, config: InstanceConfig, logins: list[str]) -> None:
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    kept = config.instance.data_dir / postgres.PROOF
    assert kept.stat().st_mode & 0o077 == 0
    assert config.variables["POSTGRES_PASSWORD"].encode() not in kept.read_bytes()
    up(lab.backend(config), config, ["postgres"])
    assert logins == ["whatsapp_bot_0"], "it runs already"
    lab.engine.api.stop(config.instance.container("postgres"))
    up(lab.backend(config), config, ["postgres"])
    for _ in range(2):
        down(backend)
        up(lab.backend(config), config, ["postgres"])
    assert len(logins) <= 2, "another container, the same data: its first shutdown may write to the catalogs once more"

    kept.write_bytes(b"x" * kept.stat().st_size)
    logins.clear()
    up(lab.backend(config), config, ["postgres"])
    assert logins == ["whatsapp_bot_0"]


def test_what_changed_costs_a_login(lab: DockerLab, config: InstanceConfig, logins: list[str]) -> None:
    backend, user = lab.backend(config), config.variables["POSTGRES_USER"]
    up(backend, config, ["postgres"])
    server = lab.config(dotenv={"POSTGRES_DB": "another"})
    ensure_database(server)
    sql(server, "DROP DATABASE whatsapp_bot_0")
    up(lab.backend(config), config, ["postgres"])
    assert sql(config, "SELECT current_database()") == [["whatsapp_bot_0"]], "made again"

    sql(config, "CREATE TABLE kept ()")
    down(backend)
    wrong = lab.config(dotenv={"POSTGRES_PASSWORD": "another"})
    with pytest.raises(CheckError, match="refuses user"):
        up(lab.backend(wrong), wrong, ["postgres"])
    up(lab.backend(config), config, ["postgres"])
    sql(config, f"ALTER ROLE \"{user}\" PASSWORD 'by hand'")
    down(backend)
    with pytest.raises(CheckError, match="refuses user"):
        up(lab.backend(config), config, ["postgres"])

    down(backend)
    assert lab.backend(config).remove_data()
    logins.clear()
    up(lab.backend(config), config, ["postgres"])
    assert logins == ["whatsapp_bot_0"]
    with pytest.raises(Exception, match="42P01"):
        sql(config, "TABLE kept")
