"""Settings that no longer fit what runs: it is still seen and stopped; only starts are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.left import nothing_left
from tests.integration.small import BASES, complaint, remember, remembered, states

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]
CLAIMS = (("instances",), ("infra.verify",))  # of all checkouts, by their claims alone
LOOKS = (
    *CLAIMS,
    ("dev.status",),
    ("dev.logs", "--lines", "1"),
    ("infra.status",),
    ("infra.logs", "--lines", "1"),
    ("infra.stats",),
    ("services.status",),
    ("env.show",),
    ("--dry", "dev.stop"),
)


def states_of(checkout: Checkout) -> dict[str, bool]:
    """Return which components there are, and which of them run; also where nothing does."""
    parts = checkout.inv("dev.status", "--json", code=None).json["components"]
    return {part["name"]: part["running"] for part in parts}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_runs_is_seen_and_stopped(make_host: MakeHost, backend: str) -> None:
    host = make_host(backend)
    tree = host.worktree(host.directory / "elsewhere" / "tree")
    tree.inv("dev", "--detach", "--quiet")
    remember(tree, "kept")
    ports = tree.inv("dev.status", "--json").json["ports"]
    number = int(tree.variables["AI_INSTANCE_ID"])

    def seen(said: str, code: int) -> None:
        for words in LOOKS:
            answer = tree.inv(*words)
            assert words in CLAIMS or said in answer.err, str(answer)
        assert states(tree) == {"postgres": True, "minio": True, "nginx": True, "web": True}
        assert tree.inv("dev.status", "--json").json["ports"] == ports
        doctor = tree.inv("doctor", code=1)
        assert said in doctor.out
        assert doctor.out.count(said) == 1, doctor.out
        for words in (("dev", "--detach"), ("services.restart",), ("--dry", "infra.up")):
            assert said in complaint(tree.inv(*words, code=code))
        assert states(tree) == {"postgres": True, "minio": True, "nginx": True, "web": True}

    host.main.inv("env.show")  # instance 0 has the bases
    host.configure(tree, ports={name: base - 1000 * number for name, base in BASES.items()})
    seen(f"the ports of instance {number}", 4)
    host.configure(tree, instances={"max": 0})
    seen("instances.max is 0", 2)
    dotenv = tree.path / ".env"
    dotenv.write_text(f"{dotenv.read_text()}\nAI_INSTANCE_ID={number}\n")
    seen("is not an instance id", 2)

    tree.inv("services.stop")
    tree.inv("infra.down")
    assert True not in states_of(tree).values()
    host.rewrite(tree, json.dumps({"orienter": host.settings}))
    nothing_left([tree])
    tree.inv("infra.up")
    assert remembered(tree) == ["kept"]


@pytest.mark.embedded
def test_what_runs_is_seen_and_stopped_with_wrong_settings(make_host: MakeHost) -> None:
    host = make_host("embedded")
    main = host.main
    main.inv("dev", "--detach", "--quiet")
    remember(main, "kept")
    right = json.dumps({"orienter": host.settings})
    host.rewrite(main, json.dumps({"orienter": {**host.settings, "services": {"web": {"comand": ["x"]}}}}))
    wrong, looks = "did you mean 'command'?", [words for words in LOOKS if words[0] not in ("env.show", "infra.verify")]
    for words in looks:
        answer = main.inv(*words)
        assert wrong in answer.err or words in CLAIMS, str(answer)
    assert states_of(main) == {"postgres": True, "minio": True, "nginx": True, "web": True}
    for words in (("dev", "--detach"), ("dev.restart",), ("dev.stop", "--volumes", "--yes")):
        assert wrong in complaint(main.inv(*words, code=2))
    assert states_of(main)["postgres"]
    main.inv("dev.stop")
    assert True not in states_of(main).values()
    host.rewrite(main, right)
    nothing_left([main])
    main.inv("infra.up")
    assert remembered(main) == ["kept"]
