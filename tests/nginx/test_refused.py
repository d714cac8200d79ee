"""What does not become live: refused, explained, or rolled back while the former one answers on."""

from __future__ import annotations

import socket

import pytest

from orienter_tasks import nginx
from orienter_tasks.errors import BackendError, CheckError
from tests import slot
from tests.nginx.lab import (
    SMALL,
    Nginx,
    live_files,
    revision_of,
    wait_for_revision,
    write_template,
)

pytestmark = pytest.mark.embedded

BROKEN = {
    "syntax": ("server {\n{% if %}\n}\n", "nginx-local.conf.j2, line 2"),
    "undefined": ("server { listen {{ lissten }}; }\n", "'lissten' is undefined"),
    "refused": ("server {\n    bogus_directive on;\n}\n", 'unknown directive "bogus_directive"'),
    "no host": ("server { location / { proxy_pass http://nowhere.invalid; } }\n", "host not found in upstream"),
    "unclosed": ("server {\n", 'unexpected end of file, expecting "}"'),
    "value": ("server { listen {{ 1 // 0 }}; }\n", "division"),
}


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


def test_a_refusal_quotes_nginx_and_says_where_to_look(server: Nginx) -> None:
    write_template(server.site, "server {\n    bogus_directive on;\n}\n")
    with pytest.raises(CheckError, match=r"instance 3 \(checkout\)") as caught:
        nginx.apply(server.site, server)
    candidate = nginx.config_dir(server.site.instance) / "candidate"
    assert str(candidate) in caught.value.hint
    assert f"{candidate}/nginx-local.conf:2" in "\n".join(caught.value.details)
    assert (candidate / "nginx-local.conf").read_text(encoding="utf-8") == "server {\n    bogus_directive on;\n}\n"
    assert live_files(server.site) == {}


def test_what_an_undefined_name_might_have_been_is_told(server: Nginx) -> None:
    write_template(server.site, "{{ vite_prot }}")
    with pytest.raises(CheckError) as caught:
        nginx.render(server.site, server)
    assert "vite_port" in caught.value.hint


def test_what_nginx_does_not_take_over_is_rolled_back(running: Nginx, impatient: None) -> None:
    taken = slot.port()
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


def test_a_template_without_our_health_is_rolled_back(running: Nginx, impatient: None) -> None:
    before, revision = live_files(running.site), revision_of(running.site)
    write_template(running.site, "server { listen {{ listen }}; location / { return 200 hello; } }")
    with pytest.raises(CheckError, match="/health with its token"):
        nginx.apply(running.site, running)
    assert live_files(running.site) == before
    wait_for_revision(running.site, revision)


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
