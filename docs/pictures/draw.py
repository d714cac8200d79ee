"""Draw the picture in README: a real `inv dev` and `inv instances`, in a real terminal (tmux), of two worktrees.

python docs/pictures/draw.py

Run it in an environment with the extras `embedded` and `demo`. Everything is made in a temporary directory, which the
picture calls `~`, and removed at the end. The ports of ids 1 and 5 must be free.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import TerminalTheme

REPOSITORY = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("start.svg")
COLUMNS, LINES, SECONDS = 118, 60, 120.0
DONE = "finished with 0"
THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [
        (22, 27, 34),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (201, 209, 217),
    ],
    [
        (139, 148, 158),
        (255, 161, 152),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (240, 246, 252),
    ],
)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory).resolve()
        environ = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "PS1": "",
            "ORIENTER_BACKEND": "embedded",
        }
        repository = home / "code" / "orienter"
        _run(["git", "clone", "-q", str(REPOSITORY), str(repository)], home, environ)
        trees = [home / "claude-worktrees" / "orienter" / name for name in ("search", "login")]
        for tree in trees:
            _run(["git", "worktree", "add", "-q", str(tree)], repository, environ)
        try:
            _run(["inv", "dev", "--detach", "--quiet"], trees[0], environ)
            lines = _shown(["inv dev --detach", "inv instances"], trees[1], environ)
            PICTURE.write_text(_drawn(lines, home), encoding="utf-8")
        finally:
            _run(["inv", "dev.stop", "--all"], repository, environ)
            _run(["inv", "cleanup.all", "--yes"], repository, environ)


def _run(command: list[str], directory: Path, environ: dict[str, str]) -> str:
    return subprocess.run(command, cwd=directory, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


def _shown(commands: list[str], directory: Path, environ: dict[str, str]) -> list[str]:
    """Run commands one after the other in a terminal; return its lines with their colours, as escape sequences."""
    tmux = ["tmux", "-S", str(Path(environ["HOME"]) / "tmux"), "-f", "/dev/null"]
    script = "\n".join(
        f"printf '\\e[1;32m%s\\e[0m $ %s\\n' '{_name(directory, environ)}' '{c}'; {c}; echo" for c in commands
    )
    words = ["new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), "sh", "-c", f"{script}\necho {DONE}; sleep 600"]
    _run([*tmux, *words], directory, environ)
    try:
        deadline = time.monotonic() + SECONDS
        while DONE not in (screen := _run([*tmux, "capture-pane", "-p", "-e"], directory, environ)):
            if time.monotonic() > deadline:
                raise SystemExit(f"not finished after {SECONDS:g} s:\n{screen}")
            time.sleep(0.2)
    finally:
        _run([*tmux, "kill-server"], directory, environ)
    return screen.split(DONE)[0].rstrip().splitlines()


def _name(directory: Path, environ: dict[str, str]) -> str:
    return str(directory).replace(environ["HOME"], "~")


def _drawn(lines: list[str], home: Path) -> str:
    """Draw lines as an SVG that needs no font from elsewhere; the home directory becomes `~` without moving a frame."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    named = [
        re.sub(rf"{re.escape(str(home))}(\S*)(\s*)", rf"~\1\2{' ' * (len(str(home)) - 1)}", line) for line in lines
    ]
    for text in AnsiDecoder().decode("\n".join(named)):
        console.print(text, soft_wrap=True)
    drawn = console.export_svg(title="two worktrees, each with its own stack", theme=THEME, unique_id="start")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    return drawn.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace")


if __name__ == "__main__":
    main()
