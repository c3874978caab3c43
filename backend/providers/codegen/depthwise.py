"""Depthwise convolutions with their epilogue: memory decides their speed, so each row of x is read once for a strip
of columns.

A thread has `vector` channels (side by side where channels are last) and `width` columns, and walks down `rows` rows
of the result. A row of x
enters the sums of all results that it takes part in, while the next one is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from trtn.backend.fusion.gpu.depthwise import depthwise_refusal, is_ceiling
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "DepthwiseFamily", "DepthwiseSpec", "Taps", "main_of", "packed_taps", "taps_of"]

THREADS = 128
STRIPS = ((8, 1), (8, 2), (8, 4), (4, 2), (4, 4), (4, 7), (2, 4), (2, 7))
"""Channels and columns of a thread, to be timed."""
HEIGHTS = (4, 7, 14, 28)
MOST_HELD = 144
"""Bytes of taps that a thread keeps in registers: 3 x 3 of 8 channels of 16 bits."""

BOUNDED = r"""
template <int V, typename T> DEVICE Lanes<T, V> bounded(Lanes<T, V> x, float most) {
  #pragma unroll
  for (int k = 0; k < V; k++) narrow(minimum(widen(x.at[k]), most), x.at[k]);
  return x;
}
template <int V, typename T> DEVICE Lanes<T, V> bounded_in_pairs(Lanes<T, V> x, float most) {
  const u32 both = narrow2(most, most, T());
  #pragma unroll
  for (int k = 0; k < V / 2; k++) x.word[k] = minimum2(x.word[k], both, T());
  return V % 2 ? bounded<V, T>(x, most) : x;
}
template <int V> DEVICE Lanes<f16, V> bounded(Lanes<f16, V> x, float most) { return bounded_in_pairs<V>(x, most); }
template <int V> DEVICE Lanes<bf16, V> bounded(Lanes<bf16, V> x, float most) { return bounded_in_pairs<V>(x, most); }
"""


@dataclass(frozen=True, slots=True)
class Taps:
    """Down and across: taps, steps between results and between taps, padding before."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]

    @property
    def live(self) -> int:
        """Results whose sums a row of x may enter."""
        return ceil(self.extent / self.strides[0])

    @property
    def extent(self) -> int:
        """Rows of x from the first to the last tap."""
        return self.dilations[0] * (self.kernel[0] - 1) + 1

    def columns(self, width: int) -> int:
        """Columns of x that `width` columns of the result need."""
        return (width - 1) * self.strides[1] + self.dilations[1] * (self.kernel[1] - 1) + 1


