"""Two small products of one vector a sample: a block makes all of a sample's results, with the vector between them in
shared memory. Waiting for weights is all that takes time, so each product has all of its reads on their way at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.fusion.gpu.excitation import vector_product_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS
from trtn.dsl.network import Layer

__all__ = ["FAMILY", "ExcitationFamily", "ExcitationSpec", "Stage", "dense_weight", "matrix_of"]

THREADS = 1024
WARPS = THREADS // 32
ROWS = 2
"""Elements of the vector between that a warp makes side by side."""
PARTIAL = 7168
"""Partial sums of the second product in shared memory at most."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What follows a product: its bias, and a program over the result and constants by channel."""

    bias: bool
    epilogue: Program

    def operands(self, number: int) -> list[str]:
        """Names of the bias and the constants."""
        return [*[f"bias{number}"] * self.bias, *(f"e{number}_{n}" for n in range(len(self.epilogue.inputs) - 1))]

    def pointers(self, number: int, stored: str) -> list[str]:
        kinds = [*[stored] * self.bias, *(C_TYPES[d] for d in self.epilogue.inputs[1:])]
        return [f"const {k}* __restrict__ {n}" for k, n in zip(kinds, self.operands(number), strict=True)]

    def finish(self, number: int, total: str, at: str) -> tuple[str, str]:
        """Statements, and the value of element `at` that they make of a sum."""
        names = self.operands(number)
        reads = " ".join(f"const float {n}_v = load({n} + {at});" for n in names)
        sum_ = f"const float t{number} = {total}{f' + bias{number}_v' if self.bias else ''};"
        constants = [f"{n}_v" for n in names[self.bias :]]
        statements, (value,) = self.epilogue.statements([f"t{number}", *constants], prefix=f"v{number}_")
        return f"{reads} {sum_} {' '.join(statements)}", value


