"""From `.env`, the process environment and the instance to variables. Pure.

Order, weakest first: `.env`, the process environment, the derived variables. Derived ones always win.
"""

from __future__ import annotations

import re
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Settings

Origin = Literal["derived", "environment", ".env", "settings"]

MASK = "••••••"

HARMLESS = frozenset({"AI_INSTANCE_ID", "NODE_ENV", "LOG_LEVEL", "DEBUG", "TZ", "LANG", "HOST", "ENVIRONMENT"})
"""Variables whose values are shown where others' are masked."""

_HIDDEN_NAME = r"(?i)PASSWORD|PASSWD|PASSPHRASE|(^|_)PASS(_|$)|SECRET|TOKEN|_KEY$|APIKEY|CREDENTIAL|PRIVATE"
_URL_LOGIN = r"(?<=://)([^/@:\s]*):([^/\s]+)@"  # up to the last @: a password may hold one
_OWN_ADDRESS = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/?"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}
_PLACEHOLDER = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
_REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}"  # a variable's or a setting's


class Variables(msgspec.Struct, frozen=True):
    """The variables of one instance.

    Attributes:
        values: those of `.env` and the derived ones.
        origins: where each of them came from.
        ignored: what `.env` says, where that differs from the derived value.
        withheld: those of `.env` and the environment that services do not get.
    """

    values: Mapping[str, str]
    origins: Mapping[str, Origin]
    ignored: Mapping[str, str]
    withheld: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def is_fixed(self, name: str) -> bool:
        """Whether no hook can set it: it is derived, the servers were started with it, or it is withheld."""
        return self.origins.get(name) == "derived" or name in catalog.inputs() or name in self.withheld

    def over(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return a whole process environment: these variables over the given one, without what is withheld."""
        return {name: value for name, value in environ.items() if name not in self.withheld} | dict(self.values)

    def why_ignored(self, name: str) -> str:
        """Say why what `.env` says of a variable has no effect."""
        if name in self.withheld:
            return "it could lead clients of this instance's servers elsewhere"
        return "it follows from the instance's id"


def derive(
    instance: Instance,
    settings: Settings,
    dotenv: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    whatsapp: bool | None = None,
    service_host: str = LOOPBACK,
    backend: str = "",
) -> Variables:
    """Compute the variables of an instance.

    `whatsapp` is what the command line says about WhatsApp, None when it says nothing; `service_host` the address on
    which services are to listen; `backend` is "" until it is known.
    """
    shields = _shields(instance, settings)
    withheld = frozenset(name for name, value in shields.items() if not value)
    dropped = {name: value for name, value in dotenv.items() if name in withheld}
    dotenv = {name: value for name, value in dotenv.items() if name not in withheld}
    given: dict[str, str] = {**dotenv, **{key: environ[key] for key in dotenv if key in environ}}
    credentials = _credentials(instance, settings, dotenv, environ)
    values = {name: value for name, (value, _) in credentials.items()}
    own = _identification(instance, backend)
    ports = {f"{name.upper()}_PORT": str(port) for name, port in instance.ports.items()}
    derived = {
        **own,
        **ports,
        **_infra(instance, settings, dotenv, {**values, **own, **ports}),
        "WHATSAPP_ENABLED": str(_whatsapp_enabled(instance, dotenv, environ, whatsapp)).lower(),
        "SERVICE_HOST": service_host,
        "NODE_ENV": environ.get("NODE_ENV") or dotenv.get("NODE_ENV") or "development",
        **_cross_links(instance, service_host),
        **{name: value for name, value in shields.items() if value},
    }
    origins: dict[str, Origin] = {key: "environment" if key in environ else ".env" for key in dotenv}
    origins |= dict.fromkeys(derived, "derived")
    origins |= {name: origin for name, (_, origin) in credentials.items()}
    fixed = derived.keys() - {*catalog.numbered(), "WHATSAPP_ENABLED", "NODE_ENV"}
    ignored = {key: value for key, value in dotenv.items() if key in fixed and value != derived[key]}
    return Variables(
        values={**given, **values, **derived},
        origins=origins,
        ignored={**{key: value for key, value in ignored.items() if key != "AI_INSTANCE_ID"}, **dropped},
        withheld=withheld,
    )


def base_name(name: str, separator: str) -> str:
    """Remove one trailing id from a name, so that computing twice gives the same: `whatsapp_bot_1` → `whatsapp_bot`."""
    return re.sub(rf"{re.escape(separator)}\d+$", "", name) or name


def is_secret(name: str) -> bool:
    """Whether a variable of that name is likely to hold a secret."""
    return bool(re.search(_HIDDEN_NAME, name))


def masked(name: str, value: str) -> str:
    """Return a variable's value as it may be shown, with secrets and passwords within addresses hidden."""
    if value and is_secret(name):
        return MASK
    return re.sub(_URL_LOGIN, rf"\1:{MASK}@", value)


def masked_unless_harmless(name: str, value: str) -> str:
    """Return a value that the user wrote as it may be shown: only what is known to be harmless is."""
    known = name in HARMLESS or (name in catalog.inputs() and name not in catalog.secrets())
    plain = value.lower() in _TRUE | _FALSE or (name.upper().endswith("PORT") and value.isdecimal())
    return value if (known and not is_secret(name)) or plain or re.fullmatch(_OWN_ADDRESS, value) else MASK


def expand(text: str, values: Mapping[str, str], where: str) -> str:
    """Replace `${NAME}` in a configured command or value; `${PYTHON}` is this interpreter.

    Raises:
        ConfigError: a name is not set; names the key of the settings.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name == "PYTHON":
            return sys.executable
        if name not in values:
            raise ConfigError(f"{where}: ${{{name}}} is not set", hint="see: inv env.show")
        return values[name]

    return re.sub(_PLACEHOLDER, replace, text)


def expand_all(words: Sequence[str], values: Mapping[str, str], where: str) -> list[str]:
    return [expand(word, values, where) for word in words]


def _identification(instance: Instance, backend: str) -> dict[str, str]:
    return {
        "AI_INSTANCE_ID": str(instance.id),
        "AI_INSTANCE_ROOT": str(instance.root),
        "COMPOSE_PROJECT_NAME": instance.compose_project,
        "DATA_DIR": str(instance.data_dir),
        "LOG_DIR": str(instance.log_dir),
        "PID_DIR": str(instance.pid_dir),
        **({"ORIENTER_BACKEND": backend} if backend else {}),
    }


def _credentials(
    instance: Instance, settings: Settings, dotenv: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, tuple[str, Origin]]:
    """Return what `.env` and the environment may set of the infrastructure, with where it comes from."""
    found: dict[str, tuple[str, Origin]] = {}
    for entry in map(catalog.entry_of, instance.infra):
        for name, default in entry.defaults.items():
            if environ.get(name):
                found[name] = environ[name], "environment"
            elif dotenv.get(name):
                found[name] = dotenv[name], ".env"
            else:
                found[name] = _filled(default, {}, settings), "settings"
    return found


def _infra(
    instance: Instance, settings: Settings, dotenv: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that the infrastructure's components add."""
    derived: dict[str, str] = {}
    for entry in map(catalog.entry_of, instance.infra):
        for name, (default, separator) in entry.numbered.items():
            base = base_name(dotenv.get(name) or _filled(default, known, settings), separator)
            derived[name] = f"{base}{separator}{instance.id}"
        for name, value in entry.variables.items():
            derived[name] = _filled(value, {**known, **derived}, settings)
    return derived


def _shields(instance: Instance, settings: Settings) -> dict[str, str]:
    """Return what services get in place of variables that could lead clients elsewhere; "": they do not get it."""
    entries = [catalog.entry_of(name) for name in instance.infra]
    inherited = {entry.name for entry in entries if entry.inherit and attrgetter(entry.inherit)(settings)}
    return {name: it for entry in entries if entry.name not in inherited for name, it in entry.shields.items()}


def _filled(template: str, known: Mapping[str, str], settings: Settings) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1]
        value = str(attrgetter(name)(settings)) if "." in name else known[name]
        return quote(value, safe="") if "://" in template else value

    return re.sub(_REFERENCE, replace, template)


