"""What an instance's native processes use: variables, working directories, connections."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.commands.verify.snapshot import DataLocation, Workload
from orienter_tasks.identity.volumes import home
from orienter_tasks.processes.record import COMPONENT_MARKER
from orienter_tasks.processes.table import describe
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.table import Process

ROOT = "AI_INSTANCE_ROOT"
NAMED = ("AI_INSTANCE_ID", ROOT)


def workloads(config: InstanceConfig, processes: Mapping[str, Sequence[Process]]) -> list[Workload]:
    """Say of each process of an instance, by component, which of its variables are not the instance's."""
    import psutil

    found = []
    for component, process in ((component or "a process", it) for component, each in processes.items() for it in each):
        try:
            environ = psutil.Process(process.pid).environ()
        except psutil.NoSuchProcess:
            continue
        wrong = _wrong(environ, component, config)
        found.append(Workload(str(process.pid), component, describe(process.pid), wrong))
    return found


def _wrong(environ: Mapping[str, str], component: str, config: InstanceConfig) -> tuple[str, ...]:
    """Compare what a process carries with the instance's variables.

    Servers get the two that name the instance, and their children (such as nginx's workers) write their titles over
    them: those are known by descent.
    """
    server = catalog.is_infrastructure(component)
    if server and COMPONENT_MARKER not in environ:
        return ()
    wanted = NAMED if server else (*NAMED, *numbered(config))
    # what was started before the checkout was moved has its former path
    right = {name: config.instance.roots if name == ROOT else (config.variables[name],) for name in wanted}
    return tuple(
        f"{name}={environ[name]}" if name in environ else f"{name} missing"
        for name in wanted
        if environ.get(name) not in right[name]
    )


def numbered(config: InstanceConfig) -> list[str]:
    """Name the variables that end in the instance's id."""
    return [name for name in catalog.numbered() if name in config.variables.values]


def locations(instance: Instance, processes: Mapping[str, Sequence[Process]]) -> list[DataLocation]:
    """Find where the embedded servers that run really keep their files: below their first processes' directories."""
    import psutil

    found = []
    for name in catalog.with_data():
        for process in sorted(processes.get(name, ()), key=lambda process: process.age)[:1]:
            source = Path(psutil.Process(process.pid).cwd(), catalog.entry_of(name).files)
            found.append(location(name, str(source), instance))
    return found


def location(component: str, source: str, instance: Instance, *, data: bool = True) -> DataLocation:
    """Describe a directory of this machine; it is the instance's own in its volumes and below its DATA_DIR.

    A mount keeps the path at which the checkout lay when it was made.
    """
    real = os.path.realpath(source)
    own = [home(instance), *(replace(instance, root=Path(root)).data_dir for root in instance.roots)]
    homes = [os.path.realpath(each) for each in own]
    try:
        status = os.stat(real)  # noqa: PTH116 - a path of the system's
        key = f"{status.st_dev}:{status.st_ino}"
    except OSError:
        key = real
    return DataLocation(
        component, source, key, own=any(os.path.commonpath([real, each]) == each for each in homes), data=data
    )


def written(processes: Mapping[str, Sequence[Process]]) -> dict[str, str]:
    """Return the files that services have open for writing, by device and inode, except for caches."""
    import psutil

    cache = (os.environ.get("XDG_CACHE_HOME") or "~/.cache", "~/.cache", "~/Library/Caches")
    shared = tuple(f"{os.path.realpath(Path(each).expanduser())}/" for each in cache)
    found: dict[str, str] = {}
    for component, process in ((component, it) for component, each in processes.items() for it in each):
        if catalog.is_infrastructure(component):
            continue  # servers write to their volumes, which are compared
        with suppress(psutil.Error, OSError):
            for file in psutil.Process(process.pid).open_files():
                if getattr(file, "mode", "r") != "r" and not file.path.startswith(shared):
                    status = os.stat(file.path)  # noqa: PTH116 - a path of the system's
                    found[f"{status.st_dev}:{status.st_ino}"] = f"{component} writes {file.path}"
    return found


def calls(pids: Iterable[int]) -> dict[int, str]:
    """Return the ports of this machine that processes are connected to, each with one of those that are."""
    import psutil

    found: dict[int, str] = {}
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        for connection in connections:
            if connection.status == psutil.CONN_ESTABLISHED and connection.raddr and _is_here(connection.raddr.ip):
                found.setdefault(connection.raddr.port, describe(pid))
    return found


def _is_here(address: str) -> bool:
    return address.startswith(("127.", "::1", "::ffff:127."))