@dataclass(frozen=True, slots=True)
class ExcitationSpec:
    """Weights lie as [middle, given] and [middle, made]."""

    dtype: str
    given: int
    middle: int
    made: int
    stages: tuple[Stage, Stage]

    def source(self) -> str:
        stored, (first, second) = C_TYPES[self.dtype], self.stages
        lanes = 16 // (4 if self.dtype == "f32" else 2)
        vector, wide = _divisor(self.given, lanes), _divisor(self.made, lanes)
        across = min(self.made // wide, THREADS)
        groups = max(1, min(THREADS // across, self.middle, PARTIAL // self.made))
        before, between = first.finish(0, "over_team<32>(Sum<float>{sums[r]}, (Sum<float>*)0).v", "m")
        after, value = second.finish(1, "total", "o")
        pointers = [
            f"const {stored}* __restrict__ x", f"const {stored}* __restrict__ w0", f"const {stored}* __restrict__ w1",
            *first.pointers(0, stored), *second.pointers(1, stored), f"{stored}* __restrict__ y",
        ]  # fmt: skip
        strides = ", ".join(f"const i64 {n}" for n in ("xn", "xc", "yn", "yc"))
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(pointers)}, {strides}) {{',
                f"  constexpr int GIVEN = {self.given}, MIDDLE = {self.middle}, MADE = {self.made};",
                f"  constexpr int V = {vector}, W = {wide}, ACROSS = {across}, GROUPS = {groups};",
                "  alignas(16) __shared__ float given[GIVEN];",
                "  __shared__ float middle[MIDDLE];",
                "  alignas(16) __shared__ float partial[GROUPS][MADE];",
                "  const i64 n = blockIdx.x;",
                "  const int lane = threadIdx.x % 32;",
                "  LET_NEXT_START();",
                "  WAIT_FOR_INPUTS();",
                f"  for (int c = threadIdx.x; c < GIVEN; c += {THREADS}) given[c] = load(x + n * xn + c * xc);",
                "  __syncthreads();",
                f"  for (int start = threadIdx.x / 32; start < MIDDLE; start += {WARPS * ROWS}) {{",
                f"    float sums[{ROWS}] = {{}};",
                "    #pragma unroll 8",
                "    for (int c = lane * V; c < GIVEN; c += 32 * V)",
                "      #pragma unroll",
                f"      for (int r = 0; r < {ROWS}; r++) if (start + r * {WARPS} < MIDDLE) {{",
                f"        float w[V]; load<V>(w0 + (start + r * {WARPS}) * GIVEN + c, w);",
                "        #pragma unroll",
                "        for (int j = 0; j < V; j++) sums[r] += w[j] * given[c + j];",
                "      }",
                "    #pragma unroll",
                f"    for (int r = 0; r < {ROWS}; r++) if (start + r * {WARPS} < MIDDLE) {{",
                f"      const int m = start + r * {WARPS};",
                f"      {before}",
                f"      if (lane == 0) middle[m] = {between};",
                "    }",
                "  }",
                "  __syncthreads();",
                "  const int group = threadIdx.x / ACROSS;",
                "  if (group < GROUPS) for (int o = threadIdx.x % ACROSS * W; o < MADE; o += ACROSS * W) {",
                "    float sums[W] = {};",
                "    #pragma unroll 8",
                "    for (int m = group; m < MIDDLE; m += GROUPS) {",
                "      float w[W]; load<W>(w1 + m * MADE + o, w);",
                "      #pragma unroll",
                "      for (int j = 0; j < W; j++) sums[j] += w[j] * middle[m];",
                "    }",
                "    #pragma unroll",
                "    for (int j = 0; j < W; j++) partial[group][o + j] = sums[j];",
                "  }",
                "  __syncthreads();",
                f"  for (int o = threadIdx.x; o < MADE; o += {THREADS}) {{",
                "    float total = 0.0f;",
                "    #pragma unroll",
                "    for (int k = 0; k < GROUPS; k++) total += partial[k][o];",
                f"    {after}",
                f"    store(y + n * yn + o * yc, {value});",
                "  }",
                "}",
                "",
            ]
        )


class ExcitationFamily:
    """Groups of kind `excitation`."""

    name = "excitation"

    def refusal(self, group: Group) -> str:
        products = _products(group)
        if len(products) != 2 or products[0] != 0:
            return "it is no pair of products"
        first, second = _halves(group)
        refusals = (vector_product_refusal(group.layers[n]) for n in products)
        refusal = next(filter(None, (*refusals, epilogue_refusal(first), epilogue_refusal(second))), "")
        if refusal:
            return refusal
        if group.layers[products[1]].inputs[0] is not first.outputs[0] or len(group.outputs) != 1:
            return "its second product is not of the first one's result alone"
        if epilogue_of(first).tensors or epilogue_of(second).tensors:
            return "a tensor enters its epilogue"
        if group.outputs[0].dtype is not group.layers[0].output.dtype:
            return "its result has another dtype than its products"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("block", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        halves = _halves(group)
        layers = [half.layers[0] for half in halves]
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at = number[id(layers[0].inputs[0])]
        x = inputs[at]
        (middle, given), (made, _) = (matrix_of(layer) for layer in layers)
        weights: list[Slot] = []
        scratch: list[int] = []
        once: list[Call] = []
        for layer, shape, transposed in zip(layers, ((middle, given), (middle, made)), (False, True), strict=True):
            packed = Slot(len(inputs) + len(outputs) + len(scratch))
            slot, size, calls = dense_weight(layer, number, inputs, packed, shape, transposed)
            weights.append(slot)
            scratch += size
            once += calls
        epilogues = [epilogue_of(half) for half in halves]
        stages = [Stage(len(layer.inputs) > 2, e.program) for layer, e in zip(layers, epilogues, strict=True)]
        operands = [
            Slot(n)
            for layer, e in zip(layers, epilogues, strict=True)
            for n in (*(number[id(t)] for t in layer.inputs[2:] if t is not None), *e.channels)
        ]
        spec = ExcitationSpec(x.dtype.name, given, middle, made, (stages[0], stages[1]))
        numbers = map(np.int64, (x.strides[0], x.strides[1], y.strides[0], y.strides[1]))
        arguments = (Slot(at), *weights, *operands, Slot(len(inputs)), *numbers)
        call = Call(spec, (y.shape[0], 1, 1), (THREADS, 1, 1), arguments)
        return Plan((call,), tuple(scratch), tuple(once))


FAMILY = ExcitationFamily()


def _products(group: Group) -> list[int]:
    return [n for n, layer in enumerate(group.layers) if layer.op.name in ("conv", "linear")]


def _halves(group: Group) -> tuple[Group, Group]:
    """Each product with what follows it; inputs are those of the whole group, so that their numbers are, too."""
    middle = _products(group)[1]
    parts = (group.layers[:middle], group.layers[middle:])
    first, second = (Group("gemm", part, group.inputs, (part[-1].output,)) for part in parts)
    return first, second


def matrix_of(layer: Layer) -> tuple[int, int]:
    """Results and inputs of a product."""
    weight = layer.inputs[1]
    assert weight is not None and weight.weight is not None
    rows, columns = weight.weight.shape[:2]
    return (columns, rows) if layer.op.name == "linear" else (rows, columns)


def dense_weight(
    layer: Layer,
    number: Mapping[int, int],
    inputs: Sequence[Operand],
    packed: Slot,
    shape: tuple[int, int],
    transposed: bool,
) -> tuple[Slot, list[int], list[Call]]:
    """Where a product's weight lies densely as [results, inputs], or transposed: where it is, or in scratch memory,
    with the latter's size and the launches that fill it."""
    at = number[id(layer.inputs[1])]
    held = _as_matrix(inputs[at], layer, transposed)
    dense = Operand(shape, (shape[1], 1), held.dtype)
    if held.strides == dense.strides and held.align == 16:
        return Slot(at), [], []
    copy = copy_program(held.dtype.name, held.dtype.name)
    calls = elementwise_call(copy, shape, (held,), (dense,), (Slot(at), packed))
    return packed, [dense.size * dense.dtype.itemsize], list(calls)


def _as_matrix(weight: Operand, layer: Layer, transposed: bool) -> Operand:
    """The weight as [results, inputs], or transposed."""
    shape, strides = weight.shape[:2], weight.strides[:2]
    if (layer.op.name == "linear") != transposed:
        shape, strides = shape[::-1], strides[::-1]
    return Operand(shape, strides, weight.dtype, weight.align)


def _divisor(size: int, most: int) -> int:
    """The largest power of two up to `most` that divides a size."""
    return min(most, size & -size)
