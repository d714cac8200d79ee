"""Ports that values name: which count as another instance's, and what a corrected value says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.instance.port_references import corrected, foreign_ports, references
from orienter_tasks.settings.load import load_settings
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

MAIN, THIRD = 4098, 7098
PORTS = {80: 3080, MAIN: THIRD, 5432: 8432}


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("BASE_URL", "http://localhost:4098", "http://localhost:7098"),
        (
            "BASE_URL",
            "http://localhost:4098/x?to=http://127.0.0.1:4098",
            "http://localhost:7098/x?to=http://127.0.0.1:7098",
        ),
        ("DIRECT_URL", "postgresql://a:p@ss@127.0.0.1:5432/db", "postgresql://a:p@ss@127.0.0.1:8432/db"),
        ("DIRECT_URL", "postgres://a:4098@[::1]:5432", "postgres://a:4098@[::1]:8432"),
        ("DIRECT_URL", "postgres://localhost/db", "postgres://localhost:8432/db"),
        ("BASE_URL", "http://localhost", "http://localhost:3080"),
        ("BASE_URL", "http://localhost/login", "http://localhost:3080/login"),
        ("PGPORT", "5432", "8432"),
        ("API_PORT", "4098", "7098"),
        ("ORIGINS", "http://localhost:4098,http://localhost:5432", "http://localhost:7098,http://localhost:8432"),
    ],
)
def test_what_is_corrected(name: str, value: str, right: str) -> None:
    assert corrected(name, value, PORTS) == right
    assert corrected(name, right, {}) == right


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "http://example.com:4098"),
        ("BASE_URL", "http://localhost.example.com:4098"),
        ("BASE_URL", "http://localhost:40980"),
        ("BASE_URL", "https://localhost"),
        ("BASE_URL", "http://user:4098@example.com"),
        ("LIMIT", "4098"),
        ("API_PORT", "4098 "),
        ("ADDRESS", "127.0.0.1:4098"),
        ("BASE_URL", "http://orienter-0.localhost:4098"),
        ("BASE_URL", "http://orienter-0.localhost"),
        ("NOTE", "see 10.127.0.0.1:4098"),
    ],
)
def test_what_is_left(name: str, value: str) -> None:
    assert corrected(name, value, PORTS) == value


def test_an_address_without_a_scheme_is_named_but_not_corrected() -> None:
    assert [(each.port, each.correctable) for each in references("A", "127.0.0.1:4098,localhost:5432")] == [
        (MAIN, False),
        (5432, False),
    ]


def test_only_other_ids_ports_in_values_that_count(tmp_path: Path) -> None:
    said = {
        "BASE_URL": "http://localhost:4098",
        "OWN_URL": "http://localhost:7098",
        "OTHER": "localhost:9432",
        "NAMED_URL": "http://orienter-0.localhost/login",
        "NOT_OURS": "http://evil-localhost:4098",
        "ELSE": "http://localhost:6379",
        "PGPORT": "5432",
    }
    config, settings = make_config(tmp_path, 3, said), load_settings(None)
    found = foreign_ports(said, config.variables, config.instance, settings)
    assert [(each.variable, each.port, each.own, each.owner) for each in found] == [
        ("BASE_URL", MAIN, THIRD, 0),
        ("OTHER", 9432, 8432, 4),
        ("NAMED_URL", 80, 3080, 0),
    ]
