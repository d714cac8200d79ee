"""An instance on another machine, used as if it were here: its ports forwarded by one ssh, until Ctrl-C."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from orienter_tasks.backends.nginx.health import answering_token, token_of
from orienter_tasks.errors import BackendError, CheckError, ConfigError, ConflictError, NotFoundError
from orienter_tasks.lifecycle import holders
from orienter_tasks.machine import ports, ssh
from orienter_tasks.machine.signals import until_ctrl_c
from orienter_tasks.machine.ssh import Link
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.lifecycle.context import RunContext

SCHEMA_VERSION = 1
NO_DIRECTORY, NO_PROGRAM = 97, (126, 127)
STATUS_SECONDS = 120.0
HEALTH_SECONDS = 15.0
LOOK_SECONDS = 3.0
POLL_SECONDS = 0.1
DELAYS = (0.5, 1.0, 2.0, 5.0)
"""Seconds between two tries to get a link back; the last again and again."""


class Place(msgspec.Struct, frozen=True):
    """A checkout on another machine: `host` as ssh takes it, `path` as the home directory's shell does."""

    host: str
    path: str


class Remote(msgspec.Struct, frozen=True):
    """What `inv dev.status --json` there says of the instance."""

    schema_version: int
    id: int
    project: str
    root: str
    state: str
    ports: dict[str, int]
    url: str
    host_url: str

    def __str__(self) -> str:
        return f"instance {self.id} of {self.project}"


def parse(text: str) -> Place:
    """Parse `[USER@]BOX:PATH` or `ssh://[USER@]BOX[:PORT]/PATH`.

    Raises:
        ConfigError: it is neither.
    """
    if text.startswith("ssh://"):
        host, path = text[: text.find("/", len("ssh://"))], urlsplit(text).path
    else:
        found = re.fullmatch(r"((?:[^@:\s]+@)?(?:\[[^\]\s]+\]|[^:\s\[\]]+)):(.*)", text)
        host, path = (found[1], found[2]) if found else ("", "")
    if not host or not path or host.startswith("-") or not text.isprintable():
        raise ConfigError(f"remote.open: expected USER@BOX:PATH, got {text!r}", hint="for example me@box:code/shop")
    return Place(host, path)


def open_(ctx: RunContext, text: str, program: str) -> None:
    """Forward an instance's ports until Ctrl-C."""
    place = parse(text)
    there = _look(place, program)
    _require_free(ctx, place, there)
    with until_ctrl_c(), _link(place, there) as link:
        _await(link, place, there)
        ctx.report.box(
            f"{there} on {place.host}",
            [
                ("page", there.host_url),
                *((name, f"localhost:{port}") for name, port in there.ports.items() if name != "nginx"),
            ],
        )
        ctx.report.note("forwarding; Ctrl-C ends it, and leaves the instance there as it is")
        _watch(ctx, link, place, there)
    ctx.report.note(f"nothing of {place.host} is forwarded any more")


