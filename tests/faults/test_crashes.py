"""`inv` is killed with SIGKILL before each of its state changes, and at any moment: the next run finishes or clears."""

from __future__ import annotations

import collections
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.faults.lab import FULL, FaultHost, has, put, say
from tests.integration.checkouts import IMAGES, TEST_IMAGES
from tests.integration.small import kill, pid_of, served, states, wait_for

if TYPE_CHECKING:
    import random

    from tests.faults.lab import MakeFaultHost

START = ("dev", "--detach", "--quiet")
STOP = ("dev.stop",)
POINTS = {"embedded": {"cold": 2, "warm": 2, "stop": 2}, "docker": {"cold": 1, "warm": 1, "stop": 1}}
RANDOM_KILLS = {"embedded": (3, 100), "docker": (1, 20)}
HARMLESS = ("chmod ", "send GET", "send HEAD", "write descriptor")


class Crashes:
    """One instance that is killed again and again, and what must hold after each time."""

    def __init__(self, host: FaultHost, dice: random.Random) -> None:
        self.host = host
        self.dice = dice
        self.checkout = host.main
        self.texts: list[str] = []
        self.reached: collections.Counter[bool] = collections.Counter()

    def write(self) -> None:
        """Write something more."""
        text = f"t{len(self.texts):03}"
        put(self.checkout, text)
        self.texts.append(text)

    def finish(self, what: str) -> None:
        """Let the next run finish the job, or clear it first; in the end nothing may be left but the data."""
        clear = self.dice.random() < 0.5
        say(f"{what}, then {'dev.stop' if clear else 'dev'}")
        if clear:
            self.checkout.inv(*STOP)
            assert self.host.running_of(self.checkout) == []
        self.checkout.inv(*START)
        assert all(states(self.checkout).values())
        has(self.checkout, *self.texts)
        self.checkout.inv(*STOP)
        assert self.host.left_of(self.checkout) == []
        assert len(self.host.claims()) == 1

    def at(self, point: str, words: tuple[str, ...]) -> None:
        """Kill a run at a fault point."""
        code = self.host.kill_at(self.checkout, f"1:{point}", *words)
        self.reached[code == -9] += 1
        self.finish(f"{words[0]} killed at {point!r} ({code})")

    def forget(self) -> None:
        """Begin anew, without data."""
        self.checkout.inv("dev.stop", "--volumes", "--yes")
        for name in (".dev-data", ".dev-pids", "logs"):
            shutil.rmtree(self.checkout.path / name, ignore_errors=True)
        (self.checkout.path / ".env").unlink(missing_ok=True)
        (self.host.state / "claims.json").unlink()
        self.texts.clear()


def is_running(container: str) -> bool:
    """Whether the engine runs a container."""
    command = ["docker", "inspect", "--format", "{{.State.Running}}", container]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip() == "true"


def points_of(trace: list[str]) -> list[str]:
    """Return the names of all state changes of a run, each once."""
    return [name for name in dict.fromkeys(trace) if not name.startswith(HARMLESS)]


def test_killed_before_a_state_change(make_host: MakeFaultHost, backend: str, dice: random.Random) -> None:
    host = make_host(backend)
    crashes = Crashes(host, dice)
    cold = points_of(host.trace(host.main, *START))
    crashes.write()
    stop = points_of(host.trace(host.main, *STOP))
    warm = points_of(host.trace(host.main, *START))
    host.main.inv(*STOP)
    counts = POINTS[backend] if not FULL else {"cold": len(cold), "warm": len(warm), "stop": len(stop)}
    for point in dice.sample(warm, counts["warm"]):
        crashes.at(point, START)
    for point in dice.sample(stop, counts["stop"]):
        host.main.inv(*START)
        crashes.at(point, STOP)
    for point in dice.sample(cold, counts["cold"]):
        crashes.forget()
        crashes.at(point, START)
    say(f"{backend}: {crashes.reached[True]} kills at {counts}")
    assert crashes.reached[True] >= crashes.reached[False] * 4  # a few depend on who comes first


