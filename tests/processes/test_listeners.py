"""Who listens, and who can be reached from beyond this machine."""

from __future__ import annotations

from orienter_tasks.processes.listeners import is_loopback


def test_loopback_in_its_forms() -> None:
    loopback = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
    wide = ["0.0.0.0", "::", "192.168.1.5", "fe80::1%eth0", "::ffff:10.0.0.1", ""]
    assert all(map(is_loopback, loopback))
    assert not any(map(is_loopback, wide))
