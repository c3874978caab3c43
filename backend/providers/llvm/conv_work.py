"""How convolutions are cut into units, and how threads with scratch memory of their own take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from trtn.backend.providers.llvm.conv_epilogue import write_context
from trtn.backend.providers.llvm.emitter import F32, I64, Emitter
from trtn.backend.providers.llvm.gemm.blocks import heights
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue
from trtn.backend.providers.llvm.gemm.threads import parallel_for, parallel_region
from trtn.backend.providers.llvm.gemm.tile import Tile
from trtn.dsl.records import record

__all__ = ["Cut", "Work", "least"]

CACHE = 480 << 10
"""Bytes of the second cache that a block may fill."""
LINE = 16
"""Elements of a cache line."""
AGAIN = 0.05
"""What making a block's rows once more, for another part of the columns, costs, as part of all work."""
UNEVEN = 0.1
"""What it costs where tiles of the products are lower than they could be."""


@record()
class Cut:
    """Units of a block of rows times a part of the columns. It has to do with the number of threads, but changes no
    result: each is computed alike in any block."""

    blocks: int
    parts: int
    threads: int
    """How many may be at work: each has scratch memory of its own."""

    @classmethod
    def of(cls, rows: int, room: int, fewest: int, columns: int, threads: int, tile: Tile) -> Cut:
        """What is guessed to be done first. `room` bytes are taken by each row of a block, which has `fewest` at least
        where there are so many; columns are counted in what can't be parted."""
        most = max(rows // fewest, 1)
        first = min(-(-rows * room // CACHE), most)
        _, blocks, parts = min(
            (cls._time(rows, blocks, parts, threads, tile), blocks, parts)
            for blocks in range(first, min(most, first + 2 * threads) + 1)
            for parts in {1, min(columns, threads)}
        )
        return cls(blocks, parts, min(threads, blocks * parts))

    @staticmethod
    def _time(rows: int, blocks: int, parts: int, threads: int, tile: Tile) -> float:
        """In rows that one thread does after another. With many units no one waits for the last."""
        largest, units = -(-rows // blocks), blocks * parts
        turns = -(-units // threads) if units < 4 * threads else units / threads
        uneven = min(heights(tile, [largest, rows // blocks])) < tile.rows - 1
        return turns * largest * (1 / parts + AGAIN * (parts > 1)) * (1 + UNEVEN * uneven)

    def counts(self, rows: int) -> tuple[int, int]:
        """The fewest and the most rows that a block has."""
        return rows // self.blocks, -(-rows // self.blocks)


class Work:
    """The numbers that a kernel reads, the scratch memory of its threads, and the loop over its units."""

    def __init__(self, cut: Cut, epilogue: Epilogue, numbers: Mapping[str, int], scratch: Mapping[str, int]) -> None:
        """`scratch` has elements of f32 of each thread's memory, by what for."""
        sizes = [-(-size // LINE) * LINE for size in scratch.values()]
        offsets = accumulate(sizes, initial=0)
        self.epilogue = epilogue
        self.scratch = tuple(scratch)
        self.workspace = 4 * sum(sizes) * cut.threads
        self.is_shared = cut.threads > 1
        self._numbers = {
            "threads": cut.threads,
            "blocks": cut.blocks,
            "parts": cut.parts,
            "size": sum(sizes),
            **numbers,
            **{f"at_{name}": at for name, at in zip(scratch, offsets, strict=False)},
        }

    @property
    def numbers(self) -> list[int]:
        return [*self._numbers.values(), *(o.stride for o in self.epilogue.operands), parallel_region()]

    def write(self, e: Emitter, pointers: Mapping[str, Any], unit: Callable[[dict[str, Any]], None]) -> None:
        """Into the body of a kernel: `unit` writes one, and gets `pointers`, the numbers, `context` (the epilogue's), its
        thread's scratch memory, and which `block` and `part` it is, by their names."""
        numbers = {name: e.given(value) for name, value in self._numbers.items()}
        context, counter = write_context(e, self.epilogue), e.table(1)
        e.store(I64(0), counter, I64(0), I64)
        values = {**pointers, "context": context, "counter": counter, **numbers}

        def turn(thread: Any, given: Sequence[Any]) -> None:
            """A thread takes units until there are none left."""
            b = e.b
            v = dict(zip(values, given, strict=True))
            own = e.at(v["scratch"], b.mul(thread, v["size"]), F32)
            v |= {name: e.at(own, v[f"at_{name}"], F32) for name in self.scratch}
            units = b.mul(v["blocks"], v["parts"])
            head, inside, after = (b.append_basic_block() for _ in range(3))
            b.branch(head)
            b.position_at_end(head)
            taken = b.atomic_rmw("add", v["counter"], I64(1), "monotonic")
            b.cbranch(b.icmp_unsigned("<", taken, units), inside, after)
            b.position_at_end(inside)
            unit({**v, "block": b.udiv(taken, v["parts"]), "part": b.urem(taken, v["parts"])})
            b.branch(head)
            b.position_at_end(after)

        parallel_for(e, numbers["threads"], list(values.values()), turn)


def least(e: Emitter, x: Any, y: Any) -> Any:
    return e.b.select(e.b.icmp_signed("<", x, y), x, y)