@dataclass(frozen=True, slots=True)
class DepthwiseSpec:
    dtype: str
    taps: Taps
    bias: bool
    epilogue: Program
    channel_operands: int
    tensor_operands: int
    vector: int
    width: int
    channels_last: bool
    ceiling: float | None = None
    """What x is bounded by from above, as it is read."""

    def source(self) -> str:
        stored, compute, taps = C_TYPES[self.dtype], COMPUTE_TYPES[self.dtype], self.taps
        by_channel = [*["bias"] * self.bias, *(f"e{n}" for n in range(self.channel_operands))]
        tensors = [f"r{n}" for n in range(self.tensor_operands)]
        dtypes = dict(zip([*by_channel[self.bias :], *tensors], self.epilogue.inputs[1:], strict=True))
        result = self.epilogue.dtype(self.epilogue.results[0])
        pointers = [
            f"const {stored}* __restrict__ x", f"const {C_TYPES[self.packed]}* __restrict__ w",
            *(f"const {C_TYPES[dtypes.get(n, self.dtype)]}* __restrict__ {n}" for n in (*by_channel, *tensors)),
            f"{C_TYPES[result]}* __restrict__ y",
        ]  # fmt: skip
        strides = [f"const i64 {name}{axis}" for name in ("x", *tensors, "y") for axis in "nchw"]
        sizes = "const u32 total, const u32 vectors, const u32 across, const u32 down, const int H, const int W, const int P, const int Q"
        split = ["const u32 group = t % vectors, tile = t / vectors;"]
        if not self.channels_last:
            split = ["const u32 tiles = total / vectors, tile = t % tiles, group = t / tiles;"]
        channel = f"c * {'1' if self.vector > 1 else '{0}c'}"
        walking = [f"{n} += sample * {n}n + {channel.format(n)};" for n in ("x", *tensors, "y")]
        statements, (value,) = self.epilogue.statements(
            ["own[j][v]", *(f"{n}_v[v]" for n in (*by_channel[self.bias :], *tensors))]
        )
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                *([] if self.ceiling is None else [BOUNDED]),
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(pointers)}, {sizes}, const int rows, '
                f"const int channels, {', '.join(strides)}) {{",
                f"  typedef {compute} C;",
                f"  constexpr int V = {self.vector}, TW = {self.width}, IW = {taps.columns(self.width)};",
                "  LET_NEXT_START();",
                f"  const u32 t = blockIdx.x * {THREADS}u + threadIdx.x;",
                "  WAIT_FOR_INPUTS();",
                "  if (t >= total) return;",
                *(f"  {line}" for line in split),
                "  const int c = group * V, q0 = tile % across * TW, p0 = tile / across % down * rows;",
                "  const i64 sample = tile / across / down;",
                "  const int end = lower(p0 + rows, P);",
                *(f"  {line}" for line in walking),
                *self._taps_held(),
                *(f"  C {n}_v[V]; load<V>({n} + c, {n}_v);" for n in by_channel),
                f"  Lanes<{stored}, V> row[IW], next[IW];",
                f"  C sums[{taps.live}][TW][V];",
                f"  int h = p0 * {taps.strides[0]} - {taps.before[0]};",
                *self._functions(stored, tensors, statements, value),
                *(f"  begin(sums[{n}]);" for n in range(taps.live)),
                "  fetch(h);",
                *self._walk(),
                "}",
                "",
            ]
        )

    @property
    def holds_taps(self) -> bool:
        """Whether a thread's taps fit into registers beside all else. Otherwise they are read for each row, from the nearest cache."""
        size = {"f32": 4}.get(self.dtype, 2) * self.vector * self.taps.kernel[0] * self.taps.kernel[1]
        return size <= MOST_HELD

    @property
    def packed(self) -> str:
        """The dtype that the taps [taps, C] are packed in."""
        return self.dtype if self.holds_taps else "f32"

    def _taps_held(self) -> list[str]:
        if not self.holds_taps:
            return ["  w += c;"]
        count = self.taps.kernel[0] * self.taps.kernel[1]
        return [
            f"  Lanes<{C_TYPES[self.dtype]}, V> held[{count}];",
            "  #pragma unroll",
            f"  for (int k = 0; k < {count}; k++) fetch_lanes<V>(w + k * channels + c, held[k]);",
        ]

    def _tap(self, some: int) -> str:
        number = f"down * {self.taps.kernel[1]} + k"
        if self.holds_taps:
            return f"for (int v = 0; v < {some}; v++) tap[v] = widen(held[{number}].at[first + v]);"
        return f"read_here(w + ({number}) * channels + first, tap);"

    def _functions(self, stored: str, tensors: Sequence[str], statements: Sequence[str], value: str) -> list[str]:
        taps, result = self.taps, COMPUTE_TYPES[self.epilogue.dtype(self.epilogue.results[0])]
        start = "bias_v[v]" if self.bias else "0"
        some = min(4, self.vector)
        reads = [f"C {n}_v[V]; load<V>({n} + p * {n}h + (q0 + j) * {n}w, {n}_v);" for n in tensors]
        return [
            f"  auto begin = [&](C (&own)[TW][V]) {{ for (int j = 0; j < TW; j++) for (int v = 0; v < V; v++) own[j][v] = {start}; }};",
            # A row of x, zeros where it is outside.
            "  auto fetch = [&](int h) {",
            "    #pragma unroll",
            "    for (int j = 0; j < IW; j++) {",
            f"      const int at = q0 * {taps.strides[1]} - {taps.before[1]} + j;",
            "      if ((u32)h < (u32)H && (u32)at < (u32)W) fetch_lanes<V>(x + h * xh + at * xw, next[j]);",
            f"      else next[j] = Lanes<{stored}, V>{{}};",
            "    }",
            "  };",
            "  auto advance = [&](bool more) {",
            "    #pragma unroll",
            f"    for (int j = 0; j < IW; j++) {'row[j] = next[j];' if self.ceiling is None else self._bound()}",
            "    h++;",
            "    if (more) fetch(h);",
            "  };",
            # The row enters the sums of one row of results, as that one's row `down` of taps.
            "  auto enter = [&](C (&own)[TW][V], int down) {",
            "    #pragma unroll",
            f"    for (int first = 0; first < V; first += {some})",
            "      #pragma unroll",
            f"      for (int k = 0; k < {taps.kernel[1]}; k++) {{",
            f"        float tap[{some}];",
            f"        {self._tap(some)}",
            "        #pragma unroll",
            f"        for (int v = 0; v < {some}; v++)",
            "          #pragma unroll",
            f"          for (int j = 0; j < TW; j++) own[j][first + v] += widen(row[j * {taps.strides[1]} + k * {taps.dilations[1]}]"
            ".at[first + v]) * tap[v];",
            "      }",
            "  };",
            "  auto finish = [&](C (&own)[TW][V], int p) {",
            "    #pragma unroll",
            "    for (int j = 0; j < TW; j++) if (q0 + j < Q) {",
            f"      {' '.join(reads)} {result} r[V];",
            "      #pragma unroll",
            f"      for (int v = 0; v < V; v++) {{ {' '.join(statements)} r[v] = {value}; }}",
            "      store<V>(y + p * yh + (q0 + j) * yw, r);",
            "    }",
            "  };",
        ]

    def _bound(self) -> str:
        return f"row[j] = bounded<V>(next[j], {literal(self.ceiling or 0.0, self.dtype)});"

    def _walk(self) -> list[str]:
        """The rows before the first results are whole, then a loop that finishes a row of results a turn."""
        taps = self.taps
        fresh = min(taps.strides[0], taps.extent)
        skipped = taps.strides[0] - fresh
        lines: list[str] = []
        for at in range(taps.extent - fresh):
            lines += ["  advance(true);", *self._entries(at)]
        lines += ["  #pragma unroll 1", "  for (int p = p0; p < end; p++) {"]
        for at in range(taps.extent - fresh, taps.extent):
            more = "true" if at < taps.extent - 1 else "false" if skipped else "p + 1 < end"
            lines += [f"    advance({more});", *(f"  {e}" for e in self._entries(at))]
        if skipped:
            lines.append(f"    h += {skipped}; if (p + 1 < end) fetch(h);")
        lines.append("    finish(sums[0], p);")
        moves = " ".join(f"sums[{n}][j][v] = sums[{n + 1}][j][v];" for n in range(taps.live - 1))
        if moves:
            lines.append(f"    for (int j = 0; j < TW; j++) for (int v = 0; v < V; v++) {{ {moves} }}")
        return [*lines, f"    begin(sums[{taps.live - 1}]);", "  }"]

    def _entries(self, at: int) -> list[str]:
        """Row `at` of the first unfinished results' window enters all sums that it belongs to."""
        taps = self.taps
        found = []
        for ahead in range(taps.live):
            offset = at - ahead * taps.strides[0]
            if offset >= 0 and offset % taps.dilations[0] == 0 and offset // taps.dilations[0] < taps.kernel[0]:
                found.append(f"  enter(sums[{ahead}], {offset // taps.dilations[0]});")
        return found


