"""Memory over the steps of a plan, at max of each profile."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from trtn.backend.plan.storage import ALIGNMENT, StoragePlan, nbytes
from trtn.backend.report.model import Memory, ProfilePlan
from trtn.dsl.network import Profile, Tensor

__all__ = ["bytes_of", "memory_at", "plan_profile"]


def plan_profile(profile: Profile, storage: StoragePlan, steps: int) -> ProfilePlan:
    """A profile with its memory at max."""
    dims = {name: (r.minimum, r.optimum, r.maximum) for name, r in profile.dims.items()}
    return ProfilePlan(profile.name, dims, memory_at(storage, profile.corner("maximum"), steps))


def memory_at(storage: StoragePlan, sizes: Mapping[str, int], steps: int) -> Memory | None:
    """The arena for given values of the dims; None where a size follows from the data alone."""
    try:
        arena = storage.layout(sizes)
        held = [-(-nbytes(t, sizes) // ALIGNMENT) * ALIGNMENT for t in storage.buffers]
    except (ValueError, LookupError):
        return None
    change = [0] * (steps + 1)
    for size, (first, last) in zip(held, storage.lifetimes, strict=True):
        change[first] += size
        change[last + 1] -= size
    live = tuple(accumulate(change[:steps]))
    peak = max(range(steps), key=live.__getitem__, default=0)
    return Memory(arena.nbytes, arena.lower_bound, tuple(held), arena.offsets, live, peak)


def bytes_of(tensor: Tensor, sizes: Mapping[str, int]) -> int | None:
    """A tensor's bytes; None where a size follows from the data alone."""
    try:
        return nbytes(tensor, sizes)
    except (ValueError, LookupError):
        return None
