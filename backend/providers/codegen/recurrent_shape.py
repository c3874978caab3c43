"""How a recurrent layer is spread over a GPU: blocks of a cluster share the units, lanes the terms of a unit's sums."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster

__all__ = ["SEQUENCES", "Shape", "best_shape", "shapes"]

SEQUENCES = (1, 2, 4, 8)
"""Sequences that a cluster may take at a time."""
BLOCKS = (1, 2, 4, 8, 16)
LANES = (4, 8, 16)
MOST_THREADS = 512
REGISTERS = 65536
"""Of a multiprocessor."""
MOST_REGISTERS = 240
"""Of a thread."""
OTHERS = 56
"""Registers of a thread that hold neither weights nor sums."""
STEP, GATE, ELSEWHERE = 390, 60, 210
"""Cycles that a step waits whatever its size, for each gate more, and for other blocks."""
FINISH = 150
"""Instructions of a warp in a step beside its products."""
PACKET = 4.5
"""Cycles for what a warp has for one other block."""
RARE = 1.1
"""What makes up for clusters that are larger than every GPU has them: there is room for few at a time."""


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
        room = min(MOST_REGISTERS, REGISTERS // self.threads // 8 * 8) - OTHERS - self.gates * self.sequences
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
        """Estimate of a step's time, within some 20 % of what was measured on an H200: what it waits for, and what the
        busiest quarter of a multiprocessor does."""
        products = max(4 * self.gates * self.chunks * self.sequences, 16 * self.chunks)
        work = -(-self.threads // 128) * (products + FINISH) + self.shared_weights / 128
        packets = self.hidden * self.lanes / 32 * self.sequences * PACKET
        cycles = STEP + GATE * self.gates + work + (ELSEWHERE + packets if self.blocks > 1 else 0)
        return cycles * (RARE if self.blocks > cluster.PORTABLE else 1)


def best_shape(hidden: int, gates: int, blocks: int, sequences: int, states: int) -> Shape | None:
    """The quickest that fits for so many blocks and sequences."""
    found = (Shape(hidden, gates, blocks, lanes, sequences) for lanes in LANES)
    return min((s for s in found if s.fits(states)), key=_cycles, default=None)


def shapes(hidden: int, gates: int, states: int) -> list[Shape]:
    """For one sequence, those of each number of blocks, the quickest first."""
    found = (best_shape(hidden, gates, blocks, 1, states) for blocks in BLOCKS)
    return sorted((s for s in found if s is not None), key=_cycles)


def _cycles(shape: Shape) -> float:
    return shape.cycles
