"""Notes and their attachments: the routes under /api/notes, and /api/events."""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING, Any

import bottle

from examples.demo.errors import BadInputError, NotFoundError, UnavailableError
from examples.demo.notes import Attachment, Note, checked_text
from examples.demo.web import answer, read_body, read_object

if TYPE_CHECKING:
    from examples.demo.attachments import Attachments
    from examples.demo.changes import Changes
    from examples.demo.notes import Notes

LOG = logging.getLogger("demo")
LARGEST_ATTACHMENT = 10 * 1024 * 1024
LONGEST_TYPE = 200
TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  a token of RFC 9110, 5.6.2
CONTENT_TYPE = re.compile(rf"{TOKEN}/{TOKEN}(\s*;\s*{TOKEN}=({TOKEN}|\"[^\"\\\x00-\x1f\x7f-\xff]*\"))*", re.ASCII)
UNKNOWN_TYPE = "application/octet-stream"
NOTE = "/api/notes/<note_id:re:[0-9]{1,19}>"


class NotesApi:
    """Keep texts in PostgreSQL and bytes in the bucket, and never lose track of one for the other."""

    def __init__(self, notes: Notes, attachments: Attachments, changes: Changes) -> None:
        self._notes = notes
        self._attachments = attachments
        self._changes = changes

    def mount(self, app: Any) -> None:
        """Add the routes."""
        app.route("/api/notes", "GET", self.list)
        app.route("/api/notes", "POST", self.add)
        app.route(NOTE, "DELETE", self.remove)
        app.route(f"{NOTE}/attachment", "PUT", self.attach)
        app.route(f"{NOTE}/attachment", "GET", self.attachment)
        app.route("/api/events", "GET", self.events)

    def list(self) -> Any:
        """Answer with the latest notes, oldest first."""
        return answer({"notes": [note.document() for note in self._notes.newest()]})

    def add(self) -> Any:
        """Write a note."""
        note = self._notes.add(checked_text(read_object().get("text")))
        self._changes.announce()
        return answer(note.document(), 201, Location=f"/api/notes/{note.id}")

    def remove(self, note_id: str) -> Any:
        """Remove a note with its attachment."""
        key = self._notes.remove(int(note_id))
        self._changes.announce()
        self._forget(key)
        return bottle.HTTPResponse(status=204)

    def attach(self, note_id: str) -> Any:
        """Attach the request's body to a note, instead of what was attached before.

        The object comes first and has a name of its own, so the row always points at whole bytes.
        """
        note = self._notes.get(int(note_id))
        kind, body = _content_type(), read_body(LARGEST_ATTACHMENT)
        attachment = Attachment(f"notes/{note.id}/{uuid.uuid4().hex}", kind, len(body))
        self._attachments.put(attachment.key, body)
        try:
            replaced = self._notes.attach(note.id, attachment)
        except (NotFoundError, UnavailableError):
            self._forget(attachment.key)
            raise
        self._changes.announce()
        self._forget(replaced)
        return answer(Note(note.id, note.text, attachment).document())

    def attachment(self, note_id: str) -> Any:
        """Answer with the attached bytes; a page among them may run nothing here."""
        attachment = self._notes.get(int(note_id)).attachment
        if attachment is None:
            raise NotFoundError(f"note {int(note_id)} has no attachment")
        headers = {
            "Content-Type": attachment.type,
            "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
            "Cache-Control": "no-cache",
            "ETag": f'"{attachment.key.rpartition("/")[2]}"',
        }
        if bottle.request.get_header("If-None-Match") == headers["ETag"]:
            return bottle.HTTPResponse(status=304, headers=headers)
        return bottle.HTTPResponse(body=self._attachments.get(attachment.key), headers=headers)

    def events(self) -> Any:
        """Stream changes for as long as the page listens."""
        stream = self._changes.listen(bottle.request.environ["waitress.client_disconnected"])
        bottle.response.content_type = "text/event-stream"
        bottle.response.set_header("Cache-Control", "no-store")
        bottle.response.set_header("X-Accel-Buffering", "no")  # or nginx keeps events back
        return stream

    def _forget(self, key: str | None) -> None:
        if key is None:
            return
        try:
            self._attachments.remove(key)
        except UnavailableError as error:
            LOG.warning("an object is left over: %s: %s", key, error)


def _content_type() -> str:
    kind: str = bottle.request.get_header("Content-Type", "").strip() or UNKNOWN_TYPE
    if len(kind) > LONGEST_TYPE or not CONTENT_TYPE.fullmatch(kind):
        raise BadInputError("the content type is not one")
    return kind
