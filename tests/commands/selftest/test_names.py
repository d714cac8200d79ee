"""`test.env`: it passes for both configurations, and each fault that it looks for is found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.commands.selftest import names
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.instance import variables as environment
from orienter_tasks.lifecycle import config
from orienter_tasks.settings.load import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path("/checkout")


def test_both_configurations_pass(host_config: HostConfig) -> None:
    outcomes = list(names.checks(host_config))
    assert [outcome.text for outcome in outcomes if outcome.verdict != "ok"] == []
    assert len(outcomes) == 7
    assert all(outcome.text for outcome in outcomes)


def test_every_id_is_looked_at(host_config: HostConfig) -> None:
    highest = host_config.settings.instances.max
    count = len(host_config.settings.ports) * (highest + 1)
    assert names.ports_never_meet(host_config).startswith(f"{count} ports of {highest + 1} ids")


def with_ports(**ports: int) -> HostConfig:
    """Settings that are refused when they are loaded: the proof does not rely on that."""
    settings = load_settings(None)
    return HostConfig(msgspec.structs.replace(settings, ports={**settings.ports, **ports}), {}, ROOT)


def test_two_ports_that_meet() -> None:
    with pytest.raises(ConfigError, match=r"postgres \(5432\) and extra \(9432\) meet"):
        names.ports_never_meet(with_ports(extra=9432))


@pytest.mark.parametrize("base", [0, 57000])
def test_a_port_that_is_none(base: int) -> None:
    with pytest.raises(ConfigError, match=rf"extra: base {base} gives instance 9 port"):
        names.ports_never_meet(with_ports(extra=base))


@pytest.mark.parametrize(
    ("dotenv", "named"),
    [
        ({"S3_BUCKET": "Not-A-Bucket"}, "Not-A-Bucket-0 is not a bucket name"),
        ({"POSTGRES_DB": "a" * 62}, "would cut"),
        ({"POSTGRES_DB": "é" * 31}, "would cut"),
    ],
)
def test_names_that_are_not_accepted(dotenv: dict[str, str], named: str) -> None:
    with pytest.raises(CheckError, match=named):
        names.names_are_accepted(HostConfig(load_settings(None), dotenv, ROOT))


def test_two_names_that_meet(host_config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_names", lambda config: [f"db_{config.instance.id % 2}"])
    with pytest.raises(CheckError, match="db_0 is instance 0's and instance 2's"):
        names.names_never_meet(host_config)


def faulty(change: Callable[[dict[str, str], Any], None]) -> Any:
    """Make a `derive` with the bash version's faults."""

    def derive(instance: Any, settings: Any, dotenv: Any, environ: Any, **others: Any) -> environment.Variables:
        right = environment.derive(instance, settings, dotenv, environ, **others)
        values = dict(right.values)
        change(values, environ)
        return environment.Variables(values, right.origins, right.ignored)

    return derive


def test_a_suffix_that_grows_is_found(host_config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(values: dict[str, str], environ: Any) -> None:
        values["S3_BUCKET"] = f"{environ.get('S3_BUCKET', 'orienter-data')}-{values['AI_INSTANCE_ID']}"

    monkeypatch.setattr(config, "derive", faulty(grow))
    with pytest.raises(CheckError, match="S3_BUCKET of instance 0 is orienter-data-0, and orienter-data-0-0"):
        names.same_twice(host_config)


def test_what_sticks_to_the_shell_is_found(host_config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def stick(values: dict[str, str], environ: Any) -> None:
        values["POSTGRES_PORT"] = environ.get("POSTGRES_PORT", values["POSTGRES_PORT"])

    monkeypatch.setattr(config, "derive", faulty(stick))
    names.same_twice(host_config)
    with pytest.raises(CheckError, match=r"POSTGRES_PORT of instance 0 is .* in another instance's shell"):
        names.same_in_another_shell(host_config)


def test_secrets_are_not_told(host_config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(values: dict[str, str], environ: Any) -> None:
        values["POSTGRES_PASSWORD"] = "hunter2" if environ else "hunter3"

    monkeypatch.setattr(config, "derive", faulty(forget))
    with pytest.raises(CheckError) as found:
        names.same_twice(host_config)
    assert "hunter" not in str(found.value)


def test_a_word_that_nobody_sets() -> None:
    raw: dict[str, Any] = {"services": {"api": {"command": ["api", "--key", "${API_KEY}"]}}}
    with pytest.raises(CheckError, match=r"orienter.services.api: \$\{API_KEY\} is not set in instance 0"):
        names.commands_are_known(HostConfig(load_settings(raw), {}, ROOT))
    names.commands_are_known(HostConfig(load_settings(raw), {"API_KEY": "x"}, ROOT))
    raw["hooks"] = {"before_services": [{"name": "keys", "command": ["keys"], "exports": True}]}
    assert "keys must export" in names.commands_are_known(HostConfig(load_settings(raw), {}, ROOT))


def test_a_dotenv_that_contradicts_itself_is_an_outcome(host_config: HostConfig) -> None:
    wrong = HostConfig(host_config.settings, {"WHATSAPP_ENABLED": "perhaps"}, ROOT)
    failed = [outcome for outcome in names.checks(wrong) if outcome.verdict != "ok"]
    assert failed
    assert all("'perhaps' is neither true nor false" in outcome.text for outcome in failed)
