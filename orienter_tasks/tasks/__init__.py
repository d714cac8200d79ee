"""The tasks: the only modules that know Invoke. Each is: context, one call, report."""

from __future__ import annotations

import atexit
import gc

from invoke.collection import Collection

from orienter_tasks.tasks import (
    agents,
    cleanup,
    data,
    dev,
    env,
    infra,
    machine,
    nginx,
    remote,
    services,
    test,
    worktree,
)
from orienter_tasks.tasks.bare_names import hint_at_exit
from orienter_tasks.tasks.config_files import report_errors
from orienter_tasks.tasks.task import contexts

report_errors()
# At exit, Python would search every object for cycles once more, which takes as long as `inv --list`.
atexit.register(gc.freeze)

ns = Collection(
    machine.instances,
    machine.doctor,
    Collection(
        "dev",
        dev.start,
        dev.stop,
        dev.status,
        dev.why,
        dev.wait,
        dev.logs,
        dev.restart,
        dev.announce,
        dev.attach,
    ),
    Collection("env", env.init, env.show, env.export, env.exec_, env.hook),
    Collection(
        "infra",
        infra.up,
        infra.down,
        infra.status,
        infra.logs,
        infra.psql,
        infra.s3,
        infra.compose,
        infra.verify,
        infra.stats,
    ),
    Collection("services", services.start, services.stop, services.restart, services.status),
    Collection(
        "data",
        data.snapshot,
        data.listing,
        data.restore,
        data.clone,
        data.reset,
        data.rm,
        data.export_,
        data.import_,
        data.adopt,
    ),
    Collection("worktree", worktree.new, worktree.rm, worktree.listing),
    Collection("nginx", nginx.render, nginx.check, nginx.reload),
    Collection("agents", agents.skill),
    Collection("remote", remote.open_),
    Collection("test", test.everything, test.env, test.templates, test.integration, test.run),
    Collection(
        "cleanup",
        cleanup.daily,
        cleanup.weekly,
        cleanup.orphans,
        cleanup.logs,
        cleanup.instance,
        cleanup.everything,
    ),
)

atexit.register(hint_at_exit, ns, contexts)
