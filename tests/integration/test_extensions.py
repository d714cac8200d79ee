"""A host that needs extensions, and gets npm's PostgreSQL: its commands work as with the wheel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

EXTENSIONS = ["pgcrypto", "uuid-ossp", "icu", "xml"]


def rows(checkout: Checkout) -> str:
    sorted_by_icu = "string_agg(word, ' ' ORDER BY word COLLATE \"de-x-icu\")"
    query = f"SELECT {sorted_by_icu} FROM kept WHERE digest(word, $$md5$$) IS NOT NULL"
    return checkout.inv("infra.psql", "--", "-XqtAc", query).out.strip()


@pytest.mark.embedded
def test_commands_work_with_npms_postgresql(make_host: MakeHost, node_modules: Path, tmp_path: Path) -> None:
    main = make_host(services={"web": None}, database={"extensions": EXTENSIONS}).main
    (main.path / "node_modules").symlink_to(node_modules)
    main.inv("infra.up")
    assert "node_modules" in (main.works_in("postgres") / "postmaster.opts").read_text()
    make = "CREATE EXTENSION pgcrypto; CREATE TABLE kept AS SELECT unnest(ARRAY['Zebra', 'Öl']) AS word"
    main.inv("infra.psql", "--", "-XqAtc", make)
    assert rows(main) == "Öl Zebra"

    main.inv("data.snapshot", "running")
    main.inv("data.export", str(tmp_path / "data.tar"))
    main.inv("infra.psql", "--", "-XqAtc", "DROP TABLE kept")
    main.inv("data.import", str(tmp_path / "data.tar"), "--yes", "--no-backup")
    assert rows(main) == "Öl Zebra"
    main.inv("infra.psql", "--", "-XqAtc", "DROP TABLE kept")
    main.inv("data.restore", "running", "--yes", "--no-backup")
    assert rows(main) == "Öl Zebra"
