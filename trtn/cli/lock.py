"""`trtn lock`: what a build depends on, written down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.grouped import grouped
from trtn.cli.options import NetworkOption, Reading, Reporting, epilog, verb
from trtn.cli.progress import ProgressBar
from trtn.cli.specs import choose, load_networks
from trtn.cli.tables import plural
from trtn.cli.targets import Building, file_of, only_target
from trtn.dsl.errors import BuildError

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Diagnostic
    from trtn.dsl.network import Network, Target

__all__ = ["app"]

app = verb()

Job = tuple["Network", "Target | None", str]
"""What to lock, for which target, in which file."""


@app.command(
    epilog=epilog(
        "trtn lock bert.trtn                          # for every target that has a lock and a device here",
        "trtn lock bert.trtn --target h200",
        "trtn lock net.trtn --device cpu --lock net.lock",
        "trtn lock bert.trtn --check                  # for CI: what is stale, why, and what to run",
        one="the spec has findings, or (--check) the lock is not up to date",
    )
)
@grouped
def lock(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The spec, or `-`.")],
    network: NetworkOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Only this target; may be repeated. Default: all with a lock."),
    ] = None,
    path: Annotated[
        str | None, typer.Option("--lock", metavar="FILE", help="The lock file. Default: as the targets say.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, time nothing, need no device: only say what is stale.")
    ] = False,
    *,
    building: Building,
    reporting: Reporting,
    reading: Reading,
) -> None:
    """Write the lock: hashes of imports, manifests and plugins, and for each target its tactics and their versions.

    Tactics that the lock has are kept while they are valid; what is missing is decided as `trtn build` does, so the
    target's device has to be here. Where it is not, the target's tactics stay as they are. Lines of targets that the
    spec no longer has go.
    """
    with Console.of(reporting) as console:
        networks, named = load_networks(console, spec, network=network, reading=reading)
        jobs = _jobs(networks, named, network, target, path, building)
        if check:
            command = f"trtn lock {named}{f' --lock {path}' if path else ''}"
            found = _check(jobs, networks, building, command)
            console.found(found)
            console.failed = bool(found)
            if not found:
                console.status("\n".join(f"{file} is up to date" for file in dict.fromkeys(f for _, _, f in jobs)))
            return
        before = {file: _digest(file) for _, _, file in jobs}
        for job in jobs:
            _decide(console, job, building, only=target is not None or building.device is not None)
        for file, old in before.items():
            _tidy(file, networks)
            console.status(f"{file}: {'as it was' if _digest(file) == old else 'written'}")


def _jobs(
    networks: Sequence[Network],
    spec: str,
    network: str | None,
    targets: Sequence[str] | None,
    path: str | None,
    building: Building,
) -> list[Job]:
    """What there is to lock: the targets that are named, else all that have a lock, else the network itself."""
    if targets:
        chosen = [choose(networks, spec, network=network, target=name) for name in targets]
    elif building.device is None and any(t.lock for n in networks for t in n.targets):
        chosen = [(n, t) for n in networks for t in n.targets if t.lock]
    elif path or any(t.lock for n in networks for t in n.targets):
        net, _ = choose(networks, spec, network=network, target=None)
        chosen = [(net, only_target(net, building.device))]
    else:
        raise usage_error("no lock file: no target of the spec names one, and `--lock` doesn't either")
    jobs: list[Job] = []
    for net, each in chosen:
        file = path or file_of(each, "lock", spec)
        if file is None:
            what = f"target `{each.name}`" if each is not None else "the network"
            raise usage_error(f"no lock file: {what} names none, and `--lock` doesn't either")
        jobs.append((net, each, file))
    return jobs


def _check(jobs: Sequence[Job], networks: Sequence[Network], building: Building, command: str) -> list[Diagnostic]:
    """Everything that is stale, each once, with the command that cures it."""
    from trtn.backend.report.staleness import check_lock
    from trtn.backend.tuner.lock import read_lock
    from trtn.backend.tuner.lock_check import dead_sections

    found: dict[tuple[str, str], Diagnostic] = {}
    for net, target, file in jobs:
        known = target is not None and target.device == building.device  # the target says it already
        words = f"{command}{(replace(building, device=None) if known else building).written}"
        words += f" --target {target.name}" if target is not None else ""
        device = building.device or (target.device if target is not None else None)
        where = f" on a machine with {device}" if device not in (None, "cpu") else ""
        for d in check_lock(net, lock=file, **building.arguments(target)):
            found.setdefault((file, d.message), replace(d, help=f"run `{words}`{where}, and commit the lock"))
    for file in dict.fromkeys(file for _, _, file in jobs):
        if os.path.exists(file):
            for _, d in dead_sections(read_lock(file), (t.name for n in networks for t in n.targets)):
                found.setdefault((file, d.message), replace(d, help=f"run `{command}`, and commit the lock"))
    return list(found.values())


def _decide(console: Console, job: Job, building: Building, *, only: bool) -> None:
    """Write a target's part of the lock. Where its device is not here, that is an error if the target is the `only`
    one that is meant; else its tactics stay."""
    from trtn.backend.build import build
    from trtn.backend.devices import find_device

    net, target, file = job
    arguments = building.arguments(target)
    try:
        find_device(arguments["device"])
    except BuildError as error:
        if only or target is None:
            raise
        console.status(f"target {target.name}: its tactics stay as they are: {error}")
        return
    with ProgressBar(console, f"locking {net.name}") as progress:
        engine = build(
            net,
            lock=file,
            workspace=target.workspace if target is not None else None,
            progress=progress,
            diagnose=lambda warning: console.found([warning]),
            **arguments,
        )
    what = f"target {target.name}" if target is not None else engine.device
    console.status(f"{what}: {plural(len(engine.groups), 'step')} at {plural(len(engine.points), 'size')}")


def _tidy(file: str, networks: Sequence[Network]) -> None:
    """Bring the files' hashes up to date, and take out targets that are gone."""
    from trtn.backend.tuner.lock import Lock, read_lock, write_lock
    from trtn.backend.tuner.lock_check import dead_sections

    held = read_lock(file) if os.path.exists(file) else Lock()
    dead = [name for name, _ in dead_sections(held, (t.name for n in networks for t in n.targets))]
    write_lock(file, held.without_sections(dead).with_dependencies(networks[0].dependencies))


def _digest(file: str) -> str:
    from trtn.backend.tuner.lock import lock_digest

    return lock_digest(file) if os.path.exists(file) else ""
