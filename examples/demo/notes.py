"""The notes, as rows in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from examples.demo.errors import BadInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.demo.database import Database

LONGEST_TEXT = 2000
MOST_LISTED = 500
HIGHEST_ID = 2**63 - 1
COLUMNS = "id, text, attachment_key, attachment_type, attachment_size"


@dataclass(frozen=True)
class Attachment:
    """What PostgreSQL keeps of an attachment; its bytes lie in the bucket under `key`."""

    key: str
    type: str
    size: int


@dataclass(frozen=True)
class Note:
    """A note and what is attached to it."""

    id: int
    text: str
    attachment: Attachment | None = None

    def document(self) -> dict[str, object]:
        """Return the note as the API shows it."""
        attached = self.attachment
        shown = {"type": attached.type, "size": attached.size} if attached else None
        return {"id": self.id, "text": self.text, "attachment": shown}


def checked_text(value: object) -> str:
    """Return a note's text without the blank space around it; BadInputError if it cannot be one."""
    if not isinstance(value, str):
        raise BadInputError('"text" is not a string')
    text = value.strip()
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise BadInputError(f'"text" has {len(text)} characters; 1 to {LONGEST_TEXT} are allowed')
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadInputError('"text" has a character that no text may have')
    return text


class Notes:
    """Read and change the notes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ready(self) -> bool:
        """Tell whether the migration has made the table."""
        return self._database.run("SELECT to_regclass('notes') IS NOT NULL")[0][0] is True

    def newest(self) -> list[Note]:
        """Return the latest notes, oldest first."""
        rows = self._database.run(f"SELECT {COLUMNS} FROM notes ORDER BY id DESC LIMIT {MOST_LISTED}")  # noqa: S608
        return [_note(row) for row in reversed(rows)]

    def get(self, note_id: int) -> Note:
        """Return one note; NotFoundError if there is none."""
        rows = self._run_on(note_id, f"SELECT {COLUMNS} FROM notes WHERE id = :id")  # noqa: S608
        return _note(rows[0])

    def add(self, text: str) -> Note:
        """Write a new note."""
        return Note(self._database.run("INSERT INTO notes (text) VALUES (:text) RETURNING id", text=text)[0][0], text)

    def remove(self, note_id: int) -> str | None:
        """Remove a note and return the key of the object that was attached to it."""
        rows = self._run_on(note_id, "DELETE FROM notes WHERE id = :id RETURNING attachment_key")
        key: str | None = rows[0][0]
        return key

    def attach(self, note_id: int, attachment: Attachment) -> str | None:
        """Attach an object to a note and return the key of the one it replaces."""
        rows = self._run_on(
            note_id,
            "WITH before AS (SELECT id, attachment_key FROM notes WHERE id = :id FOR UPDATE) "
            "UPDATE notes SET attachment_key = :key, attachment_type = :type, attachment_size = :size "
            "FROM before WHERE notes.id = before.id RETURNING before.attachment_key",
            key=attachment.key,
            type=attachment.type,
            size=attachment.size,
        )
        replaced: str | None = rows[0][0]
        return replaced

    def _run_on(self, note_id: int, statement: str, **values: object) -> list[list[Any]]:
        rows = self._database.run(statement, id=note_id, **values) if 1 <= note_id <= HIGHEST_ID else []
        if not rows:
            raise NotFoundError(f"there is no note {note_id}")
        return rows


def _note(row: Sequence[Any]) -> Note:
    note_id, text, key, kind, size = row
    return Note(note_id, text, Attachment(key, kind, size) if key else None)
