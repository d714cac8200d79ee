"""What keeps cookies as browsers do: curl with its jar, and a real Chromium. Both find `*.localhost` by themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.integration.small import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PASSWORD = "demo"


class Browser(Protocol):
    """Signs in to the demo application."""

    def sign_in(self, url: str) -> None: ...

    def is_signed_in(self, url: str) -> bool: ...


def keeps_sessions_apart(browser: Browser, *checkouts: Checkout) -> None:
    """Sign in to all checkouts with one browser: by host names all sessions last, by localhost only the last one."""
    shown = [checkout.inv("env.show", "--json").json for checkout in checkouts]
    assert len({one["host_url"] for one in shown}) == len(checkouts)
    for key, lasts in (("host_url", [True] * len(checkouts)), ("url", [False] * (len(checkouts) - 1) + [True])):
        for one in shown:
            assert not browser.is_signed_in(one[key])
            browser.sign_in(one[key])
            assert browser.is_signed_in(one[key])
        assert [browser.is_signed_in(one[key]) for one in shown] == lasts, key
    assert all(browser.is_signed_in(one["host_url"]) for one in shown)


class Curl:
    """curl, with its cookies in a file."""

    def __init__(self, directory: Path) -> None:
        self._jar = directory / "cookies"

    def sign_in(self, url: str) -> None:
        """Post the password."""
        assert self._status(f"{url}/api/auth/login", "--json", json.dumps({"password": PASSWORD})) == 200

    def is_signed_in(self, url: str) -> bool:
        """Ask the dashboard."""
        return self._status(f"{url}/api/auth/validate") == 200

    def _status(self, url: str, *words: str) -> int:
        jar = ("-b", str(self._jar), "-c", str(self._jar), "--noproxy", "*")
        command = ["curl", "-sS", "-m", "20", "-o", os.devnull, "-w", "%{http_code}", *jar, *words, url]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


class Chromium:
    """A headless Chromium, a tab for each address; commands reach it through a pipe."""

    def __init__(self, directory: Path) -> None:
        program = next(filter(None, map(shutil.which, CHROMIUM)), None)
        if program is None:
            if os.environ.get("ORIENTER_REQUIRE_BROWSER") == "1":
                pytest.fail("Chromium is not on PATH, and ORIENTER_REQUIRE_BROWSER=1 requires it")
            pytest.skip("Chromium is not on PATH")
        its_in, self._to = os.pipe()
        self._from, its_out = os.pipe()
        profile = f"--user-data-dir={directory / 'profile'}"

        def as_chromium_has_them() -> None:
            ends = os.dup(its_in), os.dup(its_out)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        with (directory / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "--headless", "--no-sandbox", "--remote-debugging-pipe", profile, "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(3, 4),
                preexec_fn=as_chromium_has_them,  # noqa: PLW1509 - this program has no other threads when it starts one
            )
        os.close(its_in)
        os.close(its_out)
        self._answers = os.fdopen(self._from, "rb")
        self._tabs: dict[str, str] = {}
        self._number = 0

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)
        self._process.terminate()
        self._process.wait(20)
        self._answers.close()

    def sign_in(self, url: str) -> None:
        """Fill in the form of the page, and send it."""
        self._run(url, f"password.value = {json.dumps(PASSWORD)}, form.requestSubmit()")
        wait_for(lambda: self._run(url, "form.hidden && !inside.hidden"), f"the session at {url}")

    def is_signed_in(self, url: str) -> bool:
        """Load the page, and ask from there."""
        if url not in self._tabs:
            target = self._tell("Target.createTarget", url="about:blank")["targetId"]
            self._tabs[url] = self._tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._tell("Page.navigate", self._tabs[url], url=f"{url}/dashboard/")
        wait_for(lambda: self._run(url, "document.readyState == 'complete'"), url)
        return bool(self._run(url, "fetch('/api/auth/validate', {cache: 'no-store'}).then(answer => answer.ok)"))

    def _run(self, url: str, script: str) -> Any:
        told = self._tell("Runtime.evaluate", self._tabs[url], expression=script, awaitPromise=True)
        return told["result"].get("value")

    def _tell(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> bytes:
        message = b""
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            message += byte
        return message
