"""Between real numbers and levels of integers: quantize_linear, dequantize_linear, dynamic_quantize_linear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.elementwise import elementwise_call
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program, Step
from trtn.backend.providers.codegen.rows import ACCUMULATORS
from trtn.backend.providers.codegen.walk import Walk, join, vector_width
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Layer

__all__ = ["FAMILY", "PARTS", "LevelsSpec", "QuantizeFamily", "RangeSpec", "levels_calls"]

PARTS = 264
"""Blocks that share the search for the least and the greatest element, two for each multiprocessor, at most."""
THREADS = 256
_LEVELS = ("i8", "u8", "i16", "u16", "i32")
_REALS = ("f32", "f16", "bf16")

EXTREMES = r"""
struct Extremes {
  float low, high;
  DEVICE void merge(const Extremes& o) { low = minimum(low, o.low); high = maximum(high, o.high); }
  DEVICE Extremes other(int lanes) const { return {__shfl_xor_sync(~0u, low, lanes), __shfl_xor_sync(~0u, high, lanes)}; }
};
"""


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """The least and the greatest of what each block has read, and 0."""

    source_dtype: str
    walk: Walk
    vector: int

    def source(self) -> str:
        source = C_TYPES[self.source_dtype]
        parameters = [
            f"const {source}* __restrict__ x",
            "float* __restrict__ parts",
            "const u32 count",
            *self.walk.parameters(),
        ]
        return "\n".join(
            [
                PRELUDE,
                ACCUMULATORS,
                EXTREMES,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  __shared__ Extremes shared[{THREADS // 32}];",
                "  LET_NEXT_START();",
                "  Extremes found = {0.0f, 0.0f};",
                "  WAIT_FOR_INPUTS();",
                f"  for (u32 i = blockIdx.x * {THREADS}u + threadIdx.x; i < count; i += gridDim.x * {THREADS}u) {{",
                *(f"    {line}" for line in self.walk.decode("i")),
                f"    float v[{self.vector}]; load<{self.vector}>(x + {self.walk.offset(0, self.vector)}, v);",
                "    #pragma unroll",
                f"    for (int k = 0; k < {self.vector}; k++) found.merge({{v[k], v[k]}});",
                "  }",
                f"  found = over_team<{THREADS}>(found, shared);",
                "  if (threadIdx.x == 0) { parts[2 * blockIdx.x] = found.low; parts[2 * blockIdx.x + 1] = found.high; }",
                "}",
                "",
            ]
        )


@dataclass(frozen=True, slots=True)
class LevelsSpec:
    """Levels of u8 of the range that all blocks of a RangeSpec have found. The first block writes scale and zero point."""

    source_dtype: str
    walk: Walk
    vector: int

    def source(self) -> str:
        source = C_TYPES[self.source_dtype]
        parameters = [
            f"const {source}* __restrict__ x", "const float* __restrict__ parts", "u8* __restrict__ y",
            "float* __restrict__ scale_of", "u8* __restrict__ zero_of", "const int blocks", "const u32 count",
            *self.walk.parameters(),
        ]  # fmt: skip
        x, y = (self.walk.offset(n, self.vector) for n in range(2))
        return "\n".join(
            [
                PRELUDE,
                ACCUMULATORS,
                EXTREMES,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  __shared__ Extremes shared[{THREADS // 32}];",
                "  LET_NEXT_START();",
                "  Extremes all = {0.0f, 0.0f};",
                "  WAIT_FOR_INPUTS();",
                f"  for (int k = threadIdx.x; k < blocks; k += {THREADS}) all.merge({{parts[2 * k], parts[2 * k + 1]}});",
                f"  all = over_team<{THREADS}>(all, shared);",
                "  const float spread = (all.high - all.low) / 255.0f, scale = spread == 0.0f ? 1.0f : spread;",
                "  const float zero = minimum(rint(-all.low / scale), 255.0f);",
                "  if (blockIdx.x == 0 && threadIdx.x == 0) { *scale_of = scale; *zero_of = (u8)zero; }",
                f"  for (u32 i = blockIdx.x * {THREADS}u + threadIdx.x; i < count; i += gridDim.x * {THREADS}u) {{",
                *(f"    {line}" for line in self.walk.decode("i")),
                f"    float v[{self.vector}]; load<{self.vector}>(x + {x}, v);",
                f"    u8 levels[{self.vector}];",
                "    #pragma unroll",
                f"    for (int k = 0; k < {self.vector}; k++)",
                "      levels[k] = (u8)minimum(maximum(rint(v[k] / scale) + zero, 0.0f), 255.0f);",
                f"    store<{self.vector}>(y + {y}, levels);",
                "  }",
                "}",
                "",
            ]
        )


def levels_calls(
    source: Operand, x: Slot, target: Operand, y: Slot, scale: Slot, zero: Slot, parts: Slot
) -> tuple[Call, Call]:
    """The launches that write u8 levels of an array that has elements, and the scale (f32) and zero point (u8) that its
    range asks for, as dsl.ops.quantization's `dynamic_levels` has them. `parts` has room for 2 * PARTS floats."""
    import numpy as np

    alone = join(source.shape, [source.strides])
    vector = vector_width(alone, [source.dtype.itemsize], [source.align], 8)
    walk = alone.walk()
    count = alone.count // vector
    blocks = min(-(-count // THREADS), PARTS)
    numbers = (np.uint32(count), *alone.arguments(walk, vector))
    search = Call(RangeSpec(source.dtype.name, walk, vector), (blocks, 1, 1), (THREADS, 1, 1), (x, parts, *numbers))
    both = join(source.shape, [source.strides, target.strides], leader=1)
    vector = vector_width(both, [source.dtype.itemsize, 1], [source.align, target.align], 8)
    walk = both.walk()
    count = both.count // vector
    numbers = (np.uint32(count), *both.arguments(walk, vector))
    grid = (min(-(-count // THREADS), 8 * PARTS), 1, 1)
    spec = LevelsSpec(source.dtype.name, walk, vector)
    write = Call(spec, grid, (THREADS, 1, 1), (x, parts, y, scale, zero, np.int32(blocks), *numbers))
    return search, write


class QuantizeFamily:
    """quantize_linear and dequantize_linear with a number for all elements or one for each index of an axis, and
    dynamic_quantize_linear."""

    name = "quantize"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if layer.op.name not in ("quantize_linear", "dequantize_linear", "dynamic_quantize_linear"):
            return "it is not a quantization"
        if len(group.layers) > 1:
            return "it is more than a layer"
        if layer.op.name == "dynamic_quantize_linear":
            missing = [t for t in layer.outputs if all(t is not o for o in group.outputs)]
            return "not all of its results are asked for" if missing else ""
        if layer.attrs["block"]:
            return "a scale for each block"
        levels, real = (
            (layer.output, layer.inputs[0]) if layer.op.name == "quantize_linear" else (layer.inputs[0], layer.output)
        )
        assert real is not None and levels is not None
        if real.dtype.name not in _REALS or levels.dtype.name not in _LEVELS:
            return f"between {real.dtype} and {levels.dtype}"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic("levels")]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        layer = group.layers[0]
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        operands = [*inputs, *outputs]
        if layer.op.name == "dynamic_quantize_linear":
            if inputs[0].size == 0:
                raise TacticError("no elements")
            x = number[id(layer.inputs[0])]
            y, scale, zero = (number[id(t)] for t in layer.outputs)
            parts = Slot(len(operands))
            calls = levels_calls(operands[x], Slot(x), operands[y], Slot(y), Slot(scale), Slot(zero), parts)
            return Plan(calls, (8 * PARTS,))
        given = [number[id(t)] for t in layer.inputs if t is not None]
        (y,) = (number[id(t)] for t in layer.outputs)
        shape = operands[y].shape
        spread = [_spread(operands[n], len(shape), layer.attrs["axis"]) for n in given[1:]]
        program = _program(layer, [operands[n].dtype.name for n in given])
        slots = [Slot(n) for n in (*given, y)]
        return Plan(tuple(elementwise_call(program, shape, [operands[given[0]], *spread], [operands[y]], slots)))


def _spread(parameter: Operand, rank: int, axis: int) -> Operand:
    """A scale or zero point such that it broadcasts along all axes but one."""
    if parameter.size == 1:
        return Operand((), (), parameter.dtype, parameter.align)
    after = rank - axis - 1
    return Operand(
        (*parameter.shape, *(1,) * after), (*parameter.strides, *(0,) * after), parameter.dtype, parameter.align
    )


def _program(layer: Layer, dtypes: Sequence[str]) -> Program:
    """The layer as steps over x, the scale, and a zero point where it has one; in f32."""
    steps: list[Step] = []

    def add(op: str, arguments: Sequence[int], dtype: str, **attrs: object) -> int:
        steps.append(Step(op, tuple(arguments), dtype, tuple(sorted(attrs.items()))))
        return len(dtypes) + len(steps) - 1

    def cast(value: int, dtype: str) -> int:
        return add("cast", [value], dtype, to=dtype, saturate=True)

    result = layer.output.dtype.name
    if layer.op.name == "quantize_linear":
        levels = BY_NAME[result]
        low = -(1 << (levels.bits - 1)) if levels.kind == "i" else 0
        value = add("round", [add("div", [cast(0, "f32"), cast(1, "f32")], "f32")], "f32")
        value = value if len(dtypes) < 3 else add("add", [value, cast(2, "f32")], "f32")
        value = add("clip", [value], "f32", min=float(low), max=float(low + (1 << levels.bits) - 1))
    else:
        # Differences of integers are made as integers: those of i32 are not exact in f32.
        value = 0 if len(dtypes) < 3 else add("sub", [cast(0, "i32"), cast(2, "i32")], "i32")
        value = add("mul", [cast(value, "f32"), cast(1, "f32")], "f32")
    last = cast(value, result)
    return Program(tuple(dtypes), tuple(steps), (last,))


FAMILY = QuantizeFamily()
