"""Signing in: the routes under /api/auth."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import bottle

from examples.demo.errors import BadInputError
from examples.demo.sessions import COOKIE, LIFETIME
from examples.demo.web import answer, read_object

if TYPE_CHECKING:
    from examples.demo.notes import Notes
    from examples.demo.sessions import Sessions

BEARER = "Bearer "


class AuthApi:
    """Let in whoever knows the password."""

    def __init__(self, sessions: Sessions, password: str, notes: Notes) -> None:
        self._sessions = sessions
        self._password = password
        self._notes = notes

    def mount(self, app: Any) -> None:
        """Add the routes."""
        app.route("/api/auth/setup-required", "GET", self.setup_required)
        app.route("/api/auth/validate", "GET", self.validate)
        app.route("/api/auth/login", "POST", self.login)
        app.route("/api/auth/logout", "POST", self.logout)

    def setup_required(self) -> Any:
        """Tell whether the migration still has to run; 503 if the database does not answer."""
        return answer({"setupRequired": not self._notes.ready()})

    def validate(self) -> Any:
        """Answer 200 to a valid session and 401 to any other: what nginx's auth_request asks."""
        header: str = bottle.request.get_header("Authorization", "")
        token = header.removeprefix(BEARER).strip() if header.startswith(BEARER) else self._cookie()
        if self._sessions.valid(token):
            return answer({"valid": True})
        return answer({"error": "sign in first"}, 401, WWW_Authenticate="Bearer")

    def login(self) -> Any:
        """Give a session to whoever sends the password."""
        password = read_object().get("password")
        if not isinstance(password, str):
            raise BadInputError('"password" is not a string')
        if not hmac.compare_digest(password.encode(errors="replace"), self._password.encode(errors="replace")):
            return answer({"error": "the password is wrong"}, 401)
        token = self._sessions.issue()
        granted = answer({"token": token, "expires_in": LIFETIME})
        granted.set_cookie(COOKIE, token, max_age=LIFETIME, path="/", httponly=True, samesite="lax")
        return granted

    def logout(self) -> Any:
        """Take the cookie back."""
        done = answer({"valid": False})
        done.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return done

    def _cookie(self) -> str:
        return str(bottle.request.get_cookie(COOKIE) or "")
