"""Clients that read the variables of an instance: they reach its servers, whatever the user's shell and home say."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.integration.small import within

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


@pytest.fixture
def hostile(make_host: MakeHost, tmp_path: Path) -> Checkout:
    """A checkout in the shell of somebody who works with AWS and another PostgreSQL, from a hook of git's."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text(PROFILE)
    return within(make_host().main, {**ELSEWHERE, "HOME": str(home)})


@pytest.mark.embedded
def test_clients_reach_the_instances_own_servers(hostile: Checkout) -> None:
    hostile.inv("dev", "--detach")
    values = hostile.variables
    assert hostile.inv("env.exec", "--", "python", "-c", BUCKETS).out == f"['{values['S3_BUCKET']}']\n"

    with urllib.request.urlopen(f"http://127.0.0.1:{values['DASHBOARD_PORT']}/", timeout=10) as answer:
        service = json.loads(answer.read())
    assert {name for name in ELSEWHERE if service.get(name) == ELSEWHERE[name]} == set()
    assert service["AWS_ENDPOINT_URL_S3"] == values["AWS_ENDPOINT_URL"]
    assert "unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_PROFILE" in hostile.inv("env.export").out
