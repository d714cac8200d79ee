"""An instance: one checkout's slot. Pure: id and root in; ports, names and directories out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.settings import catalog
from orienter_tasks.settings.model import PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.settings.model import Settings

DEFAULT_PROJECT = "orienter"
PRIVILEGED_NGINX_MOVE = 8000

LABEL_PROJECT = "io.orienter.project"
LABEL_INSTANCE = "io.orienter.instance"
LABEL_ROOT = "io.orienter.root"
LABEL_COMPONENT = "io.orienter.component"
LABEL_TOKEN = "io.orienter.token"  # noqa: S105 - a name, not a secret


class Instance(msgspec.Struct, frozen=True):
    """What belongs to one checkout.

    Attributes:
        id: 0 for the main checkout, else 1 to `instances.max`.
        root: the checkout's real path.
        project: prefix of names, and the value of the project label.
        worktree: the checkout's name for people (its directory's name).
        ports: name (`nginx`, `minio_api`, …) to port number.
        former_roots: where the checkout was before it was moved: what was started there belongs to it.
        token: of the claim.
        hostname: a name that no other instance has, by which nginx answers; "" where none is known.
    """

    id: int
    root: Path
    project: str
    worktree: str
    ports: Mapping[str, int]
    former_roots: tuple[str, ...] = ()
    token: str = ""
    hostname: str = ""

    @property
    def roots(self) -> tuple[str, ...]:
        """Every path with which resources of this checkout may be marked."""
        return (str(self.root), *self.former_roots)

    def container(self, component: str) -> str:
        return f"{self.project}-{component}-{self.id}"

    def volume(self, component: str) -> str:
        """Name the data volume of a component: `postgres-data-1`, for another project `shop-postgres-data-1`."""
        prefix = "" if self.project == DEFAULT_PROJECT else f"{self.project}-"
        return f"{prefix}{component}-data-{self.id}"

    @property
    def network(self) -> str:
        return f"{self.project}-network-{self.id}"

    @property
    def compose_project(self) -> str:
        return f"{self.project}-instance-{self.id}"

    @property
    def infra(self) -> list[str]:
        """Its infrastructure components that have ports: those registered before its id was claimed."""
        return [entry.name for entry in catalog.entries() if entry.ports.keys() <= self.ports.keys()]

    @property
    def lock(self) -> str:
        return lock_name(self.project, self.id)

    @property
    def data_dir(self) -> Path:
        """Where this instance's own files are (mode 0700)."""
        return self.root / ".dev-data" / f"instance-{self.id}"

    @property
    def nginx_dir(self) -> Path:
        """Where nginx's configuration is, which is rendered anew when it is missing."""
        return self.data_dir / "nginx"

    @property
    def log_dir(self) -> Path:
        return self.root / "logs" / f"instance-{self.id}"

    @property
    def pid_dir(self) -> Path:
        """Where the records of native processes are."""
        return self.root / ".dev-pids" / f"instance-{self.id}"

    @property
    def url(self) -> str:
        """The address of the instance's page, through nginx, as every client resolves it."""
        return self._address("localhost")

    @property
    def host_url(self) -> str:
        """The address by the instance's own name, for which a browser keeps cookies apart; `url` where it has none."""
        return self._address(self.hostname or "localhost")

    def _address(self, host: str) -> str:
        port = self.ports["nginx"]
        return f"http://{host}" if port == 80 else f"http://{host}:{port}"  # noqa: PLR2004 - HTTP's own port

    @property
    def labels(self) -> dict[str, str]:
        """What marks a container, volume or network as this instance's."""
        named = {LABEL_PROJECT: self.project, LABEL_INSTANCE: str(self.id), LABEL_ROOT: str(self.root)}
        return {**named, LABEL_TOKEN: self.token} if self.token else named

    def is_marked_by(self, *, project: str, instance: int | str, root: str, token: str = "") -> bool:
        """Whether labels, or marks of a process, are this instance's: by its claim's token, without one by a path."""
        if (project, str(instance)) != (self.project, str(self.id)):
            return False
        return token == self.token if token and self.token else root in self.roots

    def __str__(self) -> str:
        return f"instance {self.id} ({self.worktree})"


def lock_name(project: str, instance_id: int) -> str:
    return f"{project}-{instance_id}"


def port_plan(settings: Settings, instance_id: int, moved: Mapping[str, int] | None = None) -> dict[str, int]:
    """Compute every port of an id: base + id * 1000, except the moved ones."""
    plan = {name: base + instance_id * PORT_STEP for name, base in settings.ports.items()}
    return plan | dict(moved or {})


def make_instance(settings: Settings, instance_id: int, root: Path, moved: Mapping[str, int] | None = None) -> Instance:
    return Instance(
        id=instance_id,
        root=root,
        project=settings.project,
        worktree=root.name or str(root),
        ports=port_plan(settings, instance_id, moved),
        hostname=settings.hostname(instance_id),
    )


def component_of_port(settings: Settings, port_name: str) -> str:
    """Name the component that listens on a port of the plan; "" if none is configured to."""
    service = next((name for name, service in settings.services.items() if service.port == port_name), "")
    return catalog.component_of_port(port_name) or service
