"""`inv test.integration`: two throwaway instances side by side; each sees only its own data, and nothing is left."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.commands.start import await_infra, start_infra
from orienter_tasks.commands.verify.collect import look_at_all
from orienter_tasks.commands.verify.rules import judge
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.lifecycle.context import RunOptions
from orienter_tasks.machine import ports
from orienter_tasks.output.checks import Check, prove
from orienter_tasks.processes import census
from orienter_tasks.processes.table import describe
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.selftest.host import HostConfig
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.lifecycle.context import RunContext

NAMES = ("one", "two")


def checks(host: HostConfig, backends: Callable[[], Backends]) -> Iterator[Check]:
    """Start two instances, check that they are isolated, and remove them.

    Args:
        host: the checkout whose configuration is checked.
        backends: returns the backends to use.
    """
    configs: list[InstanceConfig] = []
    outcomes: list[Check] = []

    def run() -> str:
        wanted = backends()
        with open_sandbox(replace(host, settings=choice.kept(host.settings, wanted))) as sandbox:
            options = RunOptions(backend=wanted.general, quiet=True, without=tuple(host.settings.services))
            contexts = [sandbox.instance(each, options) for each in NAMES]
            numbers = [ctx.current.instance.id for ctx in contexts]
            begun = time.monotonic()
            start_all(contexts)
            seconds = time.monotonic() - begun
            configs.extend(ctx.current.config for ctx in contexts)
            outcomes.extend(_unmet(contexts[0], host.root))
            outcomes.extend(_proofs(contexts))
        return f"ids {' and '.join(map(str, numbers))} on {wanted} in {seconds:.1f} s"

    yield prove("two instances start side by side", run)
    yield from outcomes
    if configs:
        yield prove("nothing is left", lambda: nothing_left(configs))


def start_all(contexts: Sequence[RunContext]) -> None:
    """Start the infrastructure of several instances at once, as `inv infra.up` does.

    Raises:
        OrienterError: the first failure, after stopping what was started.
    """
    try:
        for ctx in contexts:
            start_infra(ctx)  # in background threads
        for ctx in contexts:
            await_infra(ctx, ready=True)
    except BaseException:
        for ctx in contexts:
            ctx.undo()
        raise


def _unmet(ctx: RunContext, root: Path) -> Iterator[Check]:
    """Ask the servers of an instance for what the host's migrations need."""
    config, backends = ctx.current.config, ctx.current.backend.backends
    for name in config.instance.infra:
        native = backends.of(name) == "embedded"
        for each in component(name).unmet(config, root, native=native, running=True):
            words = f"{name} lacks {each.what}, which {each.where} needs"
            yield Check("migrations find what they need", "warning", words, each.remedy)


def _proofs(contexts: Sequence[RunContext]) -> Iterator[Check]:
    configs = [ctx.current.config for ctx in contexts]
    yield prove("each page answers as its own", lambda: pages(configs))
    for name in _traced(configs[0]):
        trace = component(name).trace
        article = "an" if trace[0] in "aeiou" else "a"
        yield prove(f"{article} {trace} is seen by its own only", partial(traces_are_apart, configs, name))
    yield prove("they share nothing", lambda: nothing_shared(contexts))
    yield prove("one stops, the other goes on", lambda: one_stops(contexts))


def pages(configs: Sequence[InstanceConfig]) -> str:
    """Require that each nginx answers as its own instance."""
    for config in configs:
        try:
            probe(config)
        except NotReadyError as error:
            raise CheckError(str(error)) from error
    return ", ".join(config.instance.url for config in configs)


def traces_are_apart(configs: Sequence[InstanceConfig], name: str) -> str:
    """Leave a trace in each instance's server, and require that each finds only its own."""
    for config in configs:
        component(name).leave_trace(config, str(config.instance.root))
    for config in configs:
        _require_only_own(config, name)
    entry = catalog.entry_of(name)
    variable = next(iter(entry.numbered), f"{entry.port.upper()}_PORT")
    return ", ".join(config.variables[variable] for config in configs)


def nothing_shared(contexts: Sequence[RunContext]) -> str:
    """Run the checks of `infra.verify` on them."""
    found = judge(look_at_all([(ctx.current.config, ctx.current.backend.backends) for ctx in contexts]))
    wrong = [check for check in found if check.verdict in ("problem", "unseen")]
    if wrong:
        raise CheckError(f"{wrong[0].topic}: {wrong[0].text}")
    return f"{sum(check.verdict == 'ok' for check in found)} checks of infra.verify"


def one_stops(contexts: Sequence[RunContext]) -> str:
    """Stop one and remove its data; the other must be unaffected."""
    first, *others = contexts
    first.start.stop()
    first.current.backend.remove_data()
    for ctx in others:
        for name in _traced(ctx.current.config):
            _require_only_own(ctx.current.config, name)
    stayed = ", ".join(str(ctx.current.instance.id) for ctx in others)
    return f"instance {first.current.instance.id} and its data went, and {stayed} stayed"


def nothing_left(configs: Sequence[InstanceConfig]) -> str:
    """Require that nothing of them is left: process, port, container, volume, network or directory."""
    left = []
    for config in configs:
        left += [describe(pid) for pid in census.take().pids(config.instance)]
        held = {name: port for name, port in config.instance.ports.items() if catalog.component_of_port(name)}
        left += [f"port {port} ({name})" for name, port in held.items() if not ports.is_free(port)]
        left += [str(path) for path in (config.instance.root,) if path.exists()]
        left += _resources(config)
    if left:
        raise CheckError(f"left: {', '.join(left)}", hint="inv doctor")
    return "no process, port, container, volume, network or directory"


def _resources(config: InstanceConfig) -> list[str]:
    from orienter_tasks.backends.docker import engine, survey

    if not engine.answers():
        return []
    found = survey.read(engine.shared(), project=config.instance.project)
    return [f"{one.kind} {one.name}" for one in found]


def _traced(config: InstanceConfig) -> list[str]:
    """Name the components in which a trace can be left."""
    return [name for name in config.instance.infra if component(name).trace]


def _require_only_own(config: InstanceConfig, name: str) -> None:
    found = component(name).traces(config)
    if found != [str(config.instance.root)]:
        words = f"{config.instance} should see its own {component(name).trace}, and sees those of {found}"
        raise CheckError(words)