class DepthwiseFamily:
    """conv of one or two spatial axes where every channel has a filter of its own."""

    name = "depthwise"

    def refusal(self, group: Group) -> str:
        main = main_of(group)
        conv = group.layers[main]
        if conv.op.name != "conv":
            return "it is not a convolution"
        return depthwise_refusal(conv) or epilogue_refusal(group, main)

    def tactics(self, group: Group) -> Sequence[Tactic]:
        timed = [f"v{v}.w{w}.r{r}" for v, w in STRIPS for r in HEIGHTS]
        return [Tactic(name, numerics="reassociated") for name in ("auto", *timed)]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        if outputs[0].size == 0:
            return Plan(())
        main = main_of(group)
        conv, epilogue = group.layers[main], epilogue_of(group, main)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at = number[id(group.layers[0].inputs[0])]
        weight_at, *bias_at = (number[id(t)] for t in conv.inputs[1:] if t is not None)
        x, weight, y = (_flat_to_image(o) for o in (inputs[at], inputs[weight_at], outputs[0]))
        tensors = [_flat_to_image(inputs[n]) for n in epilogue.tensors]
        taps = taps_of(conv.attrs, x, weight)
        by_channel = [inputs[n] for n in (*bias_at, *epilogue.channels)]
        vector, width, rows = _strip(tactic, x, y, tensors, by_channel, taps)
        channels_last = x.strides[1] == 1
        spec = DepthwiseSpec(
            x.dtype.name,
            taps,
            bool(bias_at),
            epilogue.program,
            len(epilogue.channels),
            len(tensors),
            vector,
            width,
            channels_last,
            group.layers[0].attrs["max"] if main else None,
        )
        batch, channels, high, wide = y.shape
        vectors, across, down = channels // vector, -(-wide // width), -(-high // rows)
        total = batch * vectors * across * down
        packed, pack = packed_taps(inputs[weight_at], weight_at, len(inputs) + len(outputs), spec.packed)
        slots = (at, packed.index, *bias_at, *epilogue.channels, *epilogue.tensors, len(inputs))
        numbers = (
            *map(np.uint32, (total, vectors, across, down)), *map(np.int32, (*x.shape[2:], high, wide, rows, channels)),
            *(np.int64(s) for o in (x, *tensors, y) for s in o.strides),
        )  # fmt: skip
        call = Call(spec, grid_for(total, THREADS), (THREADS, 1, 1), (*map(Slot, slots), *numbers))
        return Plan((call,), (weight.size * 4,), pack)


