from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker.container import ended, port_refused, port_taken, redacted, refused_by_engine
from orienter_tasks.errors import CheckError
from orienter_tasks.infra.all import component
from tests.backends.docker.test_spec import container
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

EXITED = {"Status": "exited", "ExitCode": 1, "OOMKilled": False, "Error": ""}


TAKEN = [
    # docker 20.10: by another container, by a process
    (
        "driver failed programming external connectivity on endpoint orienter-postgres-1 (1f): "
        "Bind for 127.0.0.1:6432 failed: port is already allocated"
    ),
    (
        "driver failed programming external connectivity on endpoint orienter-postgres-1 (1f): "
        "Error starting userland proxy: listen tcp4 127.0.0.1:6432: bind: address already in use"
    ),
    # Docker Desktop
    (
        "Ports are not available: exposing port TCP 127.0.0.1:6432 -> 0.0.0.0:0: "
        "listen tcp 127.0.0.1:6432: bind: address already in use"
    ),
    # docker 28
    (
        "failed to set up container networking: driver failed programming external connectivity on endpoint x: "
        "failed to bind host port for 127.0.0.1:6432:172.20.0.2:5432/tcp: address already in use"
    ),
    # whichever it is
    "Bind failed: port is already allocated",
]


@pytest.mark.parametrize("message", TAKEN)
def test_a_taken_port_is_recognised(tmp_path: Path, message: str) -> None:
    assert port_taken(CheckError(message), container(make_config(tmp_path, 1), "postgres")) == 6432


def test_who_refused_a_port_is_told_apart() -> None:
    assert [refused_by_engine(CheckError(message)) for message in TAKEN] == [True, False, False, False, True]


def test_other_refusals_are_no_taken_port(tmp_path: Path) -> None:
    for message in ("no space left on device", "network orienter-network-1 not found"):
        assert port_taken(CheckError(message), container(make_config(tmp_path, 1), "postgres")) is None


def test_data_of_another_major_is_recognised(tmp_path: Path) -> None:
    log = [
        "2026-01-01 FATAL:  database files are incompatible with server",
        (
            "2026-01-01 DETAIL:  The data directory was initialized by PostgreSQL version 15, "
            "which is not compatible with this version 16.4."
        ),
    ]
    error = component("postgres").explain(make_config(tmp_path, 1), log)
    assert isinstance(error, CheckError)
    assert "volume postgres-data-1 was made by PostgreSQL 15, which postgres:16-alpine cannot read" in str(error)
    assert "postgres:15" in error.hint
    assert "infra.down --volumes" in error.hint


def test_nginx_without_its_port() -> None:
    log = ["nginx: [emerg] bind() to 127.0.0.1:1080 failed (98: Address already in use)"]
    assert port_refused(log) == 1080
    assert port_refused(["ready"]) is None


def test_the_end_of_a_container_is_told_without_passwords(tmp_path: Path) -> None:
    config = make_config(tmp_path, 1, {"MINIO_ROOT_PASSWORD": "s3-Secret.2"})
    log = ["starting", "wrong: minioadmin / s3-Secret.2"]
    state = {**EXITED, "ExitCode": 137, "OOMKilled": True}
    error = ended(config, "minio", state, redacted(config, log))
    assert "orienter-minio-1 is exited with exit code 137, it ran out of memory" in str(error)
    assert error.details == ("starting", "wrong: minioadmin / ••••••")
    gone = ended(config, "minio", {}, [])
    assert "orienter-minio-1 is gone" in str(gone)