def _look(place: Place, program: str) -> Remote:
    """Ask the other machine for its instance."""
    home = place.path.removeprefix("~/") if place.path != "~" else "."
    # a login shell's PATH has what the user installed; a directory that is not there has an exit code of its own
    script = f"cd -- {shlex.quote(home)} || exit {NO_DIRECTORY}; exec {shlex.quote(program)} dev.status --json"
    try:
        done = subprocess.run(
            _ssh(place, f"exec sh -lc {shlex.quote(script)}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=STATUS_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotFoundError("ssh is not on PATH", hint="install OpenSSH's client") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{place.host} says nothing for {STATUS_SECONDS:g} s", hint=_try(place)) from error
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {done.returncode}"
    if done.returncode == ssh.NO_LINK:
        raise BackendError(f"{place.host} cannot be reached: {last}", hint=_try(place))
    if done.returncode == NO_DIRECTORY:
        raise NotFoundError(f"{place.host} has no directory {place.path}")
    if done.returncode in NO_PROGRAM:
        raise NotFoundError(
            f"{place.host} has no program {program}", hint="name it: inv remote.open --inv PATH USER@BOX:PATH"
        )
    text = done.stdout.decode(errors="replace")
    try:
        there = msgspec.json.decode(text[text.index("{") :], type=Remote)
    except (ValueError, msgspec.DecodeError) as error:
        raise CheckError(f"inv dev.status fails on {place.host}: {last}", hint=_try(place, program)) from error
    if there.schema_version != SCHEMA_VERSION:
        raise ConfigError(
            f"{place.host} answers in schema version {there.schema_version}, this program knows {SCHEMA_VERSION}",
            hint="use the same version of orienter-tasks on both",
        )
    if there.state == "stopped" or "nginx" not in there.ports:
        raise NotFoundError(f"{there} on {place.host} is {there.state}", hint=_start(place, program))
    if not all(0 < port < 2**16 for port in there.ports.values()):
        raise CheckError(f"{place.host} names ports that there are not: {sorted(there.ports.values())}")
    return there


def _ssh(place: Place, command: str, *forwards: str) -> list[str]:
    return ssh.command_line(place.host, command, forwards=forwards, may_ask=os.isatty(0) and os.isatty(2))


def _require_free(ctx: RunContext, place: Place, there: Remote) -> None:
    """Require that nothing here uses a port that is to be forwarded.

    Raises:
        ConflictError: names the ports, what holds them, and the instances that they are of.
    """
    ours = {port: claim for claim in ctx.claims.read() for port in claim.ports.values()}
    taken = holders.foreign(there.ports, tuple)
    for port in {there.ports[name] for name in taken} & ours.keys():
        claim = ours[port]
        raise ConflictError(
            f"{there} on {place.host} has ports that instance {claim.id} of {claim.project} ({claim.root}) uses here",
            hint=f"cd {shlex.quote(claim.root)} && inv dev.stop, or give one of the two another id",
            details=[f"  {described}" for described in taken.values()],
        )
    if taken:
        raise ConflictError(
            f"{there} on {place.host} has ports that are taken here",
            hint="stop what holds them, or give the instance there another id",
            details=[f"  {described}" for described in taken.values()],
        )
    waiting = {ours[port].token: ours[port] for port in there.ports.values() if port in ours}
    for claim in waiting.values():
        ctx.report.warn(f"instance {claim.id} of {claim.project} ({claim.root}) has these ports, and cannot start now")


@contextmanager
def _link(place: Place, there: Remote) -> Iterator[Link]:
    forwards = (f"127.0.0.1:{port}:127.0.0.1:{port}" for port in sorted({*there.ports.values()}))
    link = Link(_ssh(place, ssh.WAIT, *forwards))
    try:
        link.begin()
        yield link
    finally:
        link.end()


def _await(link: Link, place: Place, there: Remote) -> None:
    """Wait until the instance answers through the link.

    Raises:
        BackendError: the link cannot be made.
        ConflictError: another instance answers.
        CheckError: none does.
    """
    deadline = None  # a person may be typing a password: only what is forwarded is hurried
    while link.alive:
        try:
            _require_it(there)
        except NotReadyError as error:
            if deadline is None and not ports.is_free(there.ports["nginx"]):
                deadline = time.monotonic() + HEALTH_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                raise CheckError(f"{there} on {place.host} does not answer: {error}", hint=_start(place)) from error
            time.sleep(POLL_SECONDS)
        else:
            return
    raise BackendError(f"the ports of {place.host} are not forwarded: {link.last_words}", hint=_try(place))


def _require_it(there: Remote) -> None:
    """Require that this instance, and no other, answers on nginx's port.

    Raises:
        NotReadyError: nothing answers.
        ConflictError: another one does.
    """
    if answering_token(there.ports["nginx"]) != token_of(Path(there.root), there.id):
        raise ConflictError(
            f"port {there.ports['nginx']} is answered by something else than {there}",
            hint="see what runs there: inv instances",
        )


def _watch(ctx: RunContext, link: Link, place: Place, there: Remote) -> None:
    """Say what becomes of the link and of the instance, and make the link again when it is lost; returns never."""
    answers = True
    while True:
        if not link.alive:
            ctx.report.warn(f"the link to {place.host} is lost ({link.last_words}); trying to get it back")
            since = time.monotonic()
            _again(link, place, there)
            ctx.report.note(f"{place.host} is back after {time.monotonic() - since:.1f} s")
            answers = True
        try:
            _require_it(there)
        except NotReadyError as error:
            if answers and link.alive:
                ctx.report.warn(f"{there} on {place.host} does not answer: {error}")
                answers = False
        else:
            if not answers:
                ctx.report.note(f"{there} on {place.host} answers again")
            answers = True
        deadline = time.monotonic() + LOOK_SECONDS
        while link.alive and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _again(link: Link, place: Place, there: Remote) -> None:
    for delay in chain(DELAYS, repeat(DELAYS[-1])):
        time.sleep(delay)
        link.begin()
        try:
            _await(link, place, there)
        except (BackendError, CheckError):
            continue
        return


def _try(place: Place, program: str = "") -> str:
    return f"try: ssh {shlex.quote(place.host)}" + (
        f" {shlex.quote(f'cd {shlex.quote(place.path)} && {program} doctor')}" if program else ""
    )


def _start(place: Place, program: str = "inv") -> str:
    return f"start it there: ssh {shlex.quote(place.host)} {shlex.quote(f'cd {place.path} && {program} dev --detach')}"
