"""What services and hooks wait for, from both lists of hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings.graph import exporters, needs
from orienter_tasks.settings.load import load_settings

if TYPE_CHECKING:
    from orienter_tasks.settings.model import Settings

SERVERS = ["postgres", "minio"]
NONE = dict.fromkeys(("frontend", "dashboard", "opencode", "whatsapp", "slack"))


def settings(*start: dict[str, Any], former: tuple[dict[str, Any], ...] = (), **services: list[str]) -> Settings:
    """Settings of hooks, and of services that need what is given."""
    named = {name: {"command": ["x"], "needs": needed} for name, needed in (services or {"api": [], "web": []}).items()}
    return load_settings({"services": {**NONE, **named}, "hooks": {"start": start, "before_services": former}})


def hook(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "command": ["x"], **keys}


def test_hooks_run_at_once_and_before_all_services() -> None:
    found = needs(settings(hook("build"), hook("migrate", needs=["postgres"])))
    assert found == {
        "api": ["build", "migrate"],
        "web": ["build", "migrate"],
        "build": [],
        "migrate": ["postgres"],
    }


def test_a_hook_runs_before_whom_it_names() -> None:
    found = needs(settings(hook("keys", before=["web", "seed"]), hook("seed", before=[])))
    assert found == {"api": [], "web": ["keys"], "keys": [], "seed": ["keys"]}


def test_a_hook_that_needs_a_service_runs_after_it() -> None:
    found = needs(settings(hook("ask", needs=["api"]), hook("then", needs=["ask"]), hook("build")))
    assert found == {"api": ["build"], "web": ["build"], "ask": ["api"], "then": ["ask"], "build": []}
    assert needs(settings(hook("ask", needs=["api"], before=["web"])))["web"] == ["ask"]


def test_a_service_may_name_the_hook() -> None:
    assert needs(settings(hook("keys", before=[]), api=["keys"], web=[]))["api"] == ["keys"]


@pytest.mark.parametrize(
    ("keys", "waits_for"),
    [({}, SERVERS), ({"needs": ["postgres"]}, ["postgres"]), ({"needs": ["migrate"]}, ["migrate"])],
)
def test_once_for_data_waits_for_the_data(keys: dict[str, Any], waits_for: list[str]) -> None:
    migrate = hook("migrate", needs=["minio"])
    assert needs(settings(migrate, hook("seed", once="data", **keys)))["seed"] == waits_for


def test_the_former_list_keeps_its_order() -> None:
    former = (hook("one"), hook("two", services=["web"]), hook("three"))
    found = needs(settings(hook("beside"), former=former))
    assert found["one"] == SERVERS
    assert found["two"] == [*SERVERS, "one"]
    assert found["three"] == [*SERVERS, "one", "two"]
    assert (found["api"], found["web"]) == (["one", "three", "beside"], ["two", "one", "three", "beside"])


def test_only_those_that_wait_for_a_hook_get_its_exports() -> None:
    secrets = hook("secrets", exports=True, before=["bot", "seed"])
    found = exporters(settings(secrets, hook("seed", before=["api"]), bot=[], api=["bot"]))
    assert found == {"bot": ["secrets"], "api": [], "secrets": [], "seed": ["secrets"]}


def test_the_former_list_exports_to_all_that_follow() -> None:
    found = exporters(settings(former=(hook("one", exports=True), hook("two"), hook("three"))))
    assert all(found[name] == ["one"] for name in ("two", "three", "api", "web"))


@pytest.mark.parametrize(
    ("keys", "circle"),
    [
        ({"needs": ["seed"]}, "seed → seed"),
        ({"needs": ["web"], "before": ["web"]}, "web → seed → web"),
        ({"needs": ["web"], "before": ["api"]}, "api → seed → web → api"),
    ],
)
def test_a_circle_of_hooks_and_services(keys: dict[str, Any], circle: str) -> None:
    with pytest.raises(ConfigError, match=f"^orienter.hooks: needs go in a circle: {circle}$") as caught:
        settings(hook("seed", **keys), api=[], web=["api"])
    assert caught.value.exit_code == 2
