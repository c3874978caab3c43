"""A plan as plain data: what a build would make of a network. Tensors, layers and groups are known by their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "Apart",
    "BodyPlan",
    "Buffer",
    "Comparison",
    "Decision",
    "GroupChange",
    "GroupPlan",
    "LayerPlan",
    "LockPlan",
    "Memory",
    "Plan",
    "PlannedLibrary",
    "ProfilePlan",
    "Refusal",
    "TacticChange",
    "TensorPlan",
    "Times",
]

FORMAT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    name: str
    type: str
    """`f16[B, 768]`."""
    dtype: str
    place: str
    """`input`, `weight`, `output`, `arena`, `view`, `part` (of a concat), `dynamic`, or `inside` a group."""
    decided_by: str
    """Who decided the dtype."""
    nbytes: int | None
    """At the first profile's max; None where only the data decides."""


@dataclass(frozen=True, slots=True)
class BodyPlan:
    """A body of control flow. Its layers stand among the plan's, behind those of the network itself."""

    label: str
    """`then`, `else` or `body`."""
    inputs: tuple[int, ...]
    """What it is given in each turn: what is carried, the number of the turn."""
    layers: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerPlan:
    name: str
    op: str
    attrs: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    source: str
    """`bert.trtn:41:3`, the node of the model that it was, or "" for what a pass made."""
    text: str
    """The line of the spec."""
    bodies: tuple[BodyPlan, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Who would run a group at a tuned point. `by`: `lock`, `timing` (the candidates are timed), `default` (nothing is
    timed: the first of the most specialised provider), `only` (there is no other)."""

    key: str
    by: str
    provider: str
    tactic: str
    """"" where that is open."""
    stale: str = ""
    """Why the lock's entry is of no use."""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """`decisions` has one for each tuned point; None where no kernel runs."""

    name: str
    kind: str
    role: str
    layers: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sources: tuple[str, ...]
    weight_bytes: int
    providers: tuple[str, ...]
    """Those that take it, the most specialised first."""
    refusals: tuple[Refusal, ...]
    decisions: tuple[Decision | None, ...]


@dataclass(frozen=True, slots=True)
class Apart:
    """Why what group `first` makes and group `second` reads does not stay inside one group."""

    first: int
    second: int
    tensor: int
    reason: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """A value of the arena, alive from step `first` to `last`, both included."""

    tensor: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at max of a profile. `sizes` and `offsets` follow the plan's buffers; `live` has one for each step."""

    arena: int
    lower_bound: int
    sizes: tuple[int, ...]
    offsets: tuple[int, ...]
    live: tuple[int, ...]
    peak: int
    """The first step in which most is alive."""


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    name: str
    dims: Mapping[str, tuple[int, int, int]]
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class PlannedLibrary:
    """A provider for the device. Where it is not on this machine, `missing` says why, and no version is known."""

    name: str
    version: str
    missing: str


@dataclass(frozen=True, slots=True)
class LockPlan:
    """Counts of distinct problems. `unused`: the target's entries that nothing asks for. `changed`: what is said of the
    spec's files that differ from what the lock states."""

    path: str
    exists: bool
    pinned: int
    stale: int
    missing: int
    unused: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured on an engine, in milliseconds. `steps` follows the plan's groups, None where the engine has no
    such step or runs nothing for it."""

    engine: str
    device: str
    sizes: Mapping[str, int]
    runs: int
    total: float
    steps: tuple[float | None, ...]
    notes: tuple[str, ...]
    """How the engine differs from what is planned."""


@dataclass(frozen=True, slots=True)
class GroupChange:
    verb: str
    """`added`, `removed` or `changed`."""
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TacticChange:
    """`after` is "" where it is decided anew."""

    group: str
    point: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from an engine. `network`: the changes as `trtn diff` tells them."""

    engine: str
    notes: tuple[str, ...]
    network: tuple[str, ...]
    groups: tuple[GroupChange, ...]
    tactics: tuple[TacticChange, ...]
    memory: Mapping[str, tuple[int | None, int | None]]
    """The arena at max by profile: of the engine, of the plan."""

    @property
    def is_same(self) -> bool:
        arenas = all(before == after for before, after in self.memory.values())
        return not (self.network or self.groups or self.tactics) and arenas


@dataclass(frozen=True, slots=True)
class Plan:
    """`points` are the sizes that tactics are decided for."""

    network: str
    doc: str
    digest: str
    target: str
    device: str
    precision: str
    effort: int
    libraries: tuple[PlannedLibrary, ...]
    layers_before: int
    """How many the spec has."""
    layers_after: int
    """How many there are after the passes, those of bodies left out."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[TensorPlan, ...]
    layers: tuple[LayerPlan, ...]
    groups: tuple[GroupPlan, ...]
    apart: tuple[Apart, ...]
    points: tuple[Mapping[str, int], ...]
    buffers: tuple[Buffer, ...]
    profiles: tuple[ProfilePlan, ...]
    problems: Mapping[str, int]
    """How many distinct problems are decided by whom, as `Decision.by` has it."""
    lock: LockPlan | None
    times: Times | None
    against: Comparison | None

    def to_json(self) -> dict[str, Any]:
        return {"format_version": FORMAT_VERSION, **asdict(self)}