def test_killed_at_any_moment(make_host: MakeFaultHost, backend: str, dice: random.Random) -> None:
    host = make_host(backend)
    crashes = Crashes(host, dice)
    begun = time.monotonic()
    host.main.inv(*START)
    longest = min(time.monotonic() - begun, 3.0)
    crashes.write()
    host.main.inv(*STOP)
    for turn in range(RANDOM_KILLS[backend][FULL]):
        seconds = dice.uniform(0.05, longest)
        words = dice.choice((START, START, ("dev", "--detach", "--fresh"), STOP))
        if words == STOP or dice.random() < 0.3:
            host.main.inv(*START)
        code = host.kill_after(host.main, seconds, *words)
        crashes.finish(f"{turn}: {' '.join(words)} killed after {seconds:.3f} s ({code})")
        if dice.random() < 0.2:
            host.main.inv(*START)
            crashes.write()
            host.main.inv(*STOP)


@pytest.mark.embedded
def test_killed_within_initdb(make_host: MakeFaultHost, dice: random.Random) -> None:
    """The cluster that others are copied from is made once: whoever is killed there leaves a half-made one."""
    host = make_host()
    cache = host.state / "cache"
    cache.unlink()
    cache.mkdir()
    crashes = Crashes(host, dice)
    with host.main.start(*START) as process:
        wait_for(lambda: any(cache.glob(".postgres-*/base/1")), "initdb at work")
        process.kill()
    host.main.inv(*START)
    assert all(states(host.main).values())
    crashes.write()
    crashes.finish("initdb")
    assert len(list(cache.iterdir())) == 1, "only the finished cluster is kept"


@pytest.mark.docker
def test_killed_within_the_first_start_of_a_container(make_host: MakeFaultHost, dice: random.Random) -> None:
    """As by a power cut: both `inv` and the container end while the image makes its database."""
    image = f"{IMAGES}/postgres-initdb:local"
    host = make_host("docker", docker={**TEST_IMAGES, "postgres": image})
    crashes, name = Crashes(host, dice), f"{host.project}-postgres-0"
    for turn in range(20):
        if turn > 0:
            crashes.forget()
        seconds, how = dice.uniform(0.1, 4.0), dice.choice(("kill", "stop"))
        with host.main.start(*START) as process:
            wait_for(lambda: is_running(name), "the container")
            time.sleep(seconds)
            process.kill()
            subprocess.run(["docker", how, name], capture_output=True, check=True)
        crashes.finish(f"{turn}: docker {how} after {seconds:.3f} s")
        host.main.inv(*START)
        crashes.write()
        host.main.inv(*STOP)
        crashes.finish("stopped")


@pytest.mark.embedded
def test_servers_killed_under_running_services(make_host: MakeFaultHost) -> None:
    host = make_host()
    host.main.inv(*START)
    put(host.main, "before")
    service = pid_of(host.main, "web")
    for name in ("postgres", "minio", "minio-front", "nginx"):
        kill(pid_of(host.main, name))
    assert states(host.main) == {"postgres": False, "minio": False, "nginx": False, "web": True}
    host.main.inv(*START)
    assert pid_of(host.main, "web") == service, "what runs is left running"
    has(host.main, "before")


@pytest.mark.docker
def test_containers_killed_as_by_a_restarted_engine(make_host: MakeFaultHost) -> None:
    """The engine starts none of them again (`restart: no`): after its restart all of them stand still."""
    host = make_host("docker")
    host.main.inv(*START)
    put(host.main, "before")
    names = [f"{host.project}-{name}-0" for name in ("postgres", "minio", "nginx")]
    subprocess.run(["docker", "kill", *names], capture_output=True, check=True)
    assert states(host.main) == {"postgres": False, "minio": False, "nginx": False, "web": True}
    host.main.inv(*START)
    has(host.main, "before")
    subprocess.run(["docker", "rm", "-f", names[0]], capture_output=True, check=True)
    host.main.inv(*START)
    has(host.main, "before")
    subprocess.run(["docker", "kill", *names], capture_output=True, check=True)
    host.main.inv(*STOP)
    assert host.left_of(host.main) == []


@pytest.mark.embedded
def test_a_paused_command_holds_nobody_up_for_good(make_host: MakeFaultHost) -> None:
    """A closed lid: everything stands still for a while, and goes on."""
    host = make_host()
    host.main.inv(*START)
    put(host.main, "before")
    pids = [pid_of(host.main, name) for name in ("postgres", "minio", "minio-front", "nginx", "web")]
    for pid in (*pids, own := served(host.main, "web")):
        psutil.Process(pid).suspend()
    time.sleep(1.0)
    for pid in (*pids, own):
        psutil.Process(pid).resume()
    assert all(states(host.main).values())
    has(host.main, "before")
    assert [pid_of(host.main, name) for name in ("postgres", "web")] == [pids[0], pids[-1]]
