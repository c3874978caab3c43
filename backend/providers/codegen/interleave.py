"""Elementwise kernels for results whose fastest axis is short, as the channels of an image are, while inputs have them far apart.

A thread takes some neighbouring places with all of their channels: it reads a vector of each channel and writes the places as they
lie, so that planes become pixels at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.family import Call, Operand, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width

__all__ = ["InterleavedSpec", "interleaved_call"]

THREADS = 128
MOST = 4
"""Channels: each is a vector in registers, of every operand."""
PLANES, PIXELS, CHANNELS = "planes", "pixels", "channels"
"""How an operand lies: each channel's places side by side, each place's channels side by side, or one element a channel for all
places."""


@dataclass(frozen=True, slots=True)
class InterleavedSpec:
    """The walk leaves the channels out; its last axis counts `width` places."""

    program: Program
    walk: Walk
    lies: tuple[str, ...]
    channels: int
    width: int

    def source(self) -> str:
        program, names = self.program, self.program.names
        inputs = names[: len(program.inputs)]
        steps = [f"const i64 c_{n}" for n, how in zip(names, self.lies, strict=True) if how != PIXELS]
        parameters = [*program.pointers, "const u32 count", *steps, *self.walk.parameters()]
        types = {n: f"typename Compute<{C_TYPES[d]}>::type" for n, d in zip(names, program.operands, strict=True)}
        lies = dict(zip(names, self.lies, strict=True))
        values = {
            PLANES: "a_{0}[c][k]",
            PIXELS: "a_{0}[(k * N + c) / W][(k * N + c) % W]",
            CHANNELS: "a_{0}[c]",
        }
        statements, results = program.statements([values[lies[n]].format(n) for n in inputs])
        writes = [
            f"r_{n}[(k * N + c) / W][(k * N + c) % W] = {value};"
            for n, value in zip(names[len(inputs) :], results, strict=True)
        ]
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                "template <int N, int W> struct Body {",
                *self._body(inputs, names, types, lies, statements, writes),
                "};",
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in self.walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *(f"  {n} += {self.walk.offset(k, self.width)};" for k, n in enumerate(names)),
                f"  Body<{self.channels}, {self.width}>::run({', '.join([*names, *(s.split()[-1] for s in steps)])});",
                "}",
                "",
            ]
        )

    def _body(
        self,
        inputs: Sequence[str],
        names: Sequence[str],
        types: dict[str, str],
        lies: dict[str, str],
        statements: Sequence[str],
        writes: Sequence[str],
    ) -> list[str]:
        steps = [f"const i64 c_{n}" for n in names if lies[n] != PIXELS]
        lines = [f"static DEVICE void run({', '.join([*self.program.pointers, *steps])}) {{"]
        for n in inputs:
            if lies[n] == CHANNELS:
                lines.append(f"{types[n]} a_{n}[N]; for (int c = 0; c < N; c++) a_{n}[c] = load({n} + c * c_{n});")
            else:
                step = f"c_{n}" if lies[n] == PLANES else "W"
                lines.append(
                    f"{types[n]} a_{n}[N][W]; for (int c = 0; c < N; c++) load<W>({n} + c * {step}, a_{n}[c]);"
                )
        results = names[len(inputs) :]
        lines += [f"{types[n]} r_{n}[N][W];" for n in results]
        lines += [
            "#pragma unroll",
            "for (int k = 0; k < W; k++)",
            "#pragma unroll",
            f"for (int c = 0; c < N; c++) {{ {' '.join([*statements, *writes])} }}",
            *(f"for (int c = 0; c < N; c++) store<W>({n} + c * W, r_{n}[c]);" for n in results),
            "}",
        ]
        return [f"  {line}" for line in lines]


def interleaved_call(
    program: Program, geometry: Geometry, operands: Sequence[Operand], slots: Sequence[Slot]
) -> Call | None:
    """The launch, where operands lie like this. The geometry's last axis is the results' fastest."""
    import numpy as np

    channels = geometry.sizes[-1]
    if len(geometry.sizes) < 2 or not 2 <= channels <= MOST:
        return None
    found = [_lies(own, channels) for own in geometry.strides]
    lies = tuple(how for how in found if how)
    if len(lies) < len(found) or PLANES not in lies or any(how != PIXELS for how in lies[len(program.inputs) :]):
        return None
    width = _width(geometry, operands, lies)
    if width == 1:
        return None
    outer = Geometry(geometry.sizes[:-1], tuple(own[:-1] for own in geometry.strides))
    walk = outer.walk()
    count = outer.count // width
    steps = tuple(np.int64(own[-1]) for own, how in zip(geometry.strides, lies, strict=True) if how != PIXELS)
    spec = InterleavedSpec(program, walk, lies, channels, width)
    numbers = (np.uint32(count), *steps, *outer.arguments(walk, width))
    return Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *numbers))


def _lies(strides: tuple[int, ...], channels: int) -> str:
    """How an operand with these strides lies; "" for none of the ways."""
    if strides[-2] == 0:
        return CHANNELS
    if strides[-2] == channels and strides[-1] == 1:
        return PIXELS
    return PLANES if strides[-2] == 1 and strides[-1] != 1 else ""


def _width(geometry: Geometry, operands: Sequence[Operand], lies: Sequence[str]) -> int:
    """Places whose vectors are aligned in every operand."""
    sizes = (geometry.sizes[-1], *geometry.sizes[:-1])
    strides = []
    for own, how in zip(geometry.strides, lies, strict=True):
        # A vector of pixels moves along memory as one of a plane does; what else moves an address is the same.
        along = {PLANES: 1, PIXELS: 1, CHANNELS: 0}[how]
        across = own[-1] if how == PLANES else 0
        strides.append((across, *(own[:-2] if how != CHANNELS else (0,) * (len(own) - 2)), along))
    return vector_width(
        Geometry(sizes, tuple(strides)), [o.dtype.itemsize for o in operands], [o.align for o in operands], 8
    )
