"""Whose rows and objects a checkout sees, on both backends, whatever git and the user do with checkouts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import slot
from tests.integration.checkouts import Checkout
from tests.integration.engine_proxy import MuteEngine
from tests.integration.left import nothing_left
from tests.integration.small import complaint, forget_address, remember, remembered, states, within
from tests.repositories import git

if TYPE_CHECKING:
    from tests.integration.checkouts import Answer
    from tests.integration.small import MakeHost, SmallHost

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]
BACKEND = "ORIENTER_BACKEND"
both = pytest.mark.parametrize("backend", BACKENDS)


@dataclass(frozen=True)
class Scene:
    """A host, and a linked worktree of it that has a row and is stopped."""

    host: SmallHost
    first: Checkout
    number: str


@pytest.fixture
def scene(make_host: MakeHost, backend: str) -> Scene:
    host = make_host(backend)
    first = host.worktree(host.directory / "elsewhere" / "first")
    first.inv("infra.up")
    remember(first, "kept")
    first.inv("infra.down")
    return Scene(host, first, first.variables["AI_INSTANCE_ID"])


def claims_file() -> Path:
    return Path(os.environ["ORIENTER_STATE_DIR"]) / "claims.json"


def up(checkout: Checkout) -> Answer:
    forget_address(checkout)
    return checkout.inv("infra.up")


def again(scene: Scene, *, remove: bool = True) -> Checkout:
    """Make another worktree where the first one was."""
    path, host = scene.first.path, scene.host
    if remove:
        host.git("worktree", "remove", "--force", str(path))
    host.git("worktree", "add", "--quiet", "-b", "again", str(path))
    return Checkout(path, scene.first.environ)


def moved(scene: Scene, path: Path) -> Checkout:
    scene.host.git("worktree", "move", str(scene.first.path), str(path))
    checkout = Checkout(path, scene.first.environ)
    scene.host.checkouts.append(checkout)
    return checkout


@both
def test_a_new_worktree_at_an_old_path(scene: Scene, backend: str) -> None:
    former = scene.first.variables["POSTGRES_PASSWORD"]
    second = again(scene)
    answer = up(second)
    assert remembered(second) == []
    same_id = second.variables["AI_INSTANCE_ID"] == scene.number
    assert same_id is (backend == "embedded")  # volumes of Docker are named by id, the others by token
    assert "a checkout that is gone" in answer.err
    assert f"inv data.adopt {scene.number}" in answer.err

    refused = second.inv("data.adopt", scene.number, code=4)
    assert "has data of its own" in refused.err
    second.inv("dev.stop", "--volumes", "--yes")
    second.inv("data.adopt", scene.number)
    up(second)
    assert (second.variables["AI_INSTANCE_ID"], remembered(second)) == (scene.number, ["kept"])
    assert second.variables["POSTGRES_PASSWORD"] != former
    listed = second.inv("instances", "--json").json["instances"]
    assert [str(each["id"]) for each in listed if each["root"] == str(second.path)] == [scene.number]


@both
def test_a_new_worktree_where_one_was_moved_away(scene: Scene) -> None:
    old = moved(scene, scene.first.path.with_name("old"))
    new = again(scene, remove=False)
    up(new)
    assert remembered(new) == []
    new.inv("dev.stop", "--volumes", "--yes")
    up(old)
    assert (old.variables["AI_INSTANCE_ID"], remembered(old)) == (scene.number, ["kept"])


@both
def test_a_copy(scene: Scene) -> None:
    copy = Checkout(scene.first.path.with_name("copy"), scene.first.environ)
    shutil.copytree(scene.first.path, copy.path, symlinks=True)
    scene.host.checkouts.append(copy)
    up(copy)
    assert remembered(copy) == []
    up(scene.first)
    assert remembered(scene.first) == ["kept"]


@both
@pytest.mark.parametrize("cleaned", [False, True])
def test_lost_claims(scene: Scene, backend: str, *, cleaned: bool) -> None:
    other = scene.host.worktree(scene.host.directory / "elsewhere" / "other")
    (other.path / ".env").write_text(f"AI_INSTANCE_ID={scene.number}\n")
    claims_file().unlink()
    if cleaned:
        git(scene.first.path, "clean", "-fdxq")
    if backend == "docker":
        refused = other.inv("infra.up", code=4)
        assert "needs names that something else has" in refused.err
        (other.path / ".env").unlink()
        claims_file().unlink()
    up(scene.first)
    assert (scene.first.variables["AI_INSTANCE_ID"], remembered(scene.first)) == (scene.number, ["kept"])


@both
@pytest.mark.parametrize("then", ["stop", "start", "clean up"])
def test_claims_that_are_lost_while_everything_runs(make_host: MakeHost, backend: str, then: str) -> None:
    host = make_host(backend)
    main = Checkout(host.main.path, {name: text for name, text in host.main.environ.items() if name != BACKEND})
    host.main.inv("dev", "--detach")
    remember(main, "kept")
    claims_file().unlink()
    main.inv("env.show")  # an id is claimed again, and nothing says which backend it has
    assert set(states(main).values()) == {True}
    (listed,) = main.inv("instances", "--json").json["instances"]
    assert listed["state"] == "running"
    if then == "stop":
        main.inv("dev.stop")
        nothing_left([host.main])
    elif then == "start":
        other = "embedded" if backend == "docker" else "docker"
        assert f"has data on the {backend} backend" in main.inv("infra.up", "--backend", other, code=4).err
        claims_file().unlink()
    else:
        main.inv("cleanup.instance", "0", "--yes")
        nothing_left([host.main])
        return
    main.inv("infra.up")
    assert remembered(main) == ["kept"]


@pytest.mark.docker
def test_lost_claims_and_an_engine_that_hangs(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host("docker")
    host.main.inv("infra.up")
    claims_file().unlink()
    host.main.inv("env.show")
    with MuteEngine(tmp_path / "mute", 0):
        shell = within(host.main, {"DOCKER_HOST": f"unix://{tmp_path / 'mute'}"})
        shell.inv("dev.stop", code=5)
        found = shell.inv("dev.status", "--json")
        assert (found.json["state"], len(found.json["unseen"])) == ("unknown", 1)
        (listed,) = shell.inv("instances", "--json").json["instances"]
        assert listed["state"] == "unknown"
        claims = claims_file().read_text()
        shell.inv("cleanup.instance", "0", "--yes", code=None)
        assert claims_file().read_text() == claims
    assert states(host.main) == {"postgres": True, "minio": True, "nginx": True}


@both
@pytest.mark.parametrize("lost", [False, True])
def test_two_projects_in_one_repository(make_host: MakeHost, backend: str, *, lost: bool) -> None:
    host = make_host(backend)
    first, second = (Checkout(host.main.path / name, host.main.environ) for name in ("a", "b"))
    for checkout, thousand in ((first, 13), (second, 23)):
        checkout.path.mkdir()
        shutil.copy(host.main.path / "tasks.py", checkout.path)
        changes = {"project": f"{host.project}-{checkout.path.name}", "ports": slot.bases(thousand=thousand)}
        host.rewrite(checkout, json.dumps({"orienter": {**host.settings, **changes}}))
    try:
        second.inv("env.show")  # that it was looked at does not matter
        first.inv("dev", "--detach")
        remember(first, "kept")
        if lost:
            claims_file().unlink()
        commands = [("dev", "--detach"), ("dev.stop", "--volumes", "--yes"), ("dev.status",), ("nginx.render",)]
        for words in commands:
            refusal = complaint(second.inv(*words, code=4))
            assert f"instance 0 of {host.project}-a, another project" in refusal
        assert set(states(first).values()) == {True}
        assert remembered(first) == ["kept"]
        other = within(second, {"AI_INSTANCE_ID": "1"})
        other.inv("dev", "--detach")
        assert remembered(other) == []
        other.inv("dev.stop", "--volumes", "--yes")
        assert set(states(first).values()) == {True}
        assert remembered(first) == ["kept"]
    finally:
        first.inv("dev.stop", "--volumes", "--yes")
        shutil.rmtree(host.main.path / ".dev-data")


@pytest.mark.docker
@pytest.mark.parametrize("backend", ["docker"])
def test_another_engine_is_not_taken_silently(scene: Scene) -> None:
    """It has none of the volumes, so a start there would begin without data; their labels say whose they are."""
    claims = json.loads(claims_file().read_text())["claims"]
    (token,) = [claim["token"] for claim in claims if claim["root"] == str(scene.first.path)]
    volumes = [f"{scene.host.project}-{name}-data-{scene.number}" for name in ("postgres", "minio")]
    command = ["docker", "volume", "inspect", "--format", "{{json .Labels}}", *volumes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {json.loads(line)["io.orienter.token"] for line in done.stdout.splitlines()} == {token}
    (mark,) = claims_file().parent.glob("volumes/*/*/engine.json")
    written = json.loads(mark.read_text())
    mark.write_text(json.dumps({**written, "id": "that one"}))
    up(scene.first)  # its volumes are here, whatever the file says
    assert remembered(scene.first) == ["kept"]
    assert json.loads(mark.read_text()) == written
    scene.first.inv("infra.down")
    subprocess.run(["docker", "volume", "rm", *volumes], capture_output=True, check=True)
    mark.write_text(json.dumps({**written, "id": "that one"}))
    for words in (("infra.up",), ("dev.stop",)):
        assert "has its data on another Docker engine" in complaint(scene.first.inv(*words, code=4))
    silent = scene.first.inv("infra.up", code=5, DOCKER_HOST="unix:///nowhere")
    assert f"its data is on {written['endpoint']}" in complaint(silent)
    seen = scene.first.inv("dev.status", "--json").json
    assert seen["state"] == "unknown"
    assert "it is on another Docker engine" in seen["unseen"][0]
    scene.first.inv("cleanup.instance", scene.number, "--yes")
    assert not mark.exists()
    up(scene.first)
    assert remembered(scene.first) == []
