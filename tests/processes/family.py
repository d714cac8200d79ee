"""A program with a family: `family.py DIRECTORY ROLE…` starts a process for each role; each writes its pid there.

Run by the tests as a process of its own. Roles: `child` in the same group; `session`, a child in a session of its own;
`daemon`, which forks twice and lets go of its parents; `cleared`, a child in a session of its own with an empty
environment; `worker`, a child in the leader's session whose environment is empty.
The words `stubborn` (all of them ignore TERM), `polite` (the leader writes `goodbye` when told to end), `heir` (the
leader starts another process when told to end) and `leaves` (the leader ends at once) change how it behaves.
"""

import os
import signal
import sys
import time
from pathlib import Path

SLEEP = [sys.executable, "-I", "-S", "-c", "import signal\nwhile True: signal.pause()"]


def report(directory: Path, role: str, pid: int) -> None:
    """Write a pid so that a reader never sees a part."""
    (directory / f".{role}").write_text(str(pid), encoding="ascii")
    (directory / f".{role}").rename(directory / role)


def live() -> None:
    """Do nothing for ever."""
    while True:
        signal.pause()


def start(directory: Path, role: str) -> None:
    """Fork the process of a role; return in the parent."""
    if os.fork():
        if role == "daemon":
            os.wait()
        return
    if role in ("session", "daemon", "cleared"):
        os.setsid()
    if role == "daemon" and os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
    report(directory, role, os.getpid())
    if role in ("cleared", "worker"):
        os.execve(SLEEP[0], SLEEP, {})
    live()


def main() -> None:
    """Start them all, and live."""
    directory, words = Path(sys.argv[1]), sys.argv[2:]

    def told_to_end(number: int, frame: object) -> None:
        if "polite" in words:
            time.sleep(0.1)
            (directory / "goodbye").write_text(str(number), encoding="ascii")
        if "heir" in words:
            start(directory, "heir")
            while not (directory / "heir").exists():
                time.sleep(0.01)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in words else told_to_end)
    signal.signal(signal.SIGINT, told_to_end)
    for role in words:
        if role in ("child", "session", "daemon", "cleared", "worker"):
            start(directory, role)
    report(directory, "leader", os.getpid())
    if "leaves" in words:
        os._exit(0)
    live()


if __name__ == "__main__":
    main()
