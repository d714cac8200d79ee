"""nginx's configuration: rendered, checked by the real nginx, swapped, reloaded, and rolled back when it must be."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks import nginx, nginx_health
from orienter_tasks.backends.backend import NginxFacts, Site
from orienter_tasks.errors import BackendError, CheckError, NotFoundError
from orienter_tasks.stack.component import NotReadyError
from tests.nginx_lab import Nginx, Upstream, binaries, free_ports, get, make_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeInstance

FACTS = NginxFacts("127.0.0.1:3080", "127.0.0.1", "/run/nginx", "", "")
HEALTH = """
    location = /health {
        return 200 '{"project":"{{ project }}","instance":{{ instance_id }},"token":"{{ token }}"%s}';
    }
"""
SMALL = "server {\n    listen {{ listen }};\n%s" + HEALTH % ',"revision":"{{ revision }}"' + "}\n"


def write_template(site: Site, content: str, name: str = "nginx-local.conf.j2") -> Path:
    path = site.instance.root / "templates" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def live_files(site: Site) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in nginx.config_dir(site.instance).iterdir() if path.is_file()}


def revision_of(site: Site) -> object:
    return nginx.probe(site).get("revision")


def wait_for_revision(site: Site, revision: object) -> None:
    for _ in range(200):
        try:
            if revision_of(site) == revision:
                return
        except NotReadyError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"revision {revision} never came back")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "checkout")


@pytest.fixture(params=binaries())
def server(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Nginx:
    return Nginx(site, binaries()[request.param], tmp_path / "run")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx_health, "RELOAD_SECONDS", 0.5)


@pytest.fixture
def running(server: Nginx, impatient: None) -> Iterator[Nginx]:
    nginx.apply(server.site, server)
    with server.running():
        yield server


# what is rendered


def test_a_token_belongs_to_a_root_and_an_id(make_instance: MakeInstance, tmp_path: Path) -> None:
    instances = [make_instance(1), make_instance(2), make_instance(1, tmp_path / "other")]
    tokens = [nginx.health_token(instance) for instance in instances]
    assert len(set(tokens)) == 3
    assert all(len(token) == 12 and int(token, 16) >= 0 for token in tokens)
    assert nginx.health_token(instances[0]) == tokens[0]


def test_a_token_is_made_of_any_path(make_instance: MakeInstance) -> None:
    odd = [replace(make_instance(1), root=Path(os.fsdecode(name))) for name in (b"/a\xff\xfe", b"/a\xff\xfd", b"/a\n")]
    assert len({nginx.health_token(instance) for instance in odd}) == 3


def test_a_plan_writes_nothing_and_is_the_same_twice(site: Site, tmp_path: Path) -> None:
    first = nginx.plan(site, FACTS, tmp_path / "conf")
    assert first == nginx.plan(site, FACTS, tmp_path / "conf")
    assert [file.path for file in first] == [tmp_path / "conf/nginx.conf", tmp_path / "conf/nginx-local.conf"]
    assert {file.mode for file in first} == {0o644}
    assert not (tmp_path / "conf").exists()


def test_what_is_rendered_tells_its_revision(site: Site) -> None:
    contents = [nginx.plan(site, facts, Path("/c"))[1].content for facts in (FACTS, replace(FACTS, runtime="/other"))]
    revisions = [content.partition('"revision":"')[2][:12] for content in contents]
    assert len(set(revisions)) == 2
    assert all(int(revision, 16) >= 0 for revision in revisions)


def test_the_workers_user_is_named_only_where_there_is_one(site: Site) -> None:
    assert "\nuser nobody nogroup;\n" in nginx.plan(site, replace(FACTS, user="nobody nogroup"), Path("/c"))[0].content
    assert "\nuser" not in nginx.plan(site, FACTS, Path("/c"))[0].content


def test_nginx_listens_and_looks_where_the_backend_says(site: Site) -> None:
    facts = replace(FACTS, listen="80", upstream="host.docker.internal")
    content = nginx.plan(site, facts, Path("/c"))[1].content
    assert content.count("listen ") == 1
    assert "    listen 80;\n" in content
    assert f"proxy_pass http://host.docker.internal:{site.instance.ports['vite']};" in content
    assert "127.0.0.1" not in content


@pytest.mark.parametrize(
    ("dropped", "absent"),
    [
        ("whatsapp", ["/qr", "/pairing-code", "@no_whatsapp"]),
        ("opencode", ["opencode", "auth_request", "@login"]),
        ("dashboard", ["/api/", "/dashboard/", "opencode_uri", "location /opencode/", "auth_request"]),
        ("vite", ["@no_vite"]),
    ],
)
@pytest.mark.embedded
def test_a_dropped_port_has_no_route(tmp_path: Path, dropped: str, absent: list[str]) -> None:
    services: dict[str, object] = {name: {"needs": []} for name in ("dashboard", "opencode", "whatsapp", "slack")}
    services[{"vite": "frontend"}.get(dropped, dropped)] = None
    site = make_site(tmp_path / "checkout", orienter={"ports": {dropped: None}, "services": services})
    content = nginx.plan(site, FACTS, Path("/c"))[1].content
    assert [text for text in absent if text in content] == []
    for binary in binaries().values():
        nginx.check(site, Nginx(site, binary, tmp_path / "run"))


def test_the_login_page_is_the_hosts(tmp_path: Path) -> None:
    site = make_site(tmp_path / "checkout", orienter={"nginx": {"login": '/sign in?to="x"'}})
    assert 'return 302 "/sign in?to=\\"x\\"";' in nginx.plan(site, FACTS, Path("/c"))[1].content


def test_a_login_page_that_nginx_would_take_for_a_variable_is_refused(tmp_path: Path) -> None:
    site = make_site(tmp_path / "checkout", orienter={"nginx": {"login": "/sign-in/$host"}})
    with pytest.raises(CheckError, match="cannot be written"):
        nginx.plan(site, FACTS, Path("/c"))


def test_an_unconfigured_service_has_its_ports_name(tmp_path: Path) -> None:
    site = make_site(tmp_path / "checkout", orienter={"services": {"whatsapp": None}})
    assert '"whatsapp of instance 3 does not' in nginx.plan(site, FACTS, Path("/c"))[1].content


# what becomes live


@pytest.mark.embedded
def test_render_touches_nothing_that_is_live(server: Nginx) -> None:
    candidate = nginx.render(server.site, server)
    assert candidate == nginx.config_dir(server.site.instance) / "candidate"
    assert sorted(path.name for path in candidate.iterdir()) == ["nginx-local.conf", "nginx.conf"]
    assert live_files(server.site) == {}
    assert server.checks == 0


@pytest.mark.embedded
def test_the_files_are_for_everybody_in_a_directory_for_us(server: Nginx) -> None:
    nginx.apply(server.site, server)
    live = nginx.config_dir(server.site.instance)
    assert live.parent.stat().st_mode & 0o777 == 0o700
    assert live.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in live.iterdir() if path.is_file()} == {0o644}


@pytest.mark.embedded
def test_what_was_accepted_is_not_checked_again(server: Nginx) -> None:
    assert nginx.apply(server.site, server) is True
    assert nginx.apply(server.site, server) is False
    assert (server.checks, server.reloads) == (1, 1)
    assert nginx.apply(server.site, server, force=True) is False
    assert (server.checks, server.reloads) == (2, 2)


@pytest.mark.embedded
def test_another_nginx_is_asked_again(server: Nginx) -> None:
    nginx.apply(server.site, server)
    docker = msgspec.structs.replace(server.site.settings.docker, nginx="nginx:1.22")
    site = replace(server.site, settings=msgspec.structs.replace(server.site.settings, docker=docker))
    assert nginx.apply(site, server) is False
    assert server.checks == 2


@pytest.mark.embedded
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


@pytest.mark.embedded
def test_a_changed_template_answers_without_a_restart(running: Nginx) -> None:
    assert running.process is not None
    pid, before = running.process.pid, revision_of(running.site)
    write_template(running.site, SMALL % "    location = /new { return 200 new; }")
    assert nginx.apply(running.site, running) is True
    assert get(running.site.instance.ports["nginx"], "/new")[2] == b"new"
    assert revision_of(running.site) != before
    assert running.process.poll() is None
    assert running.process.pid == pid


def test_a_reload_is_over_when_no_former_worker_answers_any_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["old", "new", "old", "new"]
    seen: list[tuple[float, str]] = []

    def probe(_: Site) -> dict[str, str]:
        seen.append((time.monotonic(), answers[min(len(seen), 3)]))
        return {"revision": seen[-1][1]}

    monkeypatch.setattr(nginx_health, "probe", probe)
    nginx_health.await_revision(site, "new")
    last = max(at for at, revision in seen if revision == "old")
    assert seen[-1][0] - last >= nginx_health.SETTLED_SECONDS


@pytest.mark.embedded
def test_a_template_without_a_revision_is_believed(running: Nginx) -> None:
    write_template(running.site, "server { listen {{ listen }};" + HEALTH % "" + "}")
    assert nginx.apply(running.site, running) is True
    wait_for_revision(running.site, None)


@pytest.mark.embedded
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


@pytest.mark.embedded
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


@pytest.mark.embedded
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


@pytest.mark.embedded
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


# what does not become live

BROKEN = {
    "syntax": ("server {\n{% if %}\n}\n", "nginx-local.conf.j2, line 2"),
    "undefined": ("server { listen {{ lissten }}; }\n", "'lissten' is undefined"),
    "refused": ("server {\n    bogus_directive on;\n}\n", 'unknown directive "bogus_directive"'),
    "no host": ("server { location / { proxy_pass http://nowhere.invalid; } }\n", "host not found in upstream"),
    "unclosed": ("server {\n", 'unexpected end of file, expecting "}"'),
    "value": ("server { listen {{ 1 // 0 }}; }\n", "division"),
}


@pytest.mark.embedded
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_template_is_explained_and_changes_nothing(running: Nginx, kind: str) -> None:
    template, explanation = BROKEN[kind]
    before, revision = live_files(running.site), revision_of(running.site)
    write_template(running.site, template)
    for attempt in (nginx.apply, nginx.check):
        with pytest.raises(CheckError) as caught:
            attempt(running.site, running)
        assert caught.value.exit_code == 1
        assert explanation in "\n".join([caught.value.line(), *caught.value.details])
    assert live_files(running.site) == before
    assert revision_of(running.site) == revision
    assert running.reloads == 1


@pytest.mark.embedded
def test_a_refusal_quotes_nginx_and_says_where_to_look(server: Nginx) -> None:
    write_template(server.site, "server {\n    bogus_directive on;\n}\n")
    with pytest.raises(CheckError, match=r"instance 3 \(checkout\)") as caught:
        nginx.apply(server.site, server)
    candidate = nginx.config_dir(server.site.instance) / "candidate"
    assert str(candidate) in caught.value.hint
    assert f"{candidate}/nginx-local.conf:2" in "\n".join(caught.value.details)
    assert (candidate / "nginx-local.conf").read_text(encoding="utf-8") == "server {\n    bogus_directive on;\n}\n"
    assert live_files(server.site) == {}


@pytest.mark.embedded
def test_what_an_undefined_name_might_have_been_is_told(server: Nginx) -> None:
    write_template(server.site, "{{ vite_prot }}")
    with pytest.raises(CheckError) as caught:
        nginx.render(server.site, server)
    assert "vite_port" in caught.value.hint


def test_a_template_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    site = make_site(tmp_path / "checkout", orienter={"nginx": {"template": "absent.conf.j2"}})
    with pytest.raises(NotFoundError, match=r"absent\.conf\.j2") as caught:
        nginx.plan(site, FACTS, Path("/c"))
    assert caught.value.exit_code == 3


@pytest.mark.embedded
def test_what_nginx_does_not_take_over_is_rolled_back(running: Nginx) -> None:
    taken = free_ports(len(running.site.instance.ports) + 1)[-1]
    before, revision = live_files(running.site), revision_of(running.site)
    # a port that is taken passes `nginx -t`, and fails when nginx is to listen on it
    write_template(running.site, SMALL % f"    listen 127.0.0.1:{taken};")
    with socket.create_server(("127.0.0.1", taken)):
        with pytest.raises(CheckError, match="did not take over") as caught:
            nginx.apply(running.site, running)
        assert caught.value.exit_code == 1
        assert live_files(running.site) == before
        assert revision_of(running.site) == revision
        assert running.reloads == 3
        with pytest.raises(CheckError, match="did not take over"):
            nginx.apply(running.site, running)


@pytest.mark.embedded
def test_a_template_without_our_health_is_rolled_back(running: Nginx) -> None:
    before, revision = live_files(running.site), revision_of(running.site)
    write_template(running.site, "server { listen {{ listen }}; location / { return 200 hello; } }")
    with pytest.raises(CheckError, match="/health with its token"):
        nginx.apply(running.site, running)
    assert live_files(running.site) == before
    wait_for_revision(running.site, revision)


@pytest.mark.embedded
def test_a_reload_that_fails_is_rolled_back(running: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    before = live_files(running.site)
    write_template(running.site, SMALL % "")

    def fail(self: Nginx) -> bool:
        raise BackendError("the engine is gone", hint="start it")

    monkeypatch.setattr(Nginx, "reload_nginx", fail)
    with pytest.raises(CheckError, match="the engine is gone") as caught:
        nginx.apply(running.site, running)
    assert "the engine is gone → start it" in caught.value.details
    assert live_files(running.site) == before


# whose nginx answers


@pytest.mark.embedded
def test_a_probe_gives_the_answer_of_its_own_nginx(running: Nginx) -> None:
    assert nginx.probe(running.site)["token"] == nginx.health_token(running.site.instance)


@pytest.mark.embedded
def test_a_probe_names_another_instance(running: Nginx) -> None:
    instance = running.site.instance
    with pytest.raises(NotReadyError, match=r"answered by instance 3 of orienter, not instance 4 \(checkout\)"):
        nginx.probe(replace(running.site, instance=replace(instance, id=4)))
    with pytest.raises(NotReadyError, match="answered by instance 3 of orienter, not instance 3"):
        nginx.probe(replace(running.site, instance=replace(instance, project="other")))
    with pytest.raises(NotReadyError, match="instance 3 of another checkout"):
        nginx.probe(replace(running.site, instance=replace(instance, root=Path("/elsewhere"))))


@pytest.mark.embedded
def test_a_probe_names_another_server(site: Site) -> None:
    with Upstream("stranger", site.instance.ports["nginx"]).running(), pytest.raises(NotReadyError) as caught:
        nginx.probe(site)
    assert "answers /health with 200" in str(caught.value)
    assert '"name": "stranger"' in str(caught.value)


def test_a_probe_says_when_nobody_answers(site: Site) -> None:
    with pytest.raises(NotReadyError, match=f"http://127.0.0.1:{site.instance.ports['nginx']}/health"):
        nginx.probe(site)


@pytest.mark.parametrize("body", [b"[]", b'"token"', b"null", b"\xff", b"", b'{"token": 1', b'{"status": "ok"}'])
def test_a_probe_survives_any_answer(site: Site, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(nginx_health, "http_answer", lambda *_: (200, body))
    with pytest.raises(NotReadyError, match="is not the nginx of"):
        nginx.probe(site)
