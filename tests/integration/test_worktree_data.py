"""A worktree with main's data, running, and away again: on both backends, with a writer at work."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.identity.claims import Claims
from tests.integration.checkouts import Checkout
from tests.integration.conftest import BACKENDS
from tests.integration.left import docker_of, processes_of
from tests.integration.small import complaint, query, remember, remembered, states, web
from tests.repositories import git

if TYPE_CHECKING:
    from tests.integration.small import MakeHost


@pytest.mark.parametrize("backend", BACKENDS)
def test_from_new_to_rm(make_host: MakeHost, backend: str) -> None:
    host = make_host(backend, worktree={"path": "../trees/{name}"})
    main, path = host.main, host.main.path.parent / "trees" / "one"
    main.inv("infra.up")
    remember(main, "of main")

    assert main.inv("worktree.new", "one", "--data", "main").out == f"{path}\n"
    one = Checkout(path, host.environ)
    assert states(one) == dict.fromkeys(("postgres", "minio", "nginx", "web"), True)
    assert remembered(one) == ["of main"]
    listed = {each["name"]: each for each in one.inv("worktree.list", "--json").json["worktrees"]}
    assert listed["one"]["instance"]["state"] == "running"
    assert listed["one"]["current"]

    told = complaint(main.inv("worktree.rm", "one", code=2))
    assert "this removes the data" in told
    assert "--keep-data" in told
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        with suppress(Exception):  # until its server is gone
            while not stop.is_set():
                query(one, "INSERT INTO kept VALUES ('of one')")
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        said = main.inv("worktree.rm", "one", "--keep-data").err
    finally:
        stop.set()
        writer.join()
    assert "inv data.restore one" in said
    assert not path.exists()
    assert git(main.path, "branch", "--format=%(refname:short)") == "main"
    assert [claim.root for claim in Claims().read()] == [str(main.path)]
    assert not processes_of(one)
    if backend == "docker":
        assert not docker_of(one, "container", "network", "volume")
    assert remembered(main) == ["of main"]
    main.inv("data.restore", "one", "--yes", "--no-backup")
    assert {*remembered(main)} == {"of main", "of one"}

    host.configure(main, services={"web": {**web(), "command": ["false"]}})
    answer = main.inv("worktree.new", "bad", "--data", "one", code=1)
    assert "is removed again" in answer.err
    assert not path.with_name("bad").exists()
    assert git(main.path, "branch", "--format=%(refname:short)") == "main"
    assert [claim.root for claim in Claims().read()] == [str(main.path)]
    bad = Checkout(path.with_name("bad"), host.environ)
    assert not processes_of(bad)
    if backend == "docker":
        assert not docker_of(bad, "container", "network", "volume")
