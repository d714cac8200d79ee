"""The embedded servers' data: outside the checkout, its checkout's by token, and used by one server at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.checkouts import INV, Answer, Checkout
from tests.integration.left import processes_of
from tests.integration.small import forget_address, remember, remembered
from tests.repositories import git

if TYPE_CHECKING:
    from tests.integration.small import MakeHost, SmallHost

pytestmark = pytest.mark.embedded

CLEANUP = Path(__file__).parents[2] / "docs" / "cleanup.md"
APART = ("unshare", "--net", "--pid", "--ipc", "--mount", "--fork", "--mount-proc")


@pytest.fixture
def host(make_host: MakeHost) -> SmallHost:
    """A host whose main checkout has a row and an object, and runs."""
    made = make_host("embedded")
    made.main.inv("infra.up")
    remember(made.main, "kept")
    return made


def volumes(checkout: Checkout) -> list[Path]:
    """The places of a checkout's volumes."""
    claims = json.loads((Path(os.environ["ORIENTER_STATE_DIR"]) / "claims.json").read_text())["claims"]
    (mine,) = [claim for claim in claims if claim["root"] == str(checkout.path)]
    home = Path(os.environ["ORIENTER_STATE_DIR"]) / "volumes" / mine["project"] / mine["token"]
    return sorted(path for path in home.iterdir() if path.is_dir())


