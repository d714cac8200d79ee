"""The engine: one client, created when first used, and the translation of every error of the SDK."""

from __future__ import annotations

import math
import platform
import threading
import time
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.backends.docker import endpoint as endpoints
from orienter_tasks.backends.docker.patience import SILENT, Patience
from orienter_tasks.backends.docker.reader import Reader, RefusalError
from orienter_tasks.backends.docker.tunnel import Tunnel
from orienter_tasks.errors import BackendError, CheckError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.machine.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker.api.client import APIClient

    from orienter_tasks.backends.docker.endpoint import Endpoint, Reply

REQUEST_SECONDS = 60  # how long a stream may be idle
WORK_SECONDS = 50.0  # what an engine may need to create, start or remove something, while it answers pings
PING_SECONDS = 1.0
CONNECTIONS = 16


_loading = threading.Lock()


def load() -> None:
    """Import the SDK. Two threads that import parts of it at the same time may find some of them half-made."""
    with _loading:
        import_module("docker")


class EngineFacts(msgspec.Struct, frozen=True):
    """What kind of engine it is.

    `product` is Docker, or Podman, which answers the same calls; `operating_system` is the engine's own description,
    such as `Docker Desktop`; `native` means that its containers run on this kernel, not in a virtual machine;
    `rootless` that an ordinary user runs it; `measures` that each container has a control group of its own, whose
    memory and processes the kernel counts; `id` tells engines apart; `directory` is where they keep everything.
    """

    version: str
    operating_system: str
    native: bool
    rootless: bool
    measures: bool = True
    id: str = ""
    directory: str = ""
    product: str = "Docker"

    @property
    def is_apart(self) -> bool:
        """Whether not even its host network is this machine's: rootless Docker's."""
        return self.native and self.rootless and self.product == "Docker"


class Engine:
    """A Docker engine, by default the docker command line's. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self.endpoint = endpoint or endpoints.current()
        self._lock = threading.RLock()
        self._client: APIClient | None = None
        self._reached = False
        self._ping_version = ""
        self._reader = Reader(self._ask)
        self._patience = Patience(self._answers_pings)
        self._tunnel = Tunnel(self.endpoint) if self.endpoint.is_remote else None
        self._at = self.endpoint  # where it answers on this machine
        self.proving = threading.Lock()
        self._work = threading.local()  # seconds that the present call may take

    @property
    def api(self) -> APIClient:
        """The SDK's low-level client, for what changes something; use it within `talking`."""
        with self._lock:
            self._reach()
            if self._client is None:
                with self.talking("be reached"):
                    self._client = self._connect(REQUEST_SECONDS)
            return self._client

    def load_soon(self) -> None:
        """Load the SDK in a thread, meanwhile, for what starts containers."""
        with deferred():
            threading.Thread(target=load, daemon=True).start()

    @property
    def reader(self) -> Reader:
        """For what only looks; use it within `talking`."""
        return self._reader

    @property
    def api_version(self) -> str:
        self._reach()
        return self._ping_version or self.api.api_version

    def why_silent(self) -> str | None:
        """Return None if the engine answers in time, else what was observed."""
        if self._patience.exhausted:
            return SILENT
        begun = time.monotonic()
        seen = self._why_no_way() or self._why_no_ping()
        if seen is not None:
            self._patience.count(begun)
        return seen

    def unseen_backends(self) -> tuple[str, ...]:
        """Return which claims may have something on this engine that cannot be seen now, by their backends.

        A claim without one may have anything, unless nothing is there that could run it.
        """
        seen = self.why_silent()
        if seen is None:
            return ()
        hides = seen in (SILENT, endpoints.TIMED_OUT) or self.endpoint.is_remote
        return ("docker", "") if hides else ("docker",)

    @cached_property
    def facts(self) -> EngineFacts:
        with self.talking("describe itself"):
            info = self.reader.info()
        return facts_of(info, platform.system(), platform.release())

    @property
    def description(self) -> str:
        """Name product, version, whether it is rootless, its system and its address, for people."""
        facts = self.facts
        rootless = ", rootless," if facts.rootless else ""
        return f"{facts.product} {facts.version}{rootless} on {facts.operating_system} at {self.endpoint}"

    @contextmanager
    def talking(self, doing: str, *, work: float = 0.0) -> Iterator[None]:
        """Translate what the SDK and the reader raise; `doing` completes the sentence "Docker cannot …".

        Each call may take the engine `work` seconds more than an answer takes, as long as it answers pings.

        Raises:
            NotFoundError: there is no such object.
            ConflictError: it is in use, or exists already.
            CheckError: the engine refuses for another reason.
            BackendError: the engine does not answer, or the connection broke.
        """
        outer, self._work.seconds = self._work_seconds, work
        try:
            yield
        except OrienterError:
            raise
        except RefusalError as error:
            raise _refused(doing, error.status, error) from error
        except Exception as error:
            from http.client import HTTPException
            from json import JSONDecodeError

            load()
            from docker.errors import APIError, DockerException
            from urllib3.exceptions import HTTPError

            if isinstance(error, APIError):
                raise _refused(doing, error.status_code, error.explanation or error) from error
            # requests raises OSErrors; a truncated answer is not valid JSON
            if isinstance(error, (DockerException, HTTPError, HTTPException, OSError, JSONDecodeError)):
                raise self._away(doing, error) from error
            raise
        finally:
            self._work.seconds = outer

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client, self._reached = None, False
            if self._tunnel is not None:
                self._tunnel.close()

    def _reach(self) -> None:
        """Make sure, once, that the engine answers; on another machine, once for each ssh."""
        with self._lock:
            if self._reached and self._tunnel is not None and not endpoints.listens(self._at):
                self.close()
            if not self._reached:
                seen = self.why_silent()
                if seen is not None:
                    raise self._absent(seen)
                self._reached = True

    def _ask(self, method: str, target: str, timeout: float | None) -> Reply:
        seconds = timeout or REQUEST_SECONDS
        self._reach()
        if self.endpoint.tls:
            api = self.api
            found = api.request(method, f"{api.base_url}/v{api.api_version}{target}", timeout=seconds)
            return endpoints.Reply(found.status_code, dict(found.headers.lower_items()), found.content)
        version = f"/v{self._ping_version}" if self._ping_version else ""
        request = partial(endpoints.ask, self._at, method, version + target, seconds)
        return self._patience.call(request, self._work_seconds)

    def _connect(self, timeout: float) -> APIClient:
        load()
        from docker.api.client import APIClient

        engine = self

        class Client(APIClient):
            """The SDK's client, whose requests share one deadline."""

            def send(self, request: Any, **kwargs: Any) -> Any:
                return engine._patience.call(partial(super().send, request, **kwargs), engine._work_seconds)

        options: dict[str, Any] = {"base_url": self._at.url}
        if self.endpoint.tls and self.endpoint.context:
            from docker.context import ContextAPI

            context = ContextAPI.get_context(self.endpoint.context)
            options = {"base_url": context.Host, "tls": context.TLSConfig}
        elif self.endpoint.tls:
            from docker.utils import kwargs_from_env

            options = dict(kwargs_from_env())
        version = self._ping_version or "auto"
        return Client(**options, version=version, timeout=math.ceil(timeout), max_pool_size=CONNECTIONS)

    @property
    def _work_seconds(self) -> float:
        return float(getattr(self._work, "seconds", 0.0))

    def _answers_pings(self) -> bool:
        return self.endpoint.tls or self._why_no_ping() is None

    def _why_no_way(self) -> str | None:
        if self._tunnel is None:
            return None
        found, seen = self._tunnel.reach()
        self._at = found or self.endpoint
        return None if found is not None else seen

    def _why_no_ping(self) -> str | None:
        if not (self.endpoint.tls and self.endpoint.may_be_here):
            pong = endpoints.ping(self._at, PING_SECONDS)
            self._ping_version = pong.api_version or self._ping_version
            return pong.silence
        try:
            self._connect(PING_SECONDS).close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine does not answer
            return _innermost(error)
        return None

    def _away(self, doing: str, error: Exception) -> BackendError:
        seen = self.why_silent()
        if seen is not None:
            return self._absent(seen)
        return BackendError(f"Docker cannot {doing}: {_innermost(error)}", hint="the engine answers: try again")

    def _absent(self, seen: str) -> BackendError:
        hint = f"{self.endpoint.how_to_reach(seen)}; or use: inv dev --backend embedded"
        return BackendError(f"no Docker engine answers at {self.endpoint}: {seen}", hint=hint)


