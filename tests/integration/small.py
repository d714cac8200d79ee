"""A host whose only service is a tiny stand-in, so that a test pays for nothing that it does not ask about."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import psutil

from tests import slot
from tests.integration.checkouts import INV, TEST_IMAGES, Answer, Checkout, Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BASES = slot.bases()
STAND_IN = Path(__file__).with_name("stand_in.py")
WEB = {"port": "dashboard", "ready": {"http": "/"}}
ORIENT: tuple[str, ...] = ("frontend", "dashboard", "opencode", "whatsapp", "slack")
PATIENCE = 30.0


Made = TypeVar("Made", bound="SmallHost")


class MakeHost(Protocol):
    """Makes a host on a backend; further settings are keys below `orienter:`."""

    def __call__(self, backend: str = "embedded", **orienter: Any) -> SmallHost: ...


def service(*words: str, **changes: Any) -> dict[str, Any]:
    """Settings of a service that is the stand-in with these words; it listens on the port that it is given."""
    command = ["${PYTHON}", "-I", "-S", "stand_in.py", *words]
    return {"command": command, **changes}


def web(*words: str, **changes: Any) -> dict[str, Any]:
    """Settings of a stand-in that serves HTTP on the dashboard's port."""
    return service("serve", "${DASHBOARD_PORT}", *words, **{**WEB, **changes})


class SmallHost(Host):
    """A host with one service, `web`, on test ports and test images; the test's own keys on top."""

    def __init__(self, directory: Path, backend: str, clusters: Path, **orienter: Any) -> None:
        state = Path(os.environ["ORIENTER_STATE_DIR"])
        state.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (state / "cache").symlink_to(clusters)  # one initdb for all tests
        services = {**dict.fromkeys(ORIENT), "web": web(), **orienter.get("services", {})}
        settings = {
            "project": slot.project("small"),
            "ports": BASES,
            "docker": TEST_IMAGES,
            **orienter,
            "services": {name: value for name, value in services.items() if value is not None or name in ORIENT},
        }
        super().__init__(directory, backend, settings, {"stand_in.py": STAND_IN})


@contextlib.contextmanager
def making(kind: type[Made], directory: Path, clusters: Path) -> Iterator[Callable[..., Made]]:
    """Make small hosts; whatever a test starts in them is stopped and removed."""
    numbers = itertools.count()
    with contextlib.ExitStack() as ends:

        def make(backend: str = "embedded", **orienter: Any) -> Made:
            made = kind(directory / f"home-{next(numbers)}" / "x", backend, clusters, **orienter)
            ends.callback(made.clean_up)
            return made

        yield make


