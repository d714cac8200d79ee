"""What becomes live: checked by the real nginx, swapped, reloaded."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks import nginx
from tests.nginx.lab import (
    HEALTH,
    SMALL,
    Nginx,
    binaries,
    live_files,
    make_site,
    revision_of,
    wait_for_revision,
    write_template,
)
from tests.nginx.upstream import Upstream, get

if TYPE_CHECKING:
    from orienter_tasks.backends.backend import Site

pytestmark = pytest.mark.embedded


def test_render_touches_nothing_that_is_live(server: Nginx) -> None:
    candidate = nginx.render(server.site, server)
    assert candidate == nginx.config_dir(server.site.instance) / "candidate"
    assert sorted(path.name for path in candidate.iterdir()) == ["nginx-local.conf", "nginx.conf"]
    assert live_files(server.site) == {}
    assert server.checks == 0


def test_the_files_are_for_everybody_in_a_directory_for_us(server: Nginx) -> None:
    nginx.apply(server.site, server)
    live = nginx.config_dir(server.site.instance)
    assert live.parent.stat().st_mode & 0o777 == 0o700
    assert live.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in live.iterdir() if path.is_file()} == {0o644}


def test_what_was_accepted_is_not_checked_again(server: Nginx) -> None:
    assert nginx.apply(server.site, server) is True
    assert nginx.apply(server.site, server) is False
    assert (server.checks, server.reloads) == (1, 1)
    assert nginx.apply(server.site, server, force=True) is False
    assert (server.checks, server.reloads) == (2, 2)


def test_another_nginx_is_asked_again(server: Nginx) -> None:
    nginx.apply(server.site, server)
    docker = msgspec.structs.replace(server.site.settings.docker, nginx="nginx:1.22")
    site = replace(server.site, settings=msgspec.structs.replace(server.site.settings, docker=docker))
    assert nginx.apply(site, server) is False
    assert server.checks == 2


def test_a_swap_that_was_cut_short_is_finished(running: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    write_template(running.site, SMALL % "")

    def cut_short(self: Nginx) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Nginx, "reload_nginx", cut_short)
        with pytest.raises(KeyboardInterrupt):
            nginx.apply(running.site, running)
    assert str(revision_of(running.site)).encode() not in live_files(running.site)["nginx-local.conf"]
    nginx.apply(running.site, running)
    assert str(revision_of(running.site)).encode() in live_files(running.site)["nginx-local.conf"]


def test_a_changed_template_answers_without_a_restart(running: Nginx) -> None:
    assert running.process is not None
    pid, before = running.process.pid, revision_of(running.site)
    write_template(running.site, SMALL % "    location = /new { return 200 new; }")
    assert nginx.apply(running.site, running) is True
    assert get(running.site.instance.ports["nginx"], "/new")[2] == b"new"
    assert revision_of(running.site) != before
    assert running.process.poll() is None
    assert running.process.pid == pid


def test_a_template_without_a_revision_is_believed(running: Nginx) -> None:
    write_template(running.site, "server { listen {{ listen }};" + HEALTH % "" + "}")
    assert nginx.apply(running.site, running) is True
    wait_for_revision(running.site, None)


def test_an_open_websocket_does_not_hold_a_reload_up(running: Nginx) -> None:
    ports = running.site.instance.ports
    with (
        Upstream("vite", ports["vite"]).running(),
        closing(socket.create_connection(("127.0.0.1", ports["nginx"]), timeout=10)) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 101"
        write_template(running.site, SMALL % "    location = /new { return 200 new; }")
        nginx.apply(running.site, running)
        assert get(ports["nginx"], "/new")[2] == b"new"


def test_a_template_of_another_name_adds_to_the_shipped_one(tmp_path: Path) -> None:
    site = make_site(tmp_path / "checkout", orienter={"nginx": {"template": "ours.conf.j2"}})
    write_template(
        site,
        '{% extends "nginx-local.conf.j2" %}\n'
        "{% block http %}map $uri $extra { default {{ vite_port }}; }{% endblock %}\n"
        "{% block server %}    location = /extra { return 200 $extra; }{% endblock %}\n",
        "ours.conf.j2",
    )
    for binary in binaries().values():
        server = Nginx(site, binary, tmp_path / "run")
        nginx.apply(site, server)
        with server.running():
            assert get(site.instance.ports["nginx"], "/extra")[2] == str(site.instance.ports["vite"]).encode()
            assert get(site.instance.ports["nginx"], "/api/x")[0] == 502


@pytest.mark.parametrize(
    "name", [b"a b", b"q\"uo'te", b"back\\slash", "ütf-8 ☃".encode(), b"raw-\xff\xfe", b"semi;{}#", b"do$$llar ${x}"]
)
def test_any_directory_will_do(tmp_path: Path, name: bytes) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    site = make_site(directory / "checkout")
    for binary in binaries().values():
        server = Nginx(site, binary, directory / "run")
        nginx.apply(site, server)
        with server.running():
            assert (directory / "run" / "nginx.pid").exists()
            assert (directory / "run" / "client_body").is_dir()


def test_two_at_a_time_do_not_meet(running: Nginx) -> None:
    sites = [make_variant(running.site, name) for name in ("one", "two")]
    failures: list[Exception] = []

    def apply(site: Site) -> None:
        try:
            for _ in range(5):
                nginx.apply(site, running)
        except Exception as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=apply, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert str(revision_of(running.site)).encode() in live_files(running.site)["nginx-local.conf"]


def make_variant(site: Site, name: str) -> Site:
    write_template(site, SMALL % f"    location = /{name} {{ return 200 {name}; }}", f"{name}.conf.j2")
    section = msgspec.structs.replace(site.settings.nginx, template=f"{name}.conf.j2")
    return replace(site, settings=msgspec.structs.replace(site.settings, nginx=section))