@lru_cache(maxsize=4)
def _engine_at(endpoint: Endpoint) -> Engine:
    return Engine(endpoint)


def shared() -> Engine:
    """Return this process's engine object for the current endpoint."""
    return _engine_at(endpoints.current())


def answers() -> bool:
    """Whether a usable engine answers in time; cheap, does not load the SDK."""
    return shared().why_silent() is None


def facts_of(info: Mapping[str, Any], system: str, kernel: str) -> EngineFacts:
    """Read the engine's description of itself, beside this machine's system (such as `Linux`) and kernel release."""
    described = str(info.get("OperatingSystem", ""))
    # under WSL 2, Docker Desktop's machine and this one share a kernel
    native = system == "Linux" and info.get("KernelVersion") == kernel and "Docker Desktop" not in described
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    podman = "BuildahVersion" in info
    rootless = "name=rootless" in options or info.get("Rootless") is True  # Podman 4 says only the latter
    directory = str(info.get("DockerRootDir", ""))
    return EngineFacts(
        version=str(info.get("ServerVersion", "")),
        operating_system=described,
        native=native,
        rootless=rootless,
        measures=not (rootless and (info.get("CgroupVersion") == "1" or info.get("CgroupDriver") == "none")),
        id=f"{info.get('Name', '')}:{directory}" if podman else str(info.get("ID", "")),  # Podman's is random each time
        directory=directory,
        product="Podman" if podman else "Docker",
    )


def _refused(doing: str, status: int | None, reason: object) -> OrienterError:
    text = f"Docker cannot {doing}: {' '.join(str(reason).split())}"
    # Podman's inspection of a container that goes meanwhile is a 500
    if status == 404 or text.endswith("no such container"):  # noqa: PLR2004 - HTTP's Not Found
        return NotFoundError(text)
    return ConflictError(text) if status == 409 else CheckError(text)  # noqa: PLR2004 - HTTP's Conflict


def _innermost(error: BaseException) -> str:
    """Return the text of the first cause, which the SDK and requests wrap several times."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