def _cross_links(instance: Instance, host: str) -> dict[str, str]:
    links = {}
    if "opencode" in instance.ports:
        url = f"http://{host}:{instance.ports['opencode']}"
        links = {"OPENCODE_URL": url, "OPENCODE_SERVER_URL": url}
    if "whatsapp" in instance.ports:
        # read by Vite's /qr proxy, which shows the main checkout's WhatsApp without it
        links["WHATSAPP_API_PORT"] = str(instance.ports["whatsapp"])
    return links


def _whatsapp_enabled(
    instance: Instance, dotenv: Mapping[str, str], environ: Mapping[str, str], told: bool | None
) -> bool:
    """On in instance 0 only; `.env` can turn it off, the process environment and the command line either way."""
    if told is not None:
        return told
    inherited = environ.get("WHATSAPP_ENABLED")
    if inherited is not None and not _exported_for_another(instance, environ):
        return truth(inherited, "WHATSAPP_ENABLED in the environment")
    written = truth(dotenv.get("WHATSAPP_ENABLED", "true"), "WHATSAPP_ENABLED in .env")
    return instance.id == 0 and written


def _exported_for_another(instance: Instance, environ: Mapping[str, str]) -> bool:
    """Whether the shell still has what `env.export` printed for another id: derived, not chosen."""
    own = str(instance.pid_dir)
    return "AI_INSTANCE_ROOT" in environ and environ.get("PID_DIR", own) != own


def truth(text: str, where: str) -> bool:
    """Parse true or false; ConfigError for anything else."""
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ConfigError(f"{where}: {text!r} is neither true nor false")
