"""Kernels that apply a program to each position of some operands: read, compute, write, in vectors where memory
allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.family import Call, Operand, Slot, grid_for
from trtn.backend.providers.codegen.interleave import interleaved_call
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program, Step
from trtn.backend.providers.codegen.walk import SAME, Geometry, Walk, broadcast_strides, join, vector_width

__all__ = ["ElementwiseSpec", "TiledSpec", "apply_function", "copy_program", "elementwise_call"]

THREADS = 256
TILE = 32
ROWS = 8
"""A tile of 32 x 32 elements is moved by 32 x 8 threads."""
_WORTH_TILING = 16
"""Axes shorter than this leave most of a tile empty."""


@dataclass(frozen=True, slots=True)
class ElementwiseSpec:
    """Each thread takes `vector` neighbours. With `tail`, for dense operands, what is left over is taken one by one."""

    program: Program
    walk: Walk
    vector: int
    tail: bool = False

    def source(self) -> str:
        names = self.program.names
        offsets = [f"{name} + {self.walk.offset(n, self.vector)}" for n, name in enumerate(names)]
        constant = [p.endswith(SAME) or not p for p in self.walk.patterns]
        call = f"apply<{self.vector}>({', '.join(offsets)});"
        body = [call]
        if self.tail:
            one = ", ".join(name if fixed else f"{name} + k" for name, fixed in zip(names, constant, strict=True))
            body = [
                f"if ((i + 1) * {self.vector} > total) {{",
                f"  for (u32 k = i * {self.vector}; k < total; k++) apply<1>({one});",
                "  return;",
                "}",
                *body,
            ]
        parameters = [
            *self.program.pointers,
            "const u32 count",
            *(["const u32 total"] if self.tail else []),
            *self.walk.parameters(),
        ]
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                apply_function(self.program, constant),
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in self.walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *(f"  {line}" for line in body),
                "}",
                "",
            ]
        )


@dataclass(frozen=True, slots=True)
class TiledSpec:
    """For inputs that lie in another order than the results: tiles of them go through shared memory, so that both
    sides are
    read and written along their own fastest axis.

    The walk's last axis is the results' fastest, the one before it that of the `staged` inputs.
    """

    program: Program
    walk: Walk
    staged: tuple[bool, ...]
    """By operand, inputs and results."""

    def source(self) -> str:
        program, walk, rank = self.program, self.walk, self.walk.rank
        across, along = f"wi{rank - 2}", f"wi{rank - 1}"
        names = program.names
        types = [C_TYPES[d] for d in program.operands]
        shared = [f"  __shared__ {types[n]} tile{n}[{TILE}][{TILE} + 1];" for n, held in enumerate(self.staged) if held]
        fill = [
            f"      tile{n}[k][threadIdx.x] = {names[n]}[{walk.offset(n)}];"
            for n, held in enumerate(self.staged)
            if held
        ]
        arguments = [
            f"&tile{n}[threadIdx.x][k]" if held else f"{names[n]} + {walk.offset(n)}"
            for n, held in enumerate(self.staged)
        ]
        batch = ["const u32 batch = tile / tiles; const u32 b = tile - batch * tiles;", *_batch(walk)]
        place = f"      const u32 {across} = {{0}}, {along} = {{1}}; if ({across} < wd{rank - 2} && {along} < wd{rank - 1}) {{{{"
        parameters = [
            *program.pointers,
            "const u32 tiles",
            "const u32 columns",
            *_all_sizes(walk),
            *walk.parameters()[rank - 1 :],
        ]
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                apply_function(program, [True] * len(names)),
                f'extern "C" __global__ void __launch_bounds__({TILE * ROWS}) kernel({", ".join(parameters)}) {{',
                *shared,
                "  LET_NEXT_START();",
                "  const u32 tile = blockIdx.x;",
                *(f"  {line}" for line in batch),
                f"  const u32 first = b / columns * {TILE}u, second = b % columns * {TILE}u;",
                "  WAIT_FOR_INPUTS();",
                "  #pragma unroll",
                f"  for (int k = threadIdx.y; k < {TILE}; k += {ROWS}) {{",
                place.format("first + threadIdx.x", "second + k"),
                *fill,
                "      }",
                "  }",
                "  __syncthreads();",
                "  #pragma unroll",
                f"  for (int k = threadIdx.y; k < {TILE}; k += {ROWS}) {{",
                place.format("first + k", "second + threadIdx.x"),
                f"      apply<1>({', '.join(arguments)});",
                "      }",
                "  }",
                "}",
                "",
            ]
        )


def _batch(walk: Walk) -> list[str]:
    """Split the tile's batch number over the axes before the two that tiles cover."""
    lines, rest = [], "batch"
    for axis in range(walk.rank - 3, 0, -1):
        lines += [f"const u32 wr{axis} = {rest} / wd{axis};", f"const u32 wi{axis} = {rest} - wr{axis} * wd{axis};"]
        rest = f"wr{axis}"
    return [*lines, f"const u32 wi0 = {rest};"] if walk.rank > 2 else lines


def _all_sizes(walk: Walk) -> list[str]:
    return [f"const u32 wd{axis}" for axis in range(walk.rank)]


