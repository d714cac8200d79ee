"""Clients that read the variables of an instance: they reach its servers, whatever the user's shell and home say."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import programs
from orienter_tasks.settings.load import load_settings
from tests.integration.checkouts import INV
from tests.integration.conftest import BACKENDS
from tests.integration.small import BASES, within
from tests.integration.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

ELSEWHERE = {
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_PROFILE": "unknown",
    "AWS_SESSION_TOKEN": "old",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "PGHOST": "/nowhere",
    "PGHOSTADDR": "10.255.255.1",
    "PGDATABASE": "production",
    "PGSERVICE": "production",
    "PGSSLMODE": "verify-full",
    "GIT_INDEX_FILE": "/another/index",
}
PROFILE = "[default]\nignore_configured_endpoint_urls = true\nuse_fips_endpoint = true\nregion = eu-west-1\n"
BUCKETS = "import boto3; print([each['Name'] for each in boto3.client('s3').list_buckets()['Buckets']])"


@pytest.fixture(params=BACKENDS)
def hostile(request: pytest.FixtureRequest, make_host: MakeHost, tmp_path: Path) -> Checkout:
    """A checkout in the shell of somebody who works with AWS and another PostgreSQL, from a hook of git's."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text(PROFILE)
    hook = {
        "name": "migrate",
        "command": ["sh", "-c", "command -v psql; psql -qc 'CREATE TABLE IF NOT EXISTS made ()'"],
    }
    hooks = {"before_services": [hook]} if request.param == "embedded" else {}
    return within(make_host(request.param, hooks=hooks).main, {**ELSEWHERE, "HOME": str(home)})


def test_clients_reach_the_instances_own_servers(hostile: Checkout) -> None:
    for words in (["infra.psql", "--", "-c", "SELECT 1"], ["infra.s3", "ls"]):
        assert hostile.inv(*words, code=3).err.endswith("hint: start it with: inv infra.up\n")
    (hostile.path / ".env").write_text(f"OTHER_URL=http://localhost:{BASES['dashboard'] + 1000}\n")
    assert "OTHER_URL names port" in hostile.inv("dev", "--detach").err
    values = hostile.variables
    assert hostile.inv("env.exec", "--", "python", "-c", BUCKETS).out == f"['{values['S3_BUCKET']}']\n"

    with urllib.request.urlopen(f"http://127.0.0.1:{values['DASHBOARD_PORT']}/", timeout=10) as answer:
        service = json.loads(answer.read())
    assert {name for name in ELSEWHERE if service.get(name) == ELSEWHERE[name]} == set()
    assert service["AWS_ENDPOINT_URL_S3"] == values["AWS_ENDPOINT_URL"]
    assert "unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_PROFILE" in hostile.inv("env.export").out

    if values["ORIENTER_BACKEND"] == "embedded":  # psql of the installation, which the hook had too
        program, made = hostile.inv("env.exec", "--", "sh", "-c", "command -v psql; psql -Atc '\\dt'").out.splitlines()
        assert program == str(programs.postgres_bin(load_settings(None)) / "psql")
        assert made.startswith("public|made|")
    _ask_psql(hostile, values["POSTGRES_DB"])
    _use_objects(hostile)


def _ask_psql(checkout: Checkout, database: str) -> None:
    assert checkout.inv("infra.psql", "--", "-Atc", "SELECT current_database()").out == f"{database}\n"
    failed = checkout.inv("infra.psql", "--", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1; SELECT nothing", code=1)
    assert 'column "nothing" does not exist' in failed.err
    script = "SELECT repeat('x', 300000);\n\\! exit 7\n\\q\n"
    words = [str(INV), "infra.psql", "--", "-At"]
    piped = subprocess.run(
        words, input=script, cwd=checkout.path, env=checkout.environ, capture_output=True, text=True, check=True
    )
    assert piped.stdout == "x" * 300_000 + "\n"
    with Terminal(checkout, "infra.psql", "--", "-At", "-P", "pager=off") as terminal:
        terminal.until("=#")
        terminal.type("SELECT 6*7, 'wide';\r")
        terminal.until("42|wide")
        terminal.type("\\q\r")
        assert terminal.end() == 0


def _use_objects(checkout: Checkout) -> None:
    (checkout.path / "logo.png").write_bytes(b"picture")
    checkout.inv("infra.s3", "cp", "--", "logo.png", "s3:images/")
    checkout.inv("infra.s3", "cp", "--", "s3:images/logo.png", "s3:other.png")
    checkout.inv("infra.s3", "cp", "--", "s3:other.png", "copy.png")
    assert (checkout.path / "copy.png").read_bytes() == b"picture"
    found = checkout.inv("infra.s3", "ls", "--json").json["objects"]
    assert [(each["key"], each["size"]) for each in found] == [("images/logo.png", 7), ("other.png", 7)]
    assert checkout.inv("infra.s3", "ls", "--", "images/").out.splitlines()[1].startswith("images/logo.png  1 kB  20")
    checkout.inv("infra.s3", "rm", "--", "images/logo.png")
    assert len(checkout.inv("infra.s3", "ls", "--json").json["objects"]) == 1
    assert "has no object images/logo.png" in checkout.inv("infra.s3", "rm", "--", "images/logo.png", code=3).err
    assert "has no object none" in checkout.inv("infra.s3", "cp", "--", "s3:none", "x", code=3).err
    assert "did you mean 'cp'?" in checkout.inv("infra.s3", "cpy", code=2).err
    for words in (["cp"], ["cp", "--", "a", "b"], ["rm"], ["ls", "--", "a", "b"]):
        assert "hint: inv infra.s3 " in checkout.inv("infra.s3", *words, code=2).err
