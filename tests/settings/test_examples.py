"""The settings below `examples/orient/` are valid, and mean what the spec says of the app."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from invoke.vendor import yaml

from orienter_tasks.backends import templates
from orienter_tasks.backends.nginx import configuration as nginx
from orienter_tasks.lifecycle.plan import make_plan
from orienter_tasks.settings.defaults import SERVICES
from orienter_tasks.settings.load import load_settings
from tests.backends.nginx.lab import Nginx
from tests.configs import make_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.protocol import InstanceConfig

EXAMPLES = Path(__file__).parents[2] / "examples/orient"
TOKENS = dict.fromkeys(("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"), "x")


def written(name: str) -> dict[str, Any]:
    raw = yaml.safe_load((EXAMPLES / name / "invoke.yaml").read_text())  # type: ignore[no-untyped-call]
    assert list(raw) == ["orienter"]
    return dict(raw["orienter"])


def config_of(name: str, root: Path) -> InstanceConfig:
    return make_config(root, 3, TOKENS, **written(name))


def needs_of(config: InstanceConfig) -> dict[str, Sequence[str]]:
    plan = make_plan(config, None)
    hooks = {hook.name: hook.needs for hook in plan.hooks}
    return {**hooks, **{service.name: service.needs for service in plan.services}}


def test_every_folder_has_settings_and_is_in_the_page() -> None:
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert folders == ["packages", "services"]
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name}/`" in page for name in folders)


def test_five_services(tmp_path: Path) -> None:
    assert load_settings(written("services")).services.keys() == SERVICES.keys()
    needs = needs_of(config_of("services", tmp_path))
    assert {"seed", "mini-apps"} <= {*needs["dashboard"]}
    assert "load-secrets" in needs["slack"]
    assert "load-secrets" not in needs["dashboard"]
    assert "mini-apps" not in needs["slack"]


def test_packages(tmp_path: Path) -> None:
    config = config_of("packages", tmp_path)
    assert sorted(config.settings.services) == ["dashboard", "frontend", "opencode", "slack"]
    assert sorted(config.instance.infra) == ["minio", "nginx"]
    needs = needs_of(config)
    assert "postgres" not in {name for names in needs.values() for name in names}
    assert "load-secrets" in needs["dashboard"]
    assert "WHATSAPP_PORT" not in config.variables.values


@pytest.mark.parametrize("name", ["services", "packages"])
def test_who_answers_for_whatsapp(tmp_path: Path, name: str) -> None:
    config = config_of(name, tmp_path)
    if (EXAMPLES / name / "templates").exists():
        shutil.copytree(EXAMPLES / name / "templates", config.instance.root / "templates")
    facts = nginx.values(config, Nginx(config, Path("nginx"), tmp_path / "run").nginx_facts())
    template = config.settings.nginx.template
    routes = templates.render(config.instance.root, template, Path("/nowhere"), facts).content
    _, _, below = routes.partition("location = /qr {")
    owner = {"services": "whatsapp", "packages": "dashboard"}[name]
    assert f"proxy_pass http://127.0.0.1:{config.instance.ports[owner]};" in below.partition("}")[0]