def apply_function(program: Program, constant: Sequence[bool]) -> str:
    """`apply<V>`: the program on V neighbours. Pointers stand at the first; an operand that is `constant` there has
    one element
    for all of them."""
    names = program.names
    inputs, results = names[: len(program.inputs)], names[len(program.inputs) :]
    held = dict(zip(names, constant, strict=True))
    types = dict(zip(names, (C_TYPES[d] for d in program.operands), strict=True))
    lines = ["template <int V> DEVICE void apply(" + ", ".join(program.pointers) + ") {"]
    for name in inputs:
        compute = f"typename Compute<{types[name]}>::type"
        lines.append(
            f"  const {compute} a_{name} = load({name});"
            if held[name]
            else f"  {compute} a_{name}[V]; load<V>({name}, a_{name});"
        )
    lines += [f"  typename Compute<{types[name]}>::type r_{name}[V];" for name in results]
    statements, values = program.statements([f"a_{name}" if held[name] else f"a_{name}[k]" for name in inputs])
    lines += ["  #pragma unroll", "  for (int k = 0; k < V; k++) {", *(f"    {s}" for s in statements)]
    lines += [f"    r_{name}[k] = {value};" for name, value in zip(results, values, strict=True)]
    lines += ["  }", *(f"  store<V>({name}, r_{name});" for name in results), "}"]
    return "\n".join(lines)


def copy_program(source: str, target: str) -> Program:
    """One input, one result: the same elements, in another dtype where they differ."""
    if source == target:
        return Program((source,), (), (0,))
    attrs = (("saturate", True), ("to", target))
    return Program((source,), (Step("cast", (0,), target, attrs),), (1,))


def elementwise_call(
    program: Program, shape: Sequence[int], inputs: Sequence[Operand], outputs: Sequence[Operand], slots: Sequence[Slot]
) -> list[Call]:
    """The launch that applies a program: none where there is nothing to write."""
    operands = [*inputs, *outputs]
    strides = [broadcast_strides(o.shape, o.strides, shape) for o in operands]
    geometry = join(shape, strides, leader=len(inputs))
    if geometry.count == 0:
        return []
    tiled = _tiled(program, geometry, len(inputs), slots)
    if tiled is not None:
        return [tiled]
    itemsizes, aligns = [o.dtype.itemsize for o in operands], [o.align for o in operands]
    width = vector_width(geometry, itemsizes, aligns, _most_lanes(operands))
    if width == 1:
        interleaved = interleaved_call(program, geometry, operands, slots)
        if interleaved is not None:
            return [interleaved]
    tail = False
    if width == 1 and len(geometry.sizes) == 1 and geometry.count > THREADS:
        whole = Geometry((geometry.sizes[0] // 16 * 16,), geometry.strides)
        width = vector_width(whole, itemsizes, aligns, _most_lanes(operands))
        tail = width > 1
    walk = geometry.walk()
    count = -(-geometry.count // width)
    spec = ElementwiseSpec(program, walk, width, tail)
    return [
        Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), _arguments(slots, count, geometry, walk, width, tail))
    ]


def _arguments(
    slots: Sequence[Slot], count: int, geometry: Geometry, walk: Walk, width: int, tail: bool
) -> tuple[Any, ...]:
    import numpy as np

    total = (np.uint32(geometry.count),) if tail else ()
    return (*slots, np.uint32(count), *total, *geometry.arguments(walk, width))


def _most_lanes(operands: Sequence[Operand]) -> int:
    """Lanes for which the widest operand takes no more than two vectors of 16 bytes."""
    return max(1, 32 // max(o.dtype.itemsize for o in operands))


def _tiled(program: Program, geometry: Geometry, inputs: int, slots: Sequence[Slot]) -> Call | None:
    """A launch in tiles, where an input is dense along another long axis than the results are."""
    import numpy as np

    last = len(geometry.sizes) - 1
    if last < 1 or geometry.sizes[last] < _WORTH_TILING or any(own[last] != 1 for own in geometry.strides[inputs:]):
        return None
    axes = {
        own.index(1)
        for own in geometry.strides[:inputs]
        if 1 in own and own[last] not in (0, 1) and geometry.sizes[own.index(1)] >= _WORTH_TILING
    }
    if len(axes) != 1:
        return None
    across = axes.pop()
    order = [a for a in range(last) if a != across] + [across, last]
    turned = Geometry(
        tuple(geometry.sizes[a] for a in order), tuple(tuple(own[a] for a in order) for own in geometry.strides)
    )
    staged = tuple(
        n < inputs and own[last - 1] == 1 and own[last] not in (0, 1) for n, own in enumerate(turned.strides)
    )
    walk = turned.walk()
    rows, columns = (-(-turned.sizes[a] // TILE) for a in (last - 1, last))
    batch = turned.count // (turned.sizes[last - 1] * turned.sizes[last])
    sizes = tuple(np.uint32(d) for d in turned.sizes)
    arguments = (*slots, np.uint32(rows * columns), np.uint32(columns), *sizes, *turned.arguments(walk)[last:])
    return Call(TiledSpec(program, walk, staged), (batch * rows * columns, 1, 1), (TILE, ROWS, 1), arguments)