def apart(checkout: Checkout, *words: str, **env: str) -> Answer:
    """Run `inv` in namespaces of its own, as in a container that mounts the checkout."""
    done = subprocess.run(
        [*APART, str(INV), *words],
        cwd=checkout.path,
        env={**checkout.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def again(checkout: Checkout) -> list[str]:
    """Start a checkout's servers, and say what they remember."""
    forget_address(checkout)
    checkout.inv("infra.up")
    return remembered(checkout)


def test_git_clean_deletes_no_data(host: SmallHost) -> None:
    host.main.inv("dev.stop")
    git(host.main.path, "clean", "-fdxq")  # with `.env`, and so the passwords
    assert again(host.main) == ["kept"]


def test_git_clean_while_it_runs(host: SmallHost) -> None:
    """The servers that ran are ended before others start on their data."""
    git(host.main.path, "clean", "-fdxq")  # with `.env`, and so the passwords
    assert again(host.main) == ["kept"]
    status = host.main.inv("dev.status", "--json").json
    assert {part["name"] for part in status["components"] if part["state"] == "running"} >= {"postgres", "minio"}
    assert host.main.inv("infra.verify").code == 0


def test_a_volume_says_whose_it_is(host: SmallHost) -> None:
    names = [path.name for path in volumes(host.main)]
    assert names == [f"{host.project}-minio-data-0", f"{host.project}-postgres-data-0"]
    for path, component in zip(volumes(host.main), ("minio", "postgres"), strict=True):
        labels = json.loads((path / "labels.json").read_text())["labels"]
        assert labels == {
            "io.orienter.project": host.project,
            "io.orienter.instance": "0",
            "io.orienter.root": str(host.main.path),
            "io.orienter.component": component,
            "io.orienter.token": path.parent.name,
        }
        assert path.stat().st_mode & 0o077 == 0
    assert not (host.main.path / ".dev-data" / "instance-0" / "postgres").exists()


@pytest.mark.root
def test_a_container_beside_its_host(host: SmallHost, tmp_path: Path) -> None:
    """Nothing of the running instance is seen from there but its files, and its locks."""
    another_home = {"ORIENTER_STATE_DIR": str(tmp_path / "state")}
    for words in ("dev --detach", "infra.up", "infra.down", "dev.stop --volumes --yes"):
        for env in ({}, another_home):
            answer = apart(host.main, *words.split(), **env)
            assert answer.code == 4, str(answer)
            assert "runs already, where it cannot be seen from here: pid" in answer.err
            assert "another container or sandbox" in answer.err
            assert remembered(host.main) == ["kept"]
    host.main.inv("dev.stop")
    assert again(host.main) == ["kept"]


@pytest.mark.root
def test_what_a_container_says_of_its_host(host: SmallHost) -> None:
    status = apart(host.main, "dev.status", "--json")
    document = json.loads(status.out)
    assert document["state"] == "unknown"
    assert {part["state"] for part in document["components"]} == {"unknown"}
    assert "another container or sandbox" in apart(host.main, "dev.status").out
    (listed,) = json.loads(apart(host.main, "instances", "--json").out)["instances"]
    assert listed["state"] == "unknown"


@pytest.mark.root
def test_a_container_alone(host: SmallHost) -> None:
    """Once the host has stopped, a container may use the data, and the host again after it."""
    host.main.inv("dev.stop")
    answer = apart(host.main, "infra.up", "--timeout", "5")  # its loopback interface is down
    assert "cannot be seen" not in answer.err, str(answer)
    assert again(host.main) == ["kept"]


def test_data_of_the_version_before_is_moved(host: SmallHost) -> None:
    host.main.inv("dev.stop")
    data = host.main.path / ".dev-data" / "instance-0"
    for path, component in zip(volumes(host.main), ("minio", "postgres"), strict=True):
        (path / "data").rename(data / component)
        shutil.rmtree(path)
    answer = host.main.inv("infra.up")
    assert f"the data of postgres moves out of the checkout: from {data / 'postgres'} to " in answer.err, str(answer)
    assert remembered(host.main) == ["kept"]
    assert not (data / "postgres").exists()
    assert not (data / "minio").exists()


def test_what_a_removed_worktree_left_goes_with_the_weekly_cleanup(host: SmallHost) -> None:
    tree = host.worktree(host.directory / "elsewhere" / "tree")
    tree.inv("infra.up")
    remember(tree, "parked")
    tree.inv("dev.stop")
    (left, *_) = volumes(tree)
    git(host.main.path, "worktree", "remove", "--force", str(tree.path))
    git(host.main.path, "worktree", "add", "--quiet", "-b", "again", str(tree.path))
    new = Checkout(tree.path, tree.environ)
    assert "inv data.adopt" in new.inv("infra.up").err
    remember(new, "living")

    plan = host.main.inv("cleanup.weekly", "--dry-run", "--json").json
    going = [each["name"] for each in plan["goes"] if each["kind"] == "volume"]
    assert left.name in going
    host.main.inv("cleanup.weekly", "--yes")
    assert not left.parent.exists()
    assert remembered(new) == ["living"]


def test_removed_data_leaves_nothing(host: SmallHost) -> None:
    places = volumes(host.main)
    host.main.inv("dev.stop", "--volumes", "--yes")
    assert not places[0].parent.exists()
    assert again(host.main) == []


def test_everything_can_be_removed(host: SmallHost, tmp_path: Path) -> None:
    """As docs/cleanup.md says; in a home directory of its own."""
    home = tmp_path / "home"
    home.mkdir()
    left_out = ("ORIENTER_STATE_DIR", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
    environ = {name: text for name, text in host.main.environ.items() if name not in left_out}
    host.main.inv("cleanup.all", "--yes")
    git(host.main.path, "clean", "-fdxq")
    shutil.rmtree(host.main.path / ".git" / "orienter")
    before = sorted(host.main.path.rglob("*"))
    main = Checkout(host.main.path, {**environ, "HOME": str(home)})

    main.inv("infra.up")
    assert list(home.glob(".local/share/orienter/volumes/*/*/*postgres*"))
    main.inv("data.snapshot", "kept")
    stays = main.inv("cleanup.instance", "0", "--dry-run")
    assert "1 snapshot: add --snapshots to remove snapshots too" in stays.out
    (of_checkout, of_project) = [
        words.split("`")[1::2] for words in CLEANUP.read_text().split("To remove everything of ")[1:]
    ]
    main.inv(*(word.replace("ID", "0") for word in of_checkout[0].split()[1:]), "--yes")
    assert not list(home.glob(".local/share/orienter/snapshots/*/*"))
    subprocess.run(["bash", "-c", of_checkout[1]], cwd=main.path, check=True)
    assert sorted(host.main.path.rglob("*")) == before
    assert not git(main.path, "status", "--porcelain")
    assert processes_of(main) == []
    main.inv(*of_project[0].split()[1:], "--yes")
    subprocess.run(["bash", "-c", of_project[1]], env={"HOME": str(home)}, check=True)
    assert [path for path in home.rglob("*") if not path.is_dir()] == []


@pytest.mark.root
def test_a_cleanup_leaves_what_a_container_uses(host: SmallHost) -> None:
    answer = apart(host.main, "cleanup.instance", "0", "--yes")
    assert answer.code in (1, 4), str(answer)
    assert "is in use by pid" in answer.err + answer.out
    assert remembered(host.main) == ["kept"]
