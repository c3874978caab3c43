"""grid_sample: a thread reads a place of the grid, and mixes the elements around it, of some channels or of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width

__all__ = ["FAMILY", "GridSampleFamily", "GridSampleSpec"]

THREADS = 128

LIBRARY = r"""
DEVICE float bounded(float at, int size) { return at < 0 ? 0.0f : at < (float)size ? at : (float)size - 1; }
// Thrown back at both ends until it is within.
DEVICE float mirrored(float at, float low, float high) {
  const float turn = 2 * (high - low);
  if (turn <= 0) return 0;
  if (at >= low && at <= high) return at;
  float rest = fmod(at - low, turn);
  if (rest < 0) rest += turn;
  return low + minimum(rest, turn - rest);
}
"""

HELD = {
    "zeros": "",
    "border": "at = minimum(maximum(at, 0.0f), (float)size - 1);",
    "reflection": "at = mirrored(at, low, high);",
}
"""What becomes of a place outside, before the elements around it are looked for."""
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
WEIGHTS = {
    "nearest": "1",
    "linear": "1 - d",
    "cubic": "d <= 1 ? (1 - d) * (1 + d - 1.25f * d * d) : -0.75f * (d - 1) * (d - 2) * (d - 2)",
}
"""By the distance d, in (0, 2), with the coefficient -0.75."""


@dataclass(frozen=True, slots=True)
class GridSampleSpec:
    """The walk's operands are y and the grid without its last axis; `order` says which axis of y each of its axes is."""

    dtype: str
    grid: str
    mode: str
    padding: str
    align_corners: bool
    order: tuple[int, ...]
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, walk, kind = C_TYPES[self.dtype], self.walk, self.walk.offset_type
        rank = len(self.order)
        spatial = range(2, rank)
        parameters = [
            f"const {stored}* __restrict__ x", f"const {C_TYPES[self.grid]}* __restrict__ grid", f"{stored}* __restrict__ y",
            "const u32 count", f"const {kind} next", *(f"const {kind} x{a}" for a in range(rank)),
            *(f"const int d{a}" for a in spatial), *walk.parameters(),
        ]  # fmt: skip
        places = {axis: f"wi{n}" for n, axis in enumerate(self.order)}
        places[self.order[-1]] += f" * {self.vector}" if self.vector > 1 else ""
        place = " + ".join(f"({kind})t{a}.at[k{a}] * x{a}" for a in spatial)
        return "\n".join(
            [
                PRELUDE,
                LIBRARY,
                *self._taps(),
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                f"  constexpr int V = {self.vector};",
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  grid += {walk.offset(1, self.vector)};",
                f"  x += ({kind}){places[0]} * x0 + ({kind}){places[1]} * x1;",
                # the last axis has the first coordinate
                *(f"  const Taps t{a} = taps_of((float)load(grid + {rank - 1 - a} * next), d{a});" for a in spatial),
                "  C sum[V] = {};",
                *(f"  for (int k{a} = 0; k{a} < {TAPS[self.mode]}; k{a}++)" for a in spatial),
                "  {",
                f"    const C weight = {' * '.join(f't{a}.weight[k{a}]' for a in spatial)};",
                "    C e[V];",
                f"    load<V>(x + {place}, e);",
                "    for (int j = 0; j < V; j++) sum[j] += e[j] * weight;",
                "  }",
                f"  store<V>(y + {walk.offset(0, self.vector)}, sum);",
                "}",
                "",
            ]
        )

    def _taps(self) -> list[str]:
        """The elements around a coordinate and their weights, in f32 as the reference computes them."""
        taps = TAPS[self.mode]
        first = {"nearest": "at", "linear": "floor(at)", "cubic": "floor(at) - 1"}[self.mode]
        held = "" if self.mode == "cubic" and self.padding == "border" else HELD[self.padding]
        ends = ("0", "(float)size - 1") if self.align_corners else ("-0.5f", "(float)size - 0.5f")
        return [
            f"struct Taps {{ int at[{taps}]; float weight[{taps}]; }};",
            "DEVICE Taps taps_of(float coordinate, int size) {",
            f"  const float low = {ends[0]}, high = {ends[1]};",
            "  float at = __fmul_rn(coordinate + 1, (high - low) / 2) + low;",
            *(["  at = rint(at);"] if self.mode == "nearest" else []),
            f"  {held}",
            f"  const float first = {first};",
            "  Taps t;",
            "  #pragma unroll",
            f"  for (int k = 0; k < {taps}; k++) {{",
            f"    {'' if self.mode == 'nearest' else 'const float d = abs(at - (first + k));'}",
            "    float tap = first + k;",
            f"    t.weight[k] = {WEIGHTS[self.mode]};",
            *(["    tap = mirrored(tap, low, high);"] if self.padding == "reflection" else []),
            *(["    if (!(tap >= 0 && tap < size)) t.weight[k] = 0;"] if self.padding == "zeros" else []),
            "    t.at[k] = (int)bounded(tap, size);",
            "  }",
            "  return t;",
            "}",
        ]


class GridSampleFamily:
    """grid_sample in all of its modes."""

    name = "grid_sample"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "grid_sample":
            return "it is not a grid_sample"
        for t in group.inputs:
            if t.dtype.name not in SUPPORTED:
                return f"generated kernels don't take {t.dtype}"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (y,) = group.layers[0], outputs
        number = {id(t): n for n, t in enumerate(group.inputs)}
        read = [number[id(t)] for t in layer.inputs if t is not None]
        x, grid = (inputs[n] for n in read)
        if y.size == 0:
            return Plan(())
        if x.size == 0:
            raise TacticError("there is nothing to sample")
        rank = len(y.shape)
        order = tuple(sorted(range(rank), key=lambda a: (-abs(y.strides[a]), a)))
        steps = (grid.strides[0], 0, *grid.strides[1:-1])
        geometry = Geometry(
            tuple(y.shape[a] for a in order), tuple(tuple(s[a] for a in order) for s in (y.strides, steps))
        )
        vector = 1
        if order[-1] == 1:
            both = Geometry(geometry.sizes, (geometry.strides[0], tuple(x.strides[a] for a in order)))
            vector = vector_width(both, [x.dtype.itemsize] * 2, [y.align, x.align])
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or x.reach() > 2**31 - 1, walk.name)
        attrs = layer.attrs
        spec = GridSampleSpec(
            x.dtype.name, grid.dtype.name, attrs["mode"], attrs["padding"], attrs["align_corners"], order, vector, walk
        )
        offset = np.int64 if walk.wide else np.int32
        count = geometry.count // vector
        numbers = (
            np.uint32(count), offset(grid.strides[-1]), *map(offset, x.strides), *map(np.int32, x.shape[2:]),
            *geometry.arguments(walk, vector),
        )  # fmt: skip
        slots = (*map(Slot, read), Slot(len(inputs)))
        return Plan((Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *numbers)),))


FAMILY = GridSampleFamily()
