"""What becomes live: checked by the real nginx, swapped, reloaded."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.backends import templates
from orienter_tasks.backends.nginx import configuration as nginx, notices
from tests.backends.nginx.lab import (
    HEALTH,
    SMALL,
    Nginx,
    binaries,
    live_files,
    on_free_ports,
    revision_of,
    wait_for_revision,
    write_template,
)
from tests.backends.nginx.upstream import Upstream, get

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig

pytestmark = pytest.mark.embedded


def test_a_check_touches_nothing_that_is_live(server: Nginx) -> None:
    candidate = nginx.check(server.config, server)
    assert candidate == server.config.instance.nginx_dir / "candidate"
    assert sorted(path.name for path in candidate.iterdir()) == ["nginx-local.conf", "nginx.conf"]
    assert live_files(server.config) == {}
    assert (server.checks, server.reloads) == (1, 0)


def test_the_files_are_for_everybody_in_a_directory_for_us(server: Nginx) -> None:
    nginx.apply(server.config, server)
    live = server.config.instance.nginx_dir
    assert live.parent.stat().st_mode & 0o777 == 0o700
    assert live.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in live.iterdir() if path.is_file()} == {0o644}


def test_what_was_accepted_is_not_checked_again(server: Nginx) -> None:
    assert nginx.apply(server.config, server) is True
    assert nginx.apply(server.config, server) is False
    assert (server.checks, server.reloads) == (1, 1)
    assert nginx.apply(server.config, server, force=True) is False
    assert (server.checks, server.reloads) == (2, 2)


def test_only_what_may_have_changed_is_rendered_again(server: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    config, live = server.config, server.config.instance.nginx_dir / "nginx-local.conf"
    included = '{% include "always.j2" %}{% include "sometimes.j2" ignore missing %}'
    write_template(config, SMALL % included)
    write_template(config, "# one\n", "always.j2")
    assert nginx.apply(config, server) is True
    with monkeypatch.context() as patched:
        patched.delattr(templates, "render")
        assert nginx.apply(config, server) is False
    for word, name in (("# two", "always.j2"), ("# three", "sometimes.j2"), ("# four", config.settings.nginx.template)):
        write_template(config, SMALL % word if word == "# four" else f"{word}\n", name)
        assert nginx.apply(config, server) is True
        assert word in live.read_text(encoding="utf-8")
    live.write_text("", encoding="utf-8")
    assert nginx.apply(config, server) is True
    assert "# four" in live.read_text(encoding="utf-8")


def test_another_nginx_is_asked_again(server: Nginx) -> None:
    nginx.apply(server.config, server)
    docker = replace(server.config.settings.docker, nginx="nginx:1.22")
    config = replace(server.config, settings=replace(server.config.settings, docker=docker))
    assert nginx.apply(config, server) is False
    assert server.checks == 2


def test_a_swap_that_was_cut_short_is_finished(running: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    write_template(running.config, SMALL % "")

    def cut_short(self: Nginx) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Nginx, "reload_nginx", cut_short)
        with pytest.raises(KeyboardInterrupt):
            nginx.apply(running.config, running)
    assert str(revision_of(running.config)).encode() not in live_files(running.config)["nginx-local.conf"]
    nginx.apply(running.config, running)
    assert str(revision_of(running.config)).encode() in live_files(running.config)["nginx-local.conf"]


def test_a_changed_template_answers_without_a_restart(running: Nginx) -> None:
    assert running.process is not None
    pid, before = running.process.pid, revision_of(running.config)
    write_template(running.config, SMALL % "    location = /new { return 200 new; }")
    assert nginx.apply(running.config, running) is True
    assert get(running.config.instance.ports["nginx"], "/new")[2] == b"new"
    assert revision_of(running.config) != before
    assert running.process.poll() is None
    assert running.process.pid == pid


def test_a_template_without_a_revision_is_believed(running: Nginx) -> None:
    write_template(running.config, "server { listen {{ listen }};" + HEALTH % "" + "}")
    assert nginx.apply(running.config, running) is True
    wait_for_revision(running.config, None)


def test_an_open_websocket_does_not_hold_a_reload_up(running: Nginx) -> None:
    ports = running.config.instance.ports
    with (
        Upstream("vite", ports["vite"]).running(),
        closing(socket.create_connection(("127.0.0.1", ports["nginx"]), timeout=10)) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 101"
        write_template(running.config, SMALL % "    location = /new { return 200 new; }")
        nginx.apply(running.config, running)
        assert get(ports["nginx"], "/new")[2] == b"new"


def test_a_template_of_another_name_adds_to_the_shipped_one(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path / "checkout", nginx={"template": "ours.conf.j2"})
    write_template(
        config,
        '{% extends "nginx-local.conf.j2" %}\n'
        "{% block http %}map $uri $extra { default {{ vite_port }}; }{% endblock %}\n"
        "{% block server %}    location = /extra { return 200 $extra; }{% endblock %}\n",
        "ours.conf.j2",
    )
    for binary in binaries().values():
        server = Nginx(config, binary, tmp_path / "run")
        nginx.apply(config, server)
        with server.running():
            assert get(config.instance.ports["nginx"], "/extra")[2] == str(config.instance.ports["vite"]).encode()
            assert get(config.instance.ports["nginx"], "/api/x")[0] == 502


@pytest.mark.parametrize(
    "name", [b"a b", b"q\"uo'te", b"back\\slash", "ütf-8 ☃".encode(), b"raw-\xff\xfe", b"semi;{}#", b"do$$llar ${x}"]
)
def test_any_directory_will_do(tmp_path: Path, name: bytes) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    config = on_free_ports(directory / "checkout")
    for binary in binaries().values():
        server = Nginx(config, binary, directory / "run")
        nginx.apply(config, server)
        with server.running():
            assert (directory / "run" / "nginx.pid").exists()
            assert (directory / "run" / "client_body").is_dir()
            notices.show(config, {"dashboard": "it crashed"})
            assert b": it crashed\n" in get(config.instance.ports["nginx"], "/api/x")[2]


def test_two_at_a_time_do_not_meet(running: Nginx) -> None:
    configs = [make_variant(running.config, name) for name in ("one", "two")]
    failures: list[Exception] = []

    def apply(config: InstanceConfig) -> None:
        try:
            for _ in range(5):
                nginx.apply(config, running)
        except Exception as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=apply, args=(config,)) for config in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert str(revision_of(running.config)).encode() in live_files(running.config)["nginx-local.conf"]


def make_variant(config: InstanceConfig, name: str) -> InstanceConfig:
    write_template(config, SMALL % f"    location = /{name} {{ return 200 {name}; }}", f"{name}.conf.j2")
    section = replace(config.settings.nginx, template=f"{name}.conf.j2")
    return replace(config, settings=replace(config.settings, nginx=section))
