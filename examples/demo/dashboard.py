"""The dashboard's place: notes in PostgreSQL, attachments in S3, and who is signed in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.demo import checkout, pages, process
from examples.demo.attachments import Attachments, read_storage
from examples.demo.auth_api import AuthApi
from examples.demo.changes import Changes
from examples.demo.configuration import read_instance, require
from examples.demo.database import Database, parse
from examples.demo.notes import Notes
from examples.demo.notes_api import NotesApi
from examples.demo.server import serve
from examples.demo.sessions import Sessions, load_key
from examples.demo.web import answer, json_app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.demo.configuration import Instance

DEFAULT_PASSWORD = "demo"  # noqa: S105  the demo guards nothing of value


def mount_pages(app: Any, instance: Instance) -> None:
    """Add what describes the instance, and the pages for people."""

    def describe() -> Any:
        return answer(
            {
                "id": instance.id,
                "root": str(instance.root),
                "branch": checkout.branch(instance.root),
                "backend": instance.backend,
                "ports": dict(instance.ports),
                "database": instance.database,
                "bucket": instance.bucket,
                "whatsapp": instance.whatsapp_enabled,
            }
        )

    app.route("/api/instance", "GET", describe)
    app.route(["/dashboard", "/dashboard/"], "GET", lambda: pages.render(instance, "login.html"))
    app.route("/dashboard/login.js", "GET", lambda: pages.static_file("login.js"))
    app.route(["/apps", "/apps/"], "GET", lambda: pages.render(instance, "apps.html", bucket=instance.bucket))


def main(environ: Mapping[str, str]) -> int:
    """Serve the dashboard until told to stop."""
    instance = read_instance(environ)
    database = Database(parse(require(environ, "DATABASE_URL")), f"demo-dashboard-{instance.id}")
    notes = Notes(database)
    key = load_key(Path(require(environ, "DATA_DIR")) / "dashboard" / "session.key")
    password = environ.get("DEMO_PASSWORD") or DEFAULT_PASSWORD
    app = json_app()
    AuthApi(Sessions(key, instance.id), password, notes).mount(app)
    NotesApi(notes, Attachments(read_storage(environ)), Changes()).mount(app)
    mount_pages(app, instance)
    code = serve("dashboard", app, instance, instance.port("dashboard"))
    database.close()
    return code


if __name__ == "__main__":
    process.run(main)
