"""Measured times of an engine's steps, beside the steps that are planned."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.backend.group import Group
from trtn.backend.report.model import Times
from trtn.backend.runtime.profiler import StepProfile

__all__ = ["times_of"]


def times_of(profile: StepProfile, digest: str, device: str, groups: Sequence[Group]) -> Times:
    """A profile by the plan's groups, which are known by name."""
    names = {g.name for g in groups}
    return Times(
        engine=profile.engine,
        device=profile.device,
        sizes=profile.sizes,
        runs=profile.runs,
        total=profile.total,
        steps=tuple(profile.steps.get(g.name) for g in groups),
        notes=tuple(_notes(profile, digest, device, sum(name not in names for name in profile.steps))),
    )


def _notes(profile: StepProfile, digest: str, device: str, unknown: int) -> list[str]:
    found = []
    if profile.network != digest:
        found.append("the engine was built from another network")
    if profile.device != device:
        found.append(f"the engine is for {profile.device}, the plan for {device}")
    if unknown:
        found.append(f"{unknown} of its steps are not in the plan")
    return found