class Running:
    """An `inv` that runs beside the test, as in a terminal of its own."""

    def __init__(self, checkout: Checkout, directory: Path, *words: str, ignore: Sequence[int] = ()) -> None:
        self._out, self._err = directory / f"{time.monotonic_ns()}.out", directory / f"{time.monotonic_ns()}.err"

        def signals() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored, where pytest itself runs in the background
            for number in ignore:
                signal.signal(number, signal.SIG_IGN)

        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(INV), *words],
                cwd=checkout.path,
                env={**checkout.environ, "PYTHONFAULTHANDLER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=signals,  # noqa: PLW1509 - this program has no other threads when it starts one
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def until(self, text: str) -> None:
        """Wait until it has printed this."""
        wait_for(lambda: text in self.out + self.err or self.process.poll() is not None, f"{text!r} in {self.err}")
        assert text in self.out + self.err, f"no {text!r}: {self.answer()}"

    def send(self, number: int) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def end(self, code: int | None = None) -> Answer:
        """Wait until it ends, with this exit code."""
        try:
            self.process.wait(PATIENCE * 2)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # it says where it hangs
            self.process.wait()
            raise AssertionError(f"not within {PATIENCE * 2:g} s: {self.answer()}") from None
        answer = self.answer()
        assert "Traceback" not in answer.err, str(answer)
        assert code is None or answer.code == code, str(answer)
        return answer

    def answer(self) -> Answer:
        """What there is of it."""
        code = self.process.poll()
        return Answer(-1000 if code is None else code, self.out, self.err)


def wait_for(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def within(checkout: Checkout, environ: Mapping[str, str]) -> Checkout:
    """The same checkout, in a shell that has these variables too."""
    return Checkout(checkout.path, {**checkout.environ, **environ})


def complaint(answer: Answer) -> str:
    """Return the one error that a run ended with, and what to do about it: «message → hint»."""
    lines = answer.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    assert len(errors) == 1, str(answer)
    assert len(hints) <= 1, str(answer)
    assert "Traceback" not in answer.err + answer.out, str(answer)
    assert len(errors[0]) < 500, errors[0]
    return " → ".join([*errors, *hints])


def states(checkout: Checkout) -> dict[str, bool]:
    """Return which components there are, and which of them run."""
    parts = checkout.inv("dev.status", "--json").json["components"]
    return {part["name"]: part["running"] for part in parts}


def pid_of(checkout: Checkout, component: str) -> int:
    """Return the pid in a component's record; a service's is its shim's."""
    record = next(checkout.path.glob(f".dev-pids/instance-*/{component}.json"))
    return int(json.loads(record.read_text())["pid"])


def served(checkout: Checkout, component: str) -> int:
    """Return the pid of a component's own process: the one that its shim started, or the one in its record."""
    record = next(checkout.path.glob(f".dev-pids/instance-*/{component}.json"))
    if not json.loads(record.read_text())["kept"]:
        return pid_of(checkout, component)
    shim = psutil.Process(pid_of(checkout, component))
    wait_for(lambda: [child for child in shim.children() if child.cmdline()[:1] != ["/bin/sh"]], f"{component}'s own")
    (child,) = shim.children()
    return child.pid


def kill(pid: int) -> None:
    """End a process with SIGKILL, and wait until it is gone."""
    process = psutil.Process(pid)
    process.kill()
    wait_for(lambda: _ended(process), f"the end of {pid}")


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # in between
        return True


_ADDRESSES: dict[tuple[Path, str], str] = {}  # asked for once: every question to `inv` costs a moment


def query(checkout: Checkout, *statements: str) -> list[Any]:
    """Run statements in the instance's database, as its services would; return the last one's rows."""
    rows: list[Any] = []
    with connected(checkout) as connection:
        for statement in statements:
            rows = connection.run(statement) or []
    return rows


@contextlib.contextmanager
def connected(checkout: Checkout, database: str = "") -> Iterator[Any]:
    """Connect to the instance's database, as its services would, or to another one of the server."""
    from pg8000 import native

    dotenv = checkout.path / ".env"
    asked = (checkout.path, dotenv.read_text(encoding="utf-8") if dotenv.is_file() else "")
    if asked not in _ADDRESSES:
        _ADDRESSES[asked] = checkout.variables["DATABASE_URL"]
    url = urlsplit(_ADDRESSES[asked])
    # a socket of our own: pg8000 would leave its one open when the server goes away
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=PATIENCE) as sock:
        connection = native.Connection(
            unquote(url.username or ""),
            sock=sock,
            database=database or unquote(url.path[1:]),
            password=unquote(url.password or ""),
        )
        yield connection
        connection.close()


def forget_address(checkout: Checkout) -> None:
    """Ask for the database's address anew: another checkout is at that path, or it has another id."""
    for asked in [asked for asked in _ADDRESSES if asked[0] == checkout.path]:
        del _ADDRESSES[asked]


def remember(checkout: Checkout, text: str) -> None:
    """Write a row into the instance's database."""
    query(checkout, "CREATE TABLE IF NOT EXISTS kept (text text)", f"INSERT INTO kept VALUES ('{text}')")


def remembered(checkout: Checkout) -> list[str]:
    """Return the rows that were written; none in a new database."""
    rows = query(checkout, "CREATE TABLE IF NOT EXISTS kept (text text)", "SELECT text FROM kept ORDER BY text")
    return [row[0] for row in rows]
