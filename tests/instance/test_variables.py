"""The variables of an instance: each of them, their order, the same when computed twice, hidden where secret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from orienter_tasks.errors import ConfigError
from orienter_tasks.instance.dotenv import read_dotenv
from orienter_tasks.instance.model import make_instance as build_instance
from orienter_tasks.instance.variables import (
    MASK,
    base_name,
    derive,
    expand,
    expand_all,
    masked,
    masked_unless_harmless,
    truth,
)
from orienter_tasks.settings.load import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.instance.variables import Variables

ROOT = Path("/home/me/repo")
IDS = range(10)


def variables(
    number: int, dotenv: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, **options: object
) -> Variables:
    settings = options.pop("settings", None) or load_settings(None)
    root = options.pop("root", ROOT)
    instance = build_instance(settings, number, root)  # type: ignore[arg-type]
    return derive(instance, settings, dotenv or {}, environ or {}, **options)  # type: ignore[arg-type]


# every variable


def test_the_variables_of_the_main_checkout() -> None:
    assert dict(variables(0).values) == {
        "AI_INSTANCE_ID": "0",
        "AI_INSTANCE_ROOT": "/home/me/repo",
        "COMPOSE_PROJECT_NAME": "orienter-instance-0",
        "NGINX_PORT": "80",
        "WHATSAPP_PORT": "4097",
        "DASHBOARD_PORT": "4098",
        "OPENCODE_PORT": "4099",
        "VITE_PORT": "5173",
        "POSTGRES_PORT": "5432",
        "MINIO_API_PORT": "9000",
        "MINIO_CONSOLE_PORT": "9001",
        "POSTGRES_USER": "aibot",
        "POSTGRES_PASSWORD": "aibot",
        "POSTGRES_DB": "whatsapp_bot_0",
        "DATABASE_URL": "postgresql://aibot:aibot@127.0.0.1:5432/whatsapp_bot_0",
        "PGHOST": "127.0.0.1",
        "PGPORT": "5432",
        "PGUSER": "aibot",
        "PGPASSWORD": "aibot",
        "PGDATABASE": "whatsapp_bot_0",
        "MINIO_ROOT_USER": "minioadmin",
        "MINIO_ROOT_PASSWORD": "minioadmin",
        "S3_BUCKET": "orienter-data-0",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
        "AWS_ACCESS_KEY_ID": "minioadmin",
        "AWS_SECRET_ACCESS_KEY": "minioadmin",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "DATA_DIR": "/home/me/repo/.dev-data/instance-0",
        "LOG_DIR": "/home/me/repo/logs/instance-0",
        "PID_DIR": "/home/me/repo/.dev-pids/instance-0",
        "WHATSAPP_ENABLED": "true",
        "WHATSAPP_API_PORT": "4097",
        "OPENCODE_URL": "http://127.0.0.1:4099",
        "OPENCODE_SERVER_URL": "http://127.0.0.1:4099",
        "SERVICE_HOST": "127.0.0.1",
        "NODE_ENV": "development",
    }


def test_the_variables_of_a_worktree() -> None:
    it = variables(3)
    assert it["POSTGRES_PORT"] == "8432"
    assert it["DATABASE_URL"] == "postgresql://aibot:aibot@127.0.0.1:8432/whatsapp_bot_3"
    assert it["S3_BUCKET"] == "orienter-data-3"
    assert it["AWS_ENDPOINT_URL"] == "http://127.0.0.1:12000"
    assert it["WHATSAPP_API_PORT"] == it["WHATSAPP_PORT"] == "7097"
    assert it["WHATSAPP_ENABLED"] == "false"
    assert it["PID_DIR"].endswith("instance-3")


@pytest.mark.parametrize("number", IDS)
def test_no_variable_of_one_instance_points_into_another(number: int) -> None:
    own = variables(number).values
    for other in IDS:
        if other != number:
            theirs = variables(other).values
            ports = [name for name in own if name.endswith(("_PORT", "_URL", "_DIR", "_DB", "_BUCKET", "_NAME"))]
            assert not [name for name in ports if own[name] == theirs[name]]


def test_ports_of_the_hosts_own_and_ports_that_were_dropped() -> None:
    settings = load_settings(
        {
            "ports": {"gateway": 4100, "opencode": None, "whatsapp": None},
            "services": {"opencode": None, "whatsapp": None},
        }
    )
    it = variables(2, settings=settings)
    assert it["GATEWAY_PORT"] == "6100"
    assert not {"OPENCODE_URL", "OPENCODE_PORT", "WHATSAPP_API_PORT", "WHATSAPP_PORT"} & set(it.values)


def test_backend_and_service_host_are_told_once_they_are_known() -> None:
    assert "ORIENTER_BACKEND" not in variables(1).values
    it = variables(1, backend="docker", service_host="172.17.0.1")
    assert (it["ORIENTER_BACKEND"], it["SERVICE_HOST"]) == ("docker", "172.17.0.1")
    assert it["OPENCODE_URL"] == "http://172.17.0.1:5099"
    assert it["AWS_ENDPOINT_URL"] == "http://127.0.0.1:10000"


def test_credentials_with_any_character_make_an_address() -> None:
    it = variables(1, {"POSTGRES_USER": "a@b:c/d", "POSTGRES_PASSWORD": "p?#[é] %", "POSTGRES_DB": "d/b ?"})
    parts = urlsplit(it["DATABASE_URL"])
    assert (parts.hostname, parts.port) == ("127.0.0.1", 6432)
    assert unquote(parts.username or "") == "a@b:c/d"
    assert unquote(parts.password or "") == "p?#[é] %"
    assert unquote(parts.path[1:]) == it["POSTGRES_DB"] == "d/b ?_1"


# their order


def test_the_environment_outranks_dotenv_and_both_outrank_the_settings() -> None:
    settings = load_settings({"database": {"user": "s", "password": "s"}, "storage": {"user": "s"}})
    it = variables(
        0,
        {"POSTGRES_USER": "d", "POSTGRES_PASSWORD": "d", "EXTRA": "d", "MORE": "d", "MINIO_ROOT_USER": ""},
        {"POSTGRES_USER": "e", "EXTRA": "e", "UNRELATED": "e"},
        settings=settings,
    )
    assert (it["POSTGRES_USER"], it.origins["POSTGRES_USER"]) == ("e", "environment")
    assert (it["POSTGRES_PASSWORD"], it.origins["POSTGRES_PASSWORD"]) == ("d", ".env")
    assert (it["MINIO_ROOT_USER"], it.origins["MINIO_ROOT_USER"]) == ("s", "settings")
    assert (it["EXTRA"], it.origins["EXTRA"]) == ("e", "environment")
    assert (it["MORE"], it.origins["MORE"]) == ("d", ".env")
    assert it["AWS_ACCESS_KEY_ID"] == "s"
    assert "UNRELATED" not in it.values
    assert it.over({"UNRELATED": "e", "DATA_DIR": "/x"}) == {"UNRELATED": "e", **it.values}


def test_whatever_is_said_derived_variables_win_and_what_dotenv_says_is_named() -> None:
    lies = {name: f"lie {name}" for name in variables(2).values}
    inputs = {"POSTGRES_USER", "POSTGRES_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "NODE_ENV"}
    bases = {"POSTGRES_DB", "S3_BUCKET"}
    said = {**lies, "WHATSAPP_ENABLED": "false"}
    it = variables(2, said, said)
    truthful = variables(2, {name: said[name] for name in inputs | bases})
    assert it.values == truthful.values
    assert it.ignored == {
        name: f"lie {name}" for name in it.values if name not in inputs | bases | {"WHATSAPP_ENABLED", "AI_INSTANCE_ID"}
    }
    derived = {name for name, origin in it.origins.items() if origin == "derived"}
    assert derived == set(it.values) - inputs | {"NODE_ENV"}


def test_what_dotenv_says_rightly_is_not_named() -> None:
    it = variables(2, {"DASHBOARD_PORT": "6098", "POSTGRES_DB": "mine", "S3_BUCKET": "mine-7"})
    assert it.ignored == {}
    assert (it["POSTGRES_DB"], it["S3_BUCKET"]) == ("mine_2", "mine-2")
    assert variables(2, {"DASHBOARD_PORT": "4098"}).ignored == {"DASHBOARD_PORT": "4098"}


def test_the_environment_alone_names_no_database() -> None:
    it = variables(2, {}, {"POSTGRES_DB": "other_9", "S3_BUCKET": "other-9", "DATABASE_URL": "postgresql://x"})
    assert (it["POSTGRES_DB"], it["S3_BUCKET"]) == ("whatsapp_bot_2", "orienter-data-2")
    assert it["DATABASE_URL"].endswith("/whatsapp_bot_2")


ELSEWHERE = {
    "AWS_PROFILE": "work",
    "AWS_SESSION_TOKEN": "t",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "PGHOSTADDR": "10.0.0.1",
    "PGSERVICE": "production",
    "PGSSLMODE": "verify-full",
}


def test_what_would_lead_a_client_elsewhere_is_withheld_from_services() -> None:
    here = {**ELSEWHERE, "AWS_CONFIG_FILE": "/mine", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "PGAPPNAME": "me"}
    it = variables(2, {"AWS_PROFILE": "work", "PGSERVICE": "production"}, here)
    assert it.over({**here, "PATH": "/bin"}) == {"PATH": "/bin", "PGAPPNAME": "me", **it.values}
    assert not ELSEWHERE.keys() & it.values.keys()
    assert it["AWS_ENDPOINT_URL_S3"] == it["AWS_ENDPOINT_URL"]
    assert it.ignored == {"AWS_PROFILE": "work", "PGSERVICE": "production"}
    assert "elsewhere" in it.why_ignored("AWS_PROFILE")


def test_inherit_aws_lets_the_users_own_through_where_nothing_is_derived() -> None:
    here = {**ELSEWHERE, "AWS_CONFIG_FILE": "/mine", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
    it = variables(2, {"AWS_PROFILE": "work"}, here, settings=load_settings({"storage": {"inherit_aws": True}}))
    services = it.over(here)
    assert {name: services[name] for name in ELSEWHERE if name.startswith("AWS_")} == {
        name: value for name, value in ELSEWHERE.items() if name.startswith("AWS_")
    }
    assert services["AWS_CONFIG_FILE"] == "/mine"
    assert services["AWS_ENDPOINT_URL_S3"] == it["AWS_ENDPOINT_URL"]
    assert it.ignored == {}
    assert not {"PGHOSTADDR", "PGSERVICE"} & services.keys()


# computing twice


DOTENV = {"POSTGRES_DB": "shop_7", "S3_BUCKET": "shop-7", "POSTGRES_PASSWORD": "p@ss/w:rd", "SLACK_BOT_TOKEN": "x"}


@pytest.mark.parametrize("number", IDS)
@pytest.mark.parametrize("said", [{}, DOTENV])
def test_computing_twice_gives_the_same(number: int, said: dict[str, str]) -> None:
    once = variables(number, said).values
    assert variables(number, said, once).values == once
    assert variables(number, once).values == once
    assert variables(number, once).ignored == {}
    assert variables(number, once, once).values == once
    thrice = variables(number, variables(number, once, once).values, once).values
    assert thrice == once


@pytest.mark.parametrize("before", IDS)
@pytest.mark.parametrize("said", [{}, DOTENV])
def test_switching_leaves_nothing_of_the_other_instance(before: int, said: dict[str, str]) -> None:
    exported = variables(before, said).values
    for number in IDS:
        fresh = variables(number, said).values
        assert variables(number, said, exported).values == fresh
        copied = dict(variables(number, exported).values)
        if before != 0:
            copied["WHATSAPP_ENABLED"] = fresh["WHATSAPP_ENABLED"]  # `.env` says so, and may turn it off
        assert copied == fresh


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("whatsapp_bot", "whatsapp_bot"),
        ("whatsapp_bot_1", "whatsapp_bot"),
        ("whatsapp_bot_12", "whatsapp_bot"),
        ("bot_1_2", "bot_1"),
        ("bot1", "bot1"),
        ("_1", "_1"),
        ("bot-1", "bot-1"),
        ("bot_1x", "bot_1x"),
    ],
)
def test_one_trailing_id_is_taken_off_a_name(name: str, base: str) -> None:
    assert base_name(name, "_") == base
    assert base_name(base_name(name, "_") + "_3", "_") == base


def test_a_base_name_of_the_settings_loses_its_id_too() -> None:
    settings = load_settings({"database": {"name": "shop_1"}, "storage": {"bucket": "shop-1"}})
    it = variables(4, settings=settings)
    assert (it["POSTGRES_DB"], it["S3_BUCKET"]) == ("shop_4", "shop-4")


# WhatsApp


@pytest.mark.parametrize(
    ("number", "told", "environ", "written", "enabled"),
    [
        (0, None, None, None, "true"),
        (1, None, None, None, "false"),
        (0, None, None, "false", "false"),
        (1, None, None, "true", "false"),
        (0, None, "false", None, "false"),
        (0, None, "true", "false", "true"),
        (1, None, "true", "false", "true"),
        (1, None, "1", None, "true"),
        (0, None, "", None, "false"),
        (0, False, "true", "true", "false"),
        (1, True, "false", "false", "true"),
        (0, None, None, "No", "false"),
        (0, None, None, " ON ", "true"),
    ],
)
def test_whatsapp(number: int, told: bool | None, environ: str | None, written: str | None, enabled: str) -> None:
    said = {} if written is None else {"WHATSAPP_ENABLED": written}
    inherited = {} if environ is None else {"WHATSAPP_ENABLED": environ}
    assert variables(number, said, inherited, whatsapp=told)["WHATSAPP_ENABLED"] == enabled


def test_whatsapp_that_another_instance_exported_is_nobodys_choice() -> None:
    exported = variables(0).values
    assert exported["WHATSAPP_ENABLED"] == "true"
    assert variables(3, {}, exported)["WHATSAPP_ENABLED"] == "false"
    turned_on = {**variables(3).values, "WHATSAPP_ENABLED": "true"}
    assert variables(3, {}, turned_on)["WHATSAPP_ENABLED"] == "true"


def test_neither_true_nor_false() -> None:
    with pytest.raises(ConfigError, match=r"WHATSAPP_ENABLED in the environment: 'maybe'"):
        variables(0, {}, {"WHATSAPP_ENABLED": "maybe"})
    with pytest.raises(ConfigError, match=r"WHATSAPP_ENABLED in \.env: '2'") as caught:
        variables(1, {"WHATSAPP_ENABLED": "2"})
    assert caught.value.exit_code == 2
    assert truth("YES", "here")
    assert not truth("off", "here")


# reading .env


def read(text: str | bytes, directory: Path) -> tuple[dict[str, str], list[int]]:
    path = directory / ".env"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_dotenv(path)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("A=1", {"A": "1"}),
        ("A=1\nB=last", {"A": "1", "B": "last"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1\nexport  B='2'", {"A": "1", "B": "2"}),
        ("  A = 1  ", {"A": "1"}),
        ("A=abc==", {"A": "abc=="}),
        ("A=", {"A": ""}),
        ("A=''", {"A": ""}),
        ("A=b # c", {"A": "b"}),
        ("A=b#c", {"A": "b#c"}),
        ("A= # c", {"A": ""}),
        ("# A=1\n\n   # B=2\n", {}),
        ("A='b # c' # d", {"A": "b # c"}),
        ('A="b # c"', {"A": "b # c"}),
        ('A="x\\ny"', {"A": "x\ny"}),
        ("A='x\\ny'", {"A": "x\\ny"}),
        ("A='two\nlines'\nB=2", {"A": "two\nlines", "B": "2"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=$B ${C} $(date) `date`", {"A": "$B ${C} $(date) `date`"}),
        ("A=é 日本", {"A": "é 日本"}),
    ],
)
def test_reading_dotenv(tmp_path: Path, text: str, values: dict[str, str]) -> None:
    assert read(text, tmp_path) == (values, [])


@pytest.mark.parametrize(
    ("text", "values", "broken"),
    [
        ("A=1\nthis is nothing\nB=2", {"A": "1", "B": "2"}, [2]),
        ("A=1\n\n\nthis is nothing\nB=2", {"A": "1", "B": "2"}, [4]),
        ("A=1\nnothing\nB=2", {"A": "1", "B": "2"}, [2]),
        ("=1\nA=2", {"A": "2"}, [1]),
        ("A.B=1\nC-D=2\nE=3", {"E": "3"}, [1, 2]),
        ("1A=1\nA=2", {"A": "2"}, [1]),
        ("A='open\nB=2", {"B": "2"}, [1]),
        ("A='b' c\nB=2", {"B": "2"}, [1]),
    ],
)
def test_lines_that_are_no_variables_are_counted_and_passed_over(
    tmp_path: Path, text: str, values: dict[str, str], broken: list[int]
) -> None:
    assert read(text, tmp_path) == (values, broken)


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == ({}, [])
    assert read_dotenv(tmp_path) == ({}, [])


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read(b"A=\xff", tmp_path)


# what may be shown


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "MINIO_ROOT_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "SLACK_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
        "ANTHROPIC_API_KEY",
        "SMTP_PASS",
        "db_passwd",
        "GPG_PASSPHRASE",
        "APIKEY",
        "PRIVATE_THING",
        "GOOGLE_CREDENTIALS",
    ],
)
def test_secrets_are_masked(name: str) -> None:
    assert masked(name, "hunter2") == MASK
    assert masked(name, "") == ""


@pytest.mark.parametrize("name", ["POSTGRES_USER", "AWS_ACCESS_KEY_ID", "KEYBOARD", "COMPASS", "PASSAGE", "DATA_DIR"])
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert masked(name, "plain") == "plain"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://aibot:hunter2@127.0.0.1:5432/db", f"postgresql://aibot:{MASK}@127.0.0.1:5432/db"),
        ("redis://:hunter2@host/0", f"redis://:{MASK}@host/0"),
        ("amqp://u:hunt@er2@host", f"amqp://u:{MASK}@host"),
        ("a://u:hunter2@b c://v:hunter2@d", f"a://u:{MASK}@b c://v:{MASK}@d"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://localhost:4873/@scope/name", "http://localhost:4873/@scope/name"),
    ],
)
def test_passwords_in_addresses_are_masked(value: str, shown: str) -> None:
    assert masked("SOME_URL", value) == shown
    assert "hunter2" not in masked("SOME_URL", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "s3cr3t") for name in ("DB_PWD", "JWT", "SENTRY_DSN", "GITHUB_PAT", "PLAIN", "DEBUG_KEY")),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/x"),
        ("PIN", "1234"),
        ("LOCAL_URL", "http://localhost:4098/?token=x"),
    ],
)
def test_what_the_user_wrote_is_masked(name: str, value: str) -> None:
    assert masked_unless_harmless(name, value) == MASK


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_USER", "me"),
        ("LOG_LEVEL", "debug"),
        ("METRICS_PORT", "9464"),
        ("FEATURE", "true"),
        ("EMPTY", ""),
        ("BASE_URL", "http://localhost:4098"),
    ],
)
def test_what_is_harmless_is_shown(name: str, value: str) -> None:
    assert masked_unless_harmless(name, value) == value


def test_nothing_that_is_shown_holds_a_password() -> None:
    secret = "p4ssw0rd"
    it = variables(1, {"POSTGRES_PASSWORD": secret, "MINIO_ROOT_PASSWORD": secret, "SLACK_APP_TOKEN": secret})
    assert secret in "".join(it.values.values())
    assert not [name for name, value in it.values.items() if secret in masked(name, value)]


# words of a command


def test_placeholders_are_replaced_once() -> None:
    values = {"A": "${B}", "B": "b", "EMPTY": ""}
    assert expand("x${A}y${B}${EMPTY}$B $$ ${}", values, "here") == "x${B}yb$B $$ ${}"
    assert expand_all(["${B}", "plain"], values, "here") == ["b", "plain"]
    assert expand("${PYTHON} -m x", {"PYTHON": "other"}, "here") == f"{sys.executable} -m x"


def test_a_placeholder_that_is_not_set_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"orienter\.services\.x\.command: \$\{NOPE\} is not set") as caught:
        expand("${NOPE}", {}, "orienter.services.x.command")
    assert caught.value.exit_code == 2
