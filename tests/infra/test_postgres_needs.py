"""What the host's migrations need of PostgreSQL: found in its files, and not in their comments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.infra import postgres_needs
from tests.repositories import git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

SQL = """\
-- CREATE EXTENSION in_a_comment;
/* CREATE EXTENSION
   in_another; */
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
SELECT '-- not a comment'; create extension
    pgcrypto with schema public;
CREATE EXTENSION IF NOT EXISTS pg_trgm; -- CREATE EXTENSION in_a_third;
COMMENT ON EXTENSION hstore IS 'nothing is created';
CREATE COLLATION german (provider = icu, locale = 'de');
SELECT name COLLATE "sv-x-icu", body::xml FROM posts;
"""
TYPESCRIPT = r"""
// await sql`CREATE EXTENSION in_a_comment`
/* CREATE EXTENSION
 * CREATE EXTENSION in_another */
await query("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"");
await query(`create extension citext;
   -- create extension in_sql;
   select 1`);
for (const each of extensions) await query(`CREATE EXTENSION IF NOT EXISTS ${each}`);
"""
RUBY = 'class First < ActiveRecord::Migration[7.1]\n  # enable_extension "old"\n  enable_extension "hstore"\nend\n'
CASES = {
    "sql": (SQL, {"uuid-ossp": 4, "pgcrypto": 5, "pg_trgm": 7, "icu": 9, "xml": 10}),
    "typescript": (TYPESCRIPT, {"uuid-ossp": 5, "citext": 6}),
    "ruby": (RUBY, {"hstore": 3}),
    "xml in words": ("SELECT 'an xml file', xml_path FROM exports; -- xmlparse(", {}),
}


@pytest.mark.parametrize("kind", CASES)
def test_statements_count_and_comments_do_not(kind: str) -> None:
    text, expected = CASES[kind]
    assert dict(postgres_needs.needed_by(text, sql=kind not in ("typescript", "ruby"))) == expected


def test_files_that_git_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repository(tmp_path / "checkout", {"setup.sql": "create extension hstore;"})
    (root / "apps" / "api" / "migrations").mkdir(parents=True)
    for name, text in {
        "apps/api/migrations/1.ts": "// first\nsql`create extension citext`",
        "apps/api/migrations/README.md": "create extension in_words",
        "apps/api/code.ts": "sql`create extension in_code`",
        "apps/api/untracked.sql": "create extension in_a_file_of_nobodys",
    }.items():
        (root / name).write_text(text)
    git(root, "add", "apps/api/migrations", "apps/api/code.ts")
    (root / "linked.sql").symlink_to("/dev/zero")
    git(root, "add", "linked.sql")
    expected = {"hstore": "setup.sql:1", "citext": "apps/api/migrations/1.ts:2"}
    assert postgres_needs.search(root) == expected
    assert postgres_needs.search(tmp_path) == {}, "git knows of no files there"
    monkeypatch.setattr(postgres_needs, "MOST_BYTES", 1)
    assert len(postgres_needs.search(root)) == 1, "it looks at no more"
