"""What the hook of a shell costs at each prompt, in bash, beside starting one small program."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.measure import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.hosts import BenchHost

LIMIT = 5.0
"""Milliseconds, while nothing has changed."""
SCRIPT = """
source "$1"
took() { # TIMES BEFORE COMMAND: microseconds of each command, the median
    local times=$1 before=$2 begun ended all=()
    shift 2
    for ((; times > 0; times--)); do
        $before
        begun=$EPOCHREALTIME; "$@"; ended=$EPOCHREALTIME
        all+=($((${ended/[.,]/} - ${begun/[.,]/})))
    done
    printf '%s\\n' "${all[@]}" | sort -n | sed -n "$(((${#all[@]} + 1) / 2))p"
}
inside() { cd "$root"; _orienter_prompt; }
outside() { cd /; _orienter_prompt; }
one() { /bin/true; }
root=$2
inside
took 200 : _orienter_prompt
took 100 outside inside
took 100 inside outside
took 200 : one
"""


def measure(host: BenchHost) -> Iterator[Line]:
    """Draw a prompt, and enter and leave the checkout, again and again."""
    script = host.directory / "hook.bash"
    script.write_text(host.main.inv("env.hook", "bash").out)
    host.main.inv("infra.up")
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT, "bash", str(script), str(host.main.path)],
        env=host.main.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    same, entering, leaving, program = (int(each) / 1000 for each in done.stdout.split())
    for name, milliseconds in (("a prompt", same), ("entering", entering), ("leaving", leaving)):
        yield Line(
            f"{name}, nothing changed",
            f"≤ {LIMIT:g} ms",
            f"{milliseconds:.1f} ms",
            milliseconds <= LIMIT,
            f"{program:.1f} ms for /bin/true",
        )
