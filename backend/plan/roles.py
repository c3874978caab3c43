"""What the runtime does for a group: launch a kernel, take a view, complete a concat, or wait for the data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from trtn.backend.group import Group
from trtn.backend.mentions import mentioned_throughout
from trtn.backend.plan.storage import Place, StoragePlan

__all__ = ["Role", "roles_of"]


class Role(Enum):
    KERNEL = auto()
    """Sizes and layouts are known before the run: a provider's tactic runs it."""
    VIEW = auto()
    """The results are other names for the input's memory."""
    CONCAT = auto()
    """Some or all of the inputs lie in the result already; the others are copied."""
    LATE = auto()
    """It depends on what only the data decides: evaluated op by op, in each run."""


def roles_of(groups: Sequence[Group], storage: StoragePlan) -> tuple[Role, ...]:
    """The role of each group."""
    assembled = {id(part.parent) for part in storage.parts.values()}
    return tuple(_role(group, storage, assembled) for group in groups)


def _role(group: Group, storage: StoragePlan, assembled: set[int]) -> Role:
    places = storage.places
    if group.outputs and all(places[id(t)] is Place.VIEW for t in group.outputs):
        return Role.VIEW
    if any(id(t) in assembled for t in group.outputs):
        return Role.CONCAT
    touched = (*group.inputs, *group.outputs)
    if any(places.get(id(t)) is Place.DYNAMIC for t in touched):
        return Role.LATE
    mentions = (mentioned_throughout(layer) for layer in group.layers)
    return Role.LATE if storage.dynamic and any(m & storage.dynamic for m in mentions) else Role.KERNEL
