"""A week in the life of four worktrees on both backends, with strangers' look-alikes beside them: see docs/week.md."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests import slot
from tests.integration.checkouts import IMAGES, Checkout
from tests.integration.left import docker_of, processes_of
from tests.integration.small import SmallHost, remember, remembered, wait_for, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = ("dev", "--detach", "--quiet")
pytestmark = [pytest.mark.docker, pytest.mark.embedded]


def docker(*words: str) -> str:
    """Run docker's command."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


class Strangers:
    """What looks like ours and is not: a container, a volume with content, a network, a listener, a directory."""

    def __init__(self, project: str, directory: Path, port: int) -> None:
        self.names = [f"{project}-postgres-11", f"my-{project}-postgres-1"]
        self.volume, self.network = f"{project}-postgres-data-11", f"{project}-network-11"
        self.directory = directory / ".dev-data" / "instance-1" / "postgres"
        self._opened = ExitStack()
        self._opened.callback(subprocess.run, ["docker", "network", "rm", self.network], capture_output=True)
        docker("volume", "create", self.volume)
        self._opened.callback(subprocess.run, ["docker", "volume", "rm", "-f", self.volume], capture_output=True)
        docker("network", "create", self.network)
        self._opened.callback(subprocess.run, ["docker", "rm", "-fv", *self.names], capture_output=True, check=False)
        labels = ["--label", f"com.docker.compose.project={project}-instance-1", "--label", "io.orienter.project=other"]
        image = ["--entrypoint", "sh", f"{IMAGES}/nginx:local", "-c", "echo precious >/x/kept; exec sleep 600"]
        for name in self.names:
            docker("run", "-d", "--name", name, *labels, "-v", f"{self.volume}:/x", *image)
        self.directory.mkdir(parents=True)
        (self.directory / "PG_VERSION").write_text("15\n")
        listener = self._opened.enter_context(socket.create_server(("127.0.0.1", port)))
        self.port: int = listener.getsockname()[1]
        wait_for(lambda: self.content() == "precious", "the stranger's content")

    def content(self) -> str:
        command = ["docker", "exec", self.names[0], "cat", "/x/kept"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def look(self) -> list[str]:
        """Tell all that must stay as it is."""
        containers = docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}} {{.State.Running}}", *self.names)
        volume = docker("volume", "inspect", "-f", "{{.Name}} {{.CreatedAt}}", self.volume)
        network = docker("network", "inspect", "-f", "{{.Id}}", self.network)
        files = [f"{path.name} {path.read_text()} {path.stat().st_mtime_ns}" for path in self.directory.iterdir()]
        return [containers, volume, network, self.content(), *files]

    def go(self) -> None:
        self._opened.close()


class Week:
    """The host, its worktrees, and what is asked again and again."""

    def __init__(self, host: SmallHost) -> None:
        self.host = host
        self.main = host.main

    def worktree(self, name: str, backend: str) -> Checkout:
        """Add a worktree that works on a backend."""
        path = self.host.directory / "trees" / name
        self.host.git("worktree", "add", "-q", "-b", name, str(path))
        made = within(Checkout(path, self.main.environ), {"ORIENTER_BACKEND": backend})
        self.host.checkouts.append(made)
        return made

    def instances(self) -> dict[str, dict[str, Any]]:
        """What `inv instances` says of each."""
        return {one["worktree"]: one for one in self.main.inv("instances", "--json").json["instances"]}

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.instances().items()}

    def findings(self, checkout: Checkout) -> str:
        """What the doctor finds in a checkout, fine things apart, each with its remedy."""
        found = checkout.inv("doctor", "--json", code=None).json["findings"]
        return "\n".join(f"{one['what']} → {one['remedy']}" for one in found if one["level"] != "ok")


@pytest.fixture
def week(tmp_path: Path, clusters: Path) -> Iterator[Week]:
    host = SmallHost(tmp_path / "home", "docker", clusters)
    try:
        yield Week(host)
    finally:
        host.main.inv("cleanup.all", "--yes", code=None)
        host.checkouts = [checkout for checkout in host.checkouts if checkout.path.is_dir()]
        host.clean_up()


