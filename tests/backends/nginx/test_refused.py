"""What does not become live: refused, explained, or rolled back while the former one answers on."""

from __future__ import annotations

import socket

import pytest

from orienter_tasks.backends.nginx.configuration import apply, check
from orienter_tasks.errors import BackendError, CheckError
from tests import slot
from tests.backends.nginx.lab import (
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
    before, revision = live_files(running.config), revision_of(running.config)
    write_template(running.config, template)
    for attempt in (apply, check):
        with pytest.raises(CheckError) as caught:
            attempt(running.config, running)
        assert caught.value.exit_code == 1
        assert explanation in "\n".join([caught.value.line(), *caught.value.details])
    assert live_files(running.config) == before
    assert revision_of(running.config) == revision
    assert running.reloads == 1


def test_a_refusal_quotes_nginx_and_says_where_to_look(server: Nginx) -> None:
    write_template(server.config, "server {\n    bogus_directive on;\n}\n")
    with pytest.raises(CheckError, match=r"instance 3 \(checkout\)") as caught:
        apply(server.config, server)
    candidate = server.config.instance.nginx_dir / "candidate"
    assert str(candidate) in caught.value.hint
    assert f"{candidate}/nginx-local.conf:2" in "\n".join(caught.value.details)
    assert (candidate / "nginx-local.conf").read_text(encoding="utf-8") == "server {\n    bogus_directive on;\n}\n"
    assert live_files(server.config) == {}


def test_what_an_undefined_name_might_have_been_is_told(server: Nginx) -> None:
    write_template(server.config, "{{ vite_prot }}")
    with pytest.raises(CheckError) as caught:
        check(server.config, server)
    assert "vite_port" in caught.value.hint


def test_what_nginx_does_not_take_over_is_rolled_back(running: Nginx, impatient: None) -> None:
    taken = slot.port()
    before, revision = live_files(running.config), revision_of(running.config)
    # a port that is taken passes `nginx -t`, and fails when nginx is to listen on it
    write_template(running.config, SMALL % f"    listen 127.0.0.1:{taken};")
    with socket.create_server(("127.0.0.1", taken)):
        with pytest.raises(CheckError, match="did not load") as caught:
            apply(running.config, running)
        assert caught.value.exit_code == 1
        assert live_files(running.config) == before
        assert revision_of(running.config) == revision
        assert running.reloads == 3
        with pytest.raises(CheckError, match="did not load"):
            apply(running.config, running)


def test_a_template_without_our_health_is_rolled_back(running: Nginx, impatient: None) -> None:
    before, revision = live_files(running.config), revision_of(running.config)
    write_template(running.config, "server { listen {{ listen }}; location / { return 200 hello; } }")
    with pytest.raises(CheckError, match="/health with its token"):
        apply(running.config, running)
    assert live_files(running.config) == before
    wait_for_revision(running.config, revision)


def test_a_reload_that_fails_is_rolled_back(running: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    before = live_files(running.config)
    write_template(running.config, SMALL % "")

    def fail(self: Nginx) -> bool:
        raise BackendError("the engine is gone", hint="start it")

    monkeypatch.setattr(Nginx, "reload_nginx", fail)
    with pytest.raises(CheckError, match="the engine is gone") as caught:
        apply(running.config, running)
    assert "the engine is gone → start it" in caught.value.details
    assert live_files(running.config) == before
