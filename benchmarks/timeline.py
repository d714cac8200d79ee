"""When each component waited, started and was ready, as its user sees it; drawn for a terminal and as SVG.

Nothing is built into the tool for this: what `inv` says on stderr is read while it says it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import psutil

from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WIDTH = 60
_SAID = re.compile(r"^(\S+): (starting|ready)\b(?!.*already)")


@dataclass(frozen=True)
class Span:
    """One component: seconds since the command was given until it started, and until it was ready."""

    component: str
    started: float
    ready: float


@dataclass(frozen=True)
class Timeline:
    """A start.

    Attributes:
        title: what was given.
        spans: its components.
        total: seconds until the command ended.
        cpu: seconds of CPU that `inv` took, with what it ran and waited for.
        busy: seconds of CPU that the whole machine took meanwhile: servers, services, an engine and other work.
    """

    title: str
    spans: Sequence[Span]
    total: float
    cpu: float
    busy: float


def record(title: str, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Timeline:
    """Run a command that must succeed, and note when it said what."""
    begun, busy = time.monotonic(), _busy()
    started: dict[str, float] = {}
    ready: dict[str, float] = {}
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr or ():
            moment = time.monotonic() - begun
            said.append(line)
            match = _SAID.match(line)
            if match is not None:
                {"starting": started, "ready": ready}[match[2]].setdefault(match[1], moment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    total, busy = time.monotonic() - begun, _busy() - busy
    if process.returncode != 0:
        raise CheckError(f"{' '.join(command)} in {cwd}: exit {process.returncode}\n{''.join(said)}")
    spans = [Span(name, started[name], moment) for name, moment in ready.items() if name in started]
    return Timeline(title, sorted(spans, key=lambda span: span.started), total, usage.ru_utime + usage.ru_stime, busy)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def chart(timeline: Timeline) -> list[str]:
    """Draw it with characters: waiting, starting, ready."""
    widest = max(len(span.component) for span in timeline.spans)
    scale = WIDTH / timeline.total
    lines = [f"{timeline.title}: {timeline.total:.2f} s   · waiting  ▒ starting  █ ready"]
    for span in timeline.spans:
        waits, starts = round(span.started * scale), max(1, round((span.ready - span.started) * scale))
        bar = "·" * waits + "▒" * starts
        took = f"{span.ready - span.started:.2f} s"
        lines.append(f"  {span.component:<{widest}}  {bar}{'█' * max(0, WIDTH - len(bar))}  {took:>7}")
    return lines


def svg(timeline: Timeline) -> str:
    """Draw it as SVG, in colours that can be read on light and dark ground."""
    left, right, row, top = 90, 640, 22, 40
    scale = (right - left) / timeline.total
    height = top + row * len(timeline.spans) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="700" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-weight="bold">{escape(timeline.title)}: {timeline.total:.2f} s</text>',
    ]
    for second in range(int(timeline.total / 0.25) + 1):
        x = left + second * 0.25 * scale
        parts.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{height - 24}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle" fill="#666">{second * 0.25:g}</text>')
    for index, span in enumerate(timeline.spans):
        y = top + index * row
        x, mid = left + span.started * scale, left + span.ready * scale
        parts += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(span.component)}</text>',
            f'<line x1="{left}" y1="{y + 8}" x2="{x:.1f}" y2="{y + 8}" stroke="#bbb" stroke-dasharray="2 3"/>',
            f'<rect x="{x:.1f}" y="{y}" width="{mid - x:.1f}" height="16" fill="#e0a030"/>',
            f'<rect x="{mid:.1f}" y="{y}" width="{right - mid:.1f}" height="16" fill="#5aa469"/>',
            f'<text x="{right + 6}" y="{y + 12}" fill="#666">{span.ready - span.started:.2f} s</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def curve(title: str, values: Sequence[float], unit: str) -> str:
    """Draw a row of values as SVG."""
    left, right, top, bottom = 60, 660, 40, 200
    highest = max(values) * 1.15
    points = [
        (left + (right - left) * index / max(1, len(values) - 1), bottom - (bottom - top) * value / highest)
        for index, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 240" font-family="sans-serif" font-size="12">',
            '<rect width="700" height="240" fill="#fff"/>',
            f'<text x="{left}" y="20" font-weight="bold">{escape(title)}</text>',
            *(
                f'<line x1="{left}" y1="{bottom - (bottom - top) * share:.1f}" x2="{right}" '
                f'y2="{bottom - (bottom - top) * share:.1f}" stroke="#ddd"/>'
                f'<text x="{left - 6}" y="{bottom - (bottom - top) * share + 4:.1f}" text-anchor="end" '
                f'fill="#666">{highest * share:.2f} {unit}</text>'
                for share in (0, 0.25, 0.5, 0.75, 1)
            ),
            f'<polyline points="{line}" fill="none" stroke="#3973ac" stroke-width="2"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="#3973ac"/>' for x, y in points),
            f'<text x="{left}" y="225" fill="#666">1</text>',
            f'<text x="{right}" y="225" text-anchor="end" fill="#666">{len(values)}</text>',
            "</svg>",
            "",
        ]
    )


def sparkline(values: Sequence[float]) -> str:
    """Draw a row of values in one line of characters, from zero up."""
    bars = "▁▂▃▄▅▆▇█"
    highest = max(values)
    return "".join(bars[min(len(bars) - 1, int(value / highest * len(bars)))] for value in values)