def isolated(week: Week) -> bool:
    """Whether the instances that run share nothing."""
    return "nothing in common (3 pairs compared)" in week.main.inv("infra.verify").out


def test_a_week(week: Week) -> None:
    """Monday: four worktrees, each with its own everything."""
    billing, search = week.worktree("billing", "docker"), week.worktree("search", "docker")
    login, export = week.worktree("login", "embedded"), week.worktree("export", "embedded")
    for checkout in (billing, search, login):
        checkout.inv(*START)
        remember(checkout, checkout.path.name)
    strangers = Strangers(week.host.project, week.host.directory / "elsewhere", slot.port())
    try:
        before = strangers.look()
        assert week.states() == {"billing": "running", "search": "running", "login": "running"}
        assert isolated(week)
        moved = tuesday(week, search, login, export)
        wednesday(week, billing, moved, login)
        thursday(moved, export)
        friday(week, {"billing": billing, "search": moved, "export": export})
        week.main.inv("dev.stop", "--all")
        assert set(week.states().values()) == {"stopped"}
        assert strangers.look() == before, "nobody else has noticed anything"
    finally:
        strangers.go()


def tuesday(week: Week, search: Checkout, login: Checkout, export: Checkout) -> Checkout:
    """A start is killed in the middle, one checkout is moved and one deleted while they run; all of it is told."""
    with export.start("dev", "--detach") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "postgres: starting" in line:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    moved = Checkout(search.path.with_name("search moved"), search.environ)
    week.host.git("worktree", "move", str(search.path), str(moved.path))
    week.host.checkouts[week.host.checkouts.index(search)] = moved
    shutil.rmtree(login.path)

    seen = week.instances()
    states = {name: one["state"] for name, one in seen.items()}
    assert states.pop("export") in {"partial", "stopped"}
    assert states == {"billing": "running", "search": "moved", "login": "orphaned"}
    assert seen["search"]["checkout"]["place"] == str(moved.path)
    told = week.main.inv("instances").err
    assert "(login): its checkout is gone" in told
    assert f"→ cd '{moved.path}' && inv env.show" in told

    found = week.findings(week.main)
    assert "→ inv cleanup.weekly" in found
    assert f"→ cd '{moved.path}' && inv env.show" in found
    assert f"my-{week.host.project}" not in found, "a stranger is no finding"
    return moved


def wednesday(week: Week, billing: Checkout, moved: Checkout, login: Checkout) -> None:
    """Daily ends what was left of the deleted one, and touches nothing else."""
    number = week.instances()["login"]["id"]
    planned = week.main.inv("cleanup.daily", "--dry-run", "--json").json
    assert {entry["instance"] for entry in planned["goes"]} == {number}
    assert processes_of(login), "a plan does nothing"
    done = week.main.inv("cleanup.daily", "--yes", "--json").json
    assert done["left"] == []
    assert {entry["instance"] for entry in done["gone"]} == {number}
    assert processes_of(login) == []
    former = Checkout(moved.path.with_name("search"), moved.environ)
    assert len(docker_of(former, "container")) == 3, "of a checkout that was only moved"
    assert remembered(billing) == ["billing"]


def thursday(moved: Checkout, export: Checkout) -> None:
    """The next starts mend what crashed and what was moved."""
    export.inv(*START)
    remember(export, "export")
    assert "was moved while it ran" in moved.inv("dev", "--detach").err
    assert remembered(moved) == ["search"]


def friday(week: Week, checkouts: dict[str, Checkout]) -> None:
    """Weekly removes the data of the deleted one, and gives back its id; all others stay."""
    done = week.main.inv("cleanup.weekly", "--yes", "--json").json
    assert done["left"] == []
    assert [entry["kind"] for entry in done["gone"]] == ["volume", "volume", "claim"]
    assert week.states() == {"billing": "running", "search moved": "running", "export": "running"}
    assert isolated(week)
    assert "cleanup.weekly" not in week.findings(week.main)
    for text, checkout in checkouts.items():
        assert remembered(checkout) == [text]
