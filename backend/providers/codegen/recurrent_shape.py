"""How a recurrent layer is spread over a GPU: blocks of a cluster share the units, lanes the terms of a unit's sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from trtn.backend.providers.codegen import cluster

__all__ = ["SEQUENCES", "Shape", "shapes"]

SEQUENCES = (1, 2, 4, 8)
"""Sequences that a cluster may take at a time."""
BLOCKS = (1, 2, 4, 8, 16)
LANES = (4, 8, 16, 32)
MOST_THREADS = 512
REGISTERS = 65536
"""Of a multiprocessor."""
OTHERS = 56
"""Registers of a thread that hold neither weights nor sums."""
EXCHANGE = 700
"""Cycles until what one block of a cluster sends has arrived at all."""
MEETING = 60
"""The same inside of a block."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A thread holds `held` of its `chunks` of four weights of each gate in registers, the others in shared memory."""

    hidden: int
    gates: int
    blocks: int
    lanes: int
    sequences: int

    @property
    def units(self) -> int:
        """Of a block."""
        return -(-self.hidden // self.blocks)

    @property
    def threads(self) -> int:
        return -(-self.units * self.lanes // 32) * 32

    @property
    def chunks(self) -> int:
        return -(-self.hidden // (4 * self.lanes))

    @property
    def width(self) -> int:
        """Elements of a state in shared memory: what is over is 0."""
        return 4 * self.lanes * self.chunks

    @property
    def held(self) -> int:
        room = min(255, REGISTERS // self.threads // 8 * 8) - OTHERS - self.gates * self.sequences
        return max(0, min(self.chunks, room // (4 * self.gates)))

    @property
    def shared_weights(self) -> int:
        """Bytes of weights in shared memory."""
        return (self.chunks - self.held) * self.gates * self.threads * 16

    def fits(self, states: int) -> bool:
        """Whether a block has room for it, with `states` arrays of a state; and every block has units."""
        shared = self.shared_weights + 4 * states * self.sequences * self.width + 64
        return (
            self.threads <= MOST_THREADS
            and self.sequences <= self.lanes
            and (self.blocks - 1) * self.units < self.hidden
            and self.held > 0
            and shared <= cluster.SHARED
        )

    @property
    def cycles(self) -> float:
        """Estimate of a step's time: instructions and what they read, then the waiting."""
        warps, weights = self.threads / 32, 4 * self.gates * self.chunks
        multiply = warps * weights * self.sequences / 4
        read = warps * self.chunks * self.sequences * max(1, self.lanes / 8) + self.shared_weights / 128
        steps = self.lanes.bit_length() - 1
        fold = warps * self.gates * (steps + self.sequences - 1) * 0.75
        return max(multiply, read) + fold + 25 * steps + 350 + (EXCHANGE if self.blocks > 1 else MEETING)


def shapes(hidden: int, gates: int, sequences: int, states: int) -> Iterator[Shape]:
    """Those that fit, the quickest first."""
    found = (Shape(hidden, gates, blocks, lanes, sequences) for blocks, lanes in product(BLOCKS, LANES))
    yield from sorted((s for s in found if s.fits(states)), key=lambda s: (s.cycles, s.blocks))