FAMILY = DepthwiseFamily()


def main_of(group: Group) -> int:
    """The number of the convolution: after a bound on what it reads, if there is one."""
    return 1 if len(group.layers) > 1 and is_ceiling(group.layers[0]) else 0


def _flat_to_image(operand: Operand) -> Operand:
    """[N, C, L] as [N, C, 1, L]."""
    if len(operand.shape) == 4:
        return operand
    (n, c, length), (sn, sc, sl) = operand.shape, operand.strides
    return Operand((n, c, 1, length), (sn, sc, 0, sl), operand.dtype, operand.align)


def taps_of(attrs: Mapping[str, Any], x: Operand, weight: Operand) -> Taps:
    """The geometry of a convolution of one or two spatial axes."""

    def pair(values: Any) -> tuple[int, int]:
        given = tuple(values)
        return (1, given[0]) if len(given) == 1 else given

    one = len(tuple(attrs["strides"])) == 1
    spatial, kernel = (x.shape[3:], weight.shape[3:]) if one else (x.shape[2:], weight.shape[2:])
    pads = actual_pads(spatial, kernel, attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"])
    before = (0, pads[0]) if one else (pads[0], pads[1])
    return Taps((weight.shape[2], weight.shape[3]), pair(attrs["strides"]), pair(attrs["dilations"]), before)


def _strip(
    tactic: str, x: Operand, y: Operand, tensors: Sequence[Operand], by_channel: Sequence[Operand], taps: Taps
) -> tuple[int, int, int]:
    """Channels, columns and rows of a thread: as the tactic says, where memory allows it."""
    high, wide = y.shape[2:]
    vector, width, rows = 8, 0, 0
    if tactic != "auto":
        vector, width, rows = (int(part[1:]) for part in tactic.split("."))
    operands = (x, y, *tensors)
    while vector > 1 and not _allows(vector, operands, by_channel):
        vector //= 2
    if vector == 1 and x.strides[1] != 1:
        width = 1  # neighbouring threads have neighbouring columns then
    if not width:
        vector, width = _untimed(y, vector, taps)
    if not rows:
        strips = y.shape[0] * (y.shape[1] // vector) * -(-wide // width)
        rows = max(1, min(28, high, strips * high // (MULTIPROCESSORS * 512)))
    return vector, width, min(rows, high)


def _untimed(y: Operand, most: int, taps: Taps) -> tuple[int, int]:
    """Channels and columns for a size that nothing was timed for: much a thread where there is much to do."""
    large = taps.kernel[0] * taps.kernel[1] > 9
    choices = [(4, 2), (4, 1), (2, 1)] if large else [(4, 4), (4, 2), (4, 1), (2, 1)]
    for vector, width in choices:
        if y.size // (vector * width) >= MULTIPROCESSORS * 256:
            break
    return min(vector, most), min(width, y.shape[3])


def _allows(vector: int, operands: Sequence[Operand], by_channel: Sequence[Operand]) -> bool:
    """Whether all operands have `vector` channels side by side, in reach of one access."""
    for o in operands:
        step = min(16, vector * o.dtype.itemsize)
        others = (s for axis, s in enumerate(o.strides) if axis != 1 and o.shape[axis] > 1)
        if (
            o.strides[1] != 1
            or o.shape[1] % vector
            or o.align < step
            or any(s * o.dtype.itemsize % step for s in others)
        ):
            return False
    return all(o.align >= min(16, vector * o.dtype.itemsize) for o in by_channel)


def packed_taps(weight: Operand, at: int, slot: int, dtype: str) -> tuple[Slot, tuple[Call, ...]]:
    """The weight [C, 1, *kernel] as [taps, C] in scratch memory, and the launch that makes it so."""
    channels, _, *kernel = weight.shape
    strides, step = [0] * len(kernel), channels
    for axis in reversed(range(len(kernel))):
        strides[axis] = step
        step *= kernel[axis]
    target = Operand(weight.shape, (1, 0, *strides), BY_NAME[dtype])
    copy = copy_program(weight.dtype.name, dtype)
    return Slot(slot), tuple(elementwise_call(copy, weight.shape, (weight,), (target,), (Slot(at), Slot(slot))))
