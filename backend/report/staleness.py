"""What a lock has that is no longer so, without the device that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtn.backend.report.ahead import look_ahead
from trtn.backend.tuner.lock_check import changed_dependencies, changed_versions, unused_entries
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision
from trtn.dsl.version import VERSION

__all__ = ["check_lock"]


def check_lock(
    network: Network,
    *,
    device: str | None = None,
    precision: str | Precision | None = None,
    profiles: Sequence[str] | None = None,
    lock: str | Path,
    effort: int | None = None,
    target: str = "",
) -> list[Diagnostic]:
    """What `build` with the same arguments would change in the lock, as far as can be told without its device: files
    that differ, problems without a valid tactic, other versions of what is here, tactics that nothing asks for.

    Empty where the lock is up to date. Raises BuildError where it can't be read.
    """
    ahead = look_ahead(
        network, device=device, precision=precision, profiles=profiles, lock=lock, effort=effort, target=target
    )
    if ahead.lock is None:
        message = f"there is no lock file {lock}"
        return [Diagnostic("E0708", message, help="write it with `trtn lock`")]
    found = changed_dependencies(ahead.lock, network.dependencies)
    if not ahead.lock.section(ahead.section).entries:
        message = f"the lock has no tactics of `{ahead.section}`, which asks for {len(ahead.tactics.keys)}"
        return [*found, Diagnostic("E0708", message, help="write it with `trtn lock`")]
    try:
        ahead.tactics.require_lock()
    except BuildError as e:
        found += e.diagnostics
    found += changed_versions(ahead.lock, ahead.section, {"trtn": VERSION, **ahead.providers.versions})
    found += unused_entries(ahead.lock, ahead.section, ahead.tactics.keys)
    return found
