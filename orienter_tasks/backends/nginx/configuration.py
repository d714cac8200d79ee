"""nginx's configuration: render it, let the real nginx check it, swap it in, reload, and roll back on failure.

DATA_DIR/nginx has the configuration in use, and `candidate` below it the next one.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from orienter_tasks.backends.nginx.health import await_revision, health_token
from orienter_tasks.backends.nginx.requests import MAIN, OWN
from orienter_tasks.errors import CheckError, ConfigError, OrienterError
from orienter_tasks.instance.model import component_of_port
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import locked, private_dir, write_private
from orienter_tasks.output import task_names
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.probes import USER_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig, NginxFacts
    from orienter_tasks.backends.templates import Rendered
    from orienter_tasks.instance.model import Instance


MAIN_TEMPLATE = "orienter-nginx-main.conf.j2"  # a name that no host would choose
LOCAL = "nginx-local.conf"
ACCEPTED = ".accepted"
REVISION_MARK = "@REVISION@"


class Accepted(msgspec.Struct, frozen=True):
    """What nginx has accepted last, by digests.

    Attributes:
        files: the files themselves, and which nginx it was.
        source: what they were rendered from.
        templates: the templates among that.
    """

    files: str = ""
    source: str = ""
    templates: tuple[str, ...] = ()


class NginxBackend(Protocol):
    """The part of a backend that runs nginx."""

    def nginx_facts(self) -> NginxFacts: ...

    def check_nginx(self, directory: Path) -> str:
        """Return "" if nginx accepts the configuration in a directory, else its message."""

    def reload_nginx(self) -> bool:
        """Make a running nginx reload its configuration; False if it does not run."""


def candidate_dir(instance: Instance) -> Path:
    return instance.nginx_dir / "candidate"


def values(config: InstanceConfig, facts: NginxFacts) -> dict[str, object]:
    """Return the variables of the templates."""
    instance, settings = config.instance, config.settings
    return {
        "instance_id": instance.id,
        "project": instance.project,
        "token": health_token(instance),
        "revision": REVISION_MARK,
        "listen": facts.listen,
        "upstream": facts.upstream,
        "directory": facts.directory,
        "runtime": facts.runtime,
        "mime_types": facts.mime_types,
        "user": facts.user,
        "probe": USER_AGENT,
        "login": settings.nginx.login,
        "hostname": instance.hostname,
        "hosts": settings.nginx.hosts,
        "inv": task_names.rename("inv dev").removesuffix("dev"),
        "ports": dict(instance.ports),
        "services": {name: component_of_port(settings, name) or name for name in instance.ports},
        **{f"{name}_port": port for name, port in instance.ports.items()},
    }


def plan(config: InstanceConfig, facts: NginxFacts, directory: Path) -> list[Rendered]:
    """Render both files; nothing is written.

    Raises:
        NotFoundError: there is no such template.
        CheckError: a template does not render.
    """
    return _plan(config, facts, directory)[0]


def check(config: InstanceConfig, backend: NginxBackend) -> Path:
    """Render the candidate and let the real nginx test it; return its directory."""
    with _alone(config):
        rendered = plan(config, backend.nginx_facts(), candidate_dir(config.instance))
        write_candidate(config, rendered)
        _require_accepted(config, backend)
        return candidate_dir(config.instance)


def apply(config: InstanceConfig, backend: NginxBackend, *, force: bool = False) -> bool:
    """Update nginx's configuration: render, check, swap, reload; return whether it changed.

    Unless `force`, what follows from the same settings and templates is not rendered again, and what nginx accepted
    before is neither checked nor reloaded. After an error, the previous configuration is in place and in use.
    """
    with _alone(config):
        facts, live = backend.nginx_facts(), config.instance.nginx_dir
        which = (config.settings.docker.nginx, config.settings.embedded.nginx, facts)
        former = {name: _read(live / name) for name in (MAIN, LOCAL, ACCEPTED)}
        accepted = _decoded(former[ACCEPTED])
        known = accepted.files == _digest(which, former[MAIN], former[LOCAL]) and accepted.source == _source(
            config, facts, accepted.templates
        )
        if known and not force:
            return False
        rendered, revision = _plan(config, facts, candidate_dir(config.instance))
        contents = {file.path.name: os.fsencode(file.content) for file in rendered}
        names = tuple(dict.fromkeys(name for file in rendered for name in file.templates))
        verdict = Accepted(_digest(which, contents[MAIN], contents[LOCAL]), _source(config, facts, names), names)
        changed = any(former[name] != content for name, content in contents.items())
        if not force and not changed and accepted.files == verdict.files:
            write_private(live / ACCEPTED, msgspec.json.encode(verdict), 0o644)
            return False
        write_candidate(config, rendered)
        _require_accepted(config, backend)
        for file in rendered:
            write_private(live / file.path.name, os.fsencode(file.content), file.mode)
        try:
            if backend.reload_nginx():
                await_revision(config, revision)
        except (OrienterError, NotReadyError) as error:
            raise _rolled_back(config, backend, former, error) from error
        write_private(live / ACCEPTED, msgspec.json.encode(verdict), 0o644)
        return changed


def write_candidate(config: InstanceConfig, rendered: Sequence[Rendered]) -> None:
    private_dir(config.instance.data_dir)
    try:
        for path in (config.instance.nginx_dir, candidate_dir(config.instance)):
            path.mkdir(
                mode=0o755, exist_ok=True
            )  # nothing in here is secret, and a container's root may be another user
    except OSError as error:
        raise ConfigError(f"cannot make the directory {error.filename}: {error.strerror}") from error
    for file in rendered:
        write_private(file.path, os.fsencode(file.content), file.mode)


@contextmanager
def _alone(config: InstanceConfig) -> Iterator[None]:
    """Prevent two commands from writing the same candidate."""
    with locked(f"nginx-{config.instance.lock}", timeout=config.settings.timeouts.lock):
        yield


def _plan(config: InstanceConfig, facts: NginxFacts, directory: Path) -> tuple[list[Rendered], str]:
    """Render both files; the revision is their digest, which /health reports to show that a reload is complete."""
    from orienter_tasks.backends import templates

    known, root = values(config, facts), config.instance.root
    local = templates.render(root, config.settings.nginx.template, directory / LOCAL, known)
    noted = "" if re.search(OWN, local.content) else facts.noted
    drafts = [templates.render(root, MAIN_TEMPLATE, directory / MAIN, {**known, "noted": noted}), local]
    revision = hashlib.sha256(b"\0".join(os.fsencode(draft.content) for draft in drafts)).hexdigest()[:12]
    return [replace(draft, content=draft.content.replace(REVISION_MARK, revision)) for draft in drafts], revision


def _source(config: InstanceConfig, facts: NginxFacts, names: Sequence[str]) -> str:
    """Return a digest of what the files are rendered from."""
    from orienter_tasks.backends import templates

    template, root = config.settings.nginx.template, config.instance.root
    return _digest(template, facts.noted, values(config, facts), *templates.contents(root, names))


def _decoded(content: bytes | None) -> Accepted:
    try:
        return msgspec.json.decode(content or b"", type=Accepted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Accepted()


def _digest(*what: object) -> str:
    return hashlib.sha256(os.fsencode(repr(what))).hexdigest()


def _require_accepted(config: InstanceConfig, backend: NginxBackend) -> None:
    candidate = candidate_dir(config.instance)
    message = backend.check_nginx(candidate)
    if message:
        raise CheckError(
            f"nginx refuses the configuration of {config.instance}",
            hint=f"nothing was changed; see {config.settings.nginx.template} as rendered in {candidate}",
            details=message.strip().splitlines(),
        )


def _rolled_back(
    config: InstanceConfig, backend: NginxBackend, former: Mapping[str, bytes | None], cause: Exception
) -> OrienterError:
    """Put the former files back, reload, and return the error to raise."""
    live = config.instance.nginx_dir
    for name, content in former.items():
        if content is None:
            (live / name).unlink(missing_ok=True)
        else:
            write_private(live / name, content, 0o644)
    hint, details = "the previous one is in place again; see: inv infra.logs", []
    try:
        backend.reload_nginx()
    except OrienterError as error:
        hint, details = "the previous files are in place again; run: inv dev.restart -s nginx", [error.line()]
    return CheckError(
        f"nginx of {config.instance} did not load its new configuration: {cause}", hint=hint, details=details
    )


def _read(path: Path) -> bytes | None:
    try:
        return read_small(path)
    except OSError:
        return None
