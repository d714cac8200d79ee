"""`inv infra.verify`: find the running instances of this project, collect, judge, and report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.commands.verify.collect import look_at_all
from orienter_tasks.commands.verify.rules import judge
from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.infra.all import component
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.observe.scan import scan
from orienter_tasks.output import checks
from orienter_tasks.settings import catalog
from orienter_tasks.settings.load import as_plain, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.verify.snapshot import Evidence
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.output.checks import Check
    from orienter_tasks.settings.catalog import CatalogEntry


def verify(ctx: RunContext, raw_settings_of: Callable[[Path], object], *, as_json: bool) -> None:
    """Prove that the running instances of this project share nothing; claims nothing and changes nothing.

    Args:
        ctx: the run.
        raw_settings_of: reads the `orienter:` section of another checkout's invoke.yaml; None without one.
        as_json: print one document instead of the list.

    Raises:
        NotFoundError: no instance runs.
        CheckError: something is shared, or could not be seen.
    """
    project = ctx.settings.project
    seen = scan([claim for claim in ctx.claims.read() if claim.project == project and claim.placed], details=False)
    running = [each.claim for each in seen.instances if any(part.running for part in each.components)]
    for unseen in seen.unseen:
        ctx.report.warn(f"not seen: {unseen}")
    if not running and not seen.unseen:
        raise NotFoundError(f"no instance of {project} is running", hint="start one with: inv dev")
    configs = [(_config_of(ctx, claim, raw_settings_of), claim.backends) for claim in running]
    evidence = look_at_all(configs)
    found = judge(evidence)
    if as_json:
        ctx.report.json(_document(evidence, found, seen.unseen))
    else:
        checks.show(ctx.report, [_labelled(check) for check in found], title=_title(evidence))
    _raise_failures(found, seen.unseen)


def _config_of(ctx: RunContext, claim: Claim, raw_settings_of: Callable[[Path], object]) -> InstanceConfig:
    """Configure a checkout's instance by its own claim, settings and `.env`."""
    root = Path(claim.root)
    if root == ctx.root:
        return config_of(claim, ctx.settings, os.environ)
    settings, raw = ctx.settings, raw_settings_of(root)
    with catalog.keeping():
        return config_of(claim, settings if raw is None else load_settings(as_plain(raw)), {})


def _title(evidence: Sequence[Evidence]) -> str:
    names = ", ".join(f"{one.instance.id} ({one.instance.worktree}, {one.backends.word})" for one in evidence)
    return f"{'instance' if len(evidence) == 1 else 'instances'} {names or 'unknown'}"


def _labelled(check: Check) -> Check:
    """Prefix the topic with the instance that it concerns."""
    return check if check.topic.startswith("between") else replace(check, topic=f"{check.instances[0]} {check.topic}")


def _raise_failures(found: Sequence[Check], unseen: Sequence[str]) -> None:
    shared = [check for check in found if check.verdict == "problem"]
    if shared:
        first = shared[0]
        ids = " and ".join(map(str, first.instances))
        raise CheckError(
            f"isolation is broken in {len(shared)} of {len(found)} checks: {first.topic} of instance {ids}: "
            f"{first.text}",
            hint=first.remedy,
        )
    missed = [check for check in found if check.verdict == "unseen"]
    if missed or unseen:
        what = missed[0].text if missed else unseen[0]
        raise CheckError(f"isolation is not proved: {what}", hint="see: inv doctor")


def _document(evidence: Sequence[Evidence], found: Sequence[Check], unseen: Sequence[str]) -> Mapping[str, object]:
    return {
        "isolated": not unseen and all(check.verdict in ("ok", "absent") for check in found),
        "instances": [_seen(one) for one in evidence],
        "checks": checks.documents(
            found,
            instances=lambda check: list(check.instances),
            topic=lambda check: check.topic.removeprefix("between: "),
            between=lambda check: check.topic.startswith("between"),
            verdict=lambda check: "shared" if check.verdict == "problem" else check.verdict,
            detail="text",
            remedy="hint",
        ),
        "unseen": list(unseen),
    }


def _seen(one: Evidence) -> Mapping[str, object]:
    return {
        "id": one.instance.id,
        "root": str(one.instance.root),
        "worktree": one.instance.worktree,
        "backend": one.backends.word,
        **{key: value for entry in catalog.entries() if entry.holds in one.own for key, value in _held(one, entry)},
        "networks": {network.name: list(network.members) for network in one.networks},
        "data": {location.source: location.component for location in one.locations},
        "ports": list(one.listening),
        "processes": [{"component": workload.component, "what": workload.description} for workload in one.workloads],
    }


def _held(one: Evidence, entry: CatalogEntry) -> Iterator[tuple[str, object]]:
    held = one.contents.get(entry.holds)
    if entry.numbered:
        yield entry.holds.removesuffix("s"), one.own[entry.holds][0]
    yield entry.holds, list(held.names) if held is not None else None
    for name in component(entry.name).facts:
        yield name, held.facts[name] if held is not None else None
