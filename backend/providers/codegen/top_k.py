"""top_k: a block a row. Elements become whole numbers, the less the better and no two alike; short rows are sorted, of
longer ones those that may be among the k least, which are found digit by digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import PRELUDE
from trtn.backend.providers.codegen.walk import Walk, join
from trtn.dsl.dtypes import BY_NAME

__all__ = ["FAMILY", "TopKFamily", "TopKSpec"]

SORTED = 4096
"""Keys that a block sorts at most: 32 KB of shared memory."""
SHORT = 1024
"""Up to this length a row is sorted whole, as a rule."""
TOGETHER = 256
"""Keys of short rows that share a block."""
FEWEST, MOST = 256, 1024
"""Threads of a block that selects."""
WORDS = {1: "u8", 2: "u16", 4: "u32"}
"""The type that elements are read as, by their bytes."""
INFINITIES = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000}

LIBRARY = r"""
// Sorts runs of RUN keys, a power of two, by bitonic merges. All threads of the block take part, and see the result.
template <int COUNT, int RUN> DEVICE void sort_runs(u64* keys) {
  for (u32 size = 2; size <= RUN; size *= 2)
    for (u32 half = size / 2; half; half /= 2) {
      __syncthreads();
      for (u32 t = threadIdx.x; t < COUNT / 2; t += blockDim.x) {
        const u32 low = 2 * t - t % half, high = low + half;
        const u64 a = keys[low], b = keys[high];
        const bool falling = low & size & (RUN - 1);
        if (falling ? a < b : a > b) { keys[low] = b; keys[high] = a; }
      }
    }
  __syncthreads();
}
// The first of 256 counts with which their sum reaches `wanted`, and the sum before it. For one warp.
DEVICE void find_digit(const u32* counts, u32 wanted, u32& digit, u32& before) {
  const u32 lane = threadIdx.x % 32;
  u32 sum = 0, skipped = 0;
  for (u32 k = 0; k < 8; k++) sum += counts[lane * 8 + k];
  for (u32 other = 0; other < 32; other++) {
    const u32 its = __shfl_sync(~0u, sum, other);
    if (other < lane) skipped += its;
  }
  if (skipped >= wanted || skipped + sum < wanted) return;
  u32 k = lane * 8;
  while (skipped + counts[k] < wanted) skipped += counts[k++];
  digit = k;
  before = skipped;
}
"""

SORT = r"""
  for (u32 o = lane; o < RUN; o += TEAM) keys[run * RUN + o] = o < n ? key_of(x[o * step0], o) : ~0ull;
  sort_runs<RUNS * RUN, RUN>(keys);
"""

SELECT = r"""
  // The k-th key as far as it is known: its digits from `shift` on. `wanted` of the keys that agree so far are among the first k.
  // Enough is known when they and all that are less fit in.
  __shared__ u32 counts[256], digit, before, taken;
  u64 edge = 0;
  u32 wanted = k;
  int shift = 32 + BITS;
  for (bool enough = false; !enough;) {
    shift = (shift == 32 ? number_bits : shift) - 8;
    if (lane < 256) counts[lane] = 0;
    taken = 0;
    __syncthreads();
    #pragma unroll 4
    for (u32 o = lane; o < n; o += THREADS) {
      const u64 key = key_of(x[o * step0], o);
      if ((key ^ edge) >> shift < 256) atomicAdd(&counts[key >> shift & 255], 1u);
    }
    __syncthreads();
    if (lane < 32) find_digit(counts, wanted, digit, before);
    __syncthreads();
    edge |= (u64)digit << shift;
    wanted -= before;
    enough = k - wanted + counts[digit] <= RUN;
    __syncthreads();
  }
  for (u32 o = lane; o < RUN; o += THREADS) keys[o] = ~0ull;
  __syncthreads();
  #pragma unroll 4
  for (u32 o = lane; o < n; o += THREADS) {
    const u64 key = key_of(x[o * step0], o);
    if (key >> shift <= edge >> shift) keys[atomicAdd(&taken, 1u)] = key;
  }
  sort_runs<RUN, RUN>(keys);
"""


@dataclass(frozen=True, slots=True)
class TopKSpec:
    """A block sorts `runs` runs of `run` keys, a power of two, one a row. The walk's operands are x without its ranked
    axis, then values and indices, those of them that are `made`."""

    dtype: str
    largest: bool
    select: bool
    run: int
    runs: int
    threads: int
    made: tuple[bool, bool]
    walk: Walk

    def source(self) -> str:
        word, kind, walk = WORDS[BY_NAME[self.dtype].itemsize], self.walk.offset_type, self.walk
        names = ["x", *(name for name, there in zip(("values", "indices"), self.made, strict=True) if there)]
        types = {"x": f"const {word}", "values": word, "indices": "i64"}
        found = {"values": f"x[({kind})at * step0]", "indices": "(i64)at"}
        parameters = [
            *(f"{types[name]}* __restrict__ {name}" for name in names), "const u32 rows", "const u32 n", "const u32 k",
            "const int number_bits", *(f"const {kind} step{n}" for n in range(len(names))), *walk.parameters(),
        ]  # fmt: skip
        body = (SELECT if self.select else SORT).replace("o * step0", f"({kind})o * step0")
        return "\n".join(
            [
                PRELUDE,
                LIBRARY,
                f"DEVICE u64 key_of({word} bits, u32 number) {{ return (u64){self._rank()} << 32 | number; }}",
                f'extern "C" __global__ void __launch_bounds__({self.threads}) kernel({", ".join(parameters)}) {{',
                f"  constexpr u32 RUN = {self.run}, RUNS = {self.runs}, THREADS = {self.threads}, TEAM = THREADS / RUNS;",
                "  __shared__ u64 keys[RUNS * RUN];",
                "  LET_NEXT_START();",
                "  const u32 run = threadIdx.x / TEAM, lane = threadIdx.x % TEAM;",
                "  const u32 number = blockIdx.x * RUNS + run, row = lower(number, rows - 1);",
                *(f"  {line}" for line in walk.decode("row")),
                "  WAIT_FOR_INPUTS();",
                f"  x += {walk.offset(0)};",
                body.strip("\n").replace("BITS", str(BY_NAME[self.dtype].bits)),
                "  if (number >= rows) return;",
                "  for (u32 o = lane; o < k; o += TEAM) {",
                "    const u32 at = (u32)keys[run * RUN + o];",
                *(f"    {name}[{walk.offset(n)} + ({kind})o * step{n}] = {found[name]};" for n, name in enumerate(names) if n),
                "  }",
                "}",
                "",
            ]
        )  # fmt: skip

    def _rank(self) -> str:
        """A number that is less the earlier an element comes: by its value, NaN as the greatest."""
        dtype = BY_NAME[self.dtype]
        sign, whole = 1 << (dtype.bits - 1), (1 << dtype.bits) - 1
        rising = {"u": "bits", "i": f"(bits ^ {sign}u)"}.get(dtype.kind, "")
        if dtype.is_float:
            magnitude = f"(bits & {sign - 1}u)"
            ordered = f"bits & {sign}u ? ~bits & {whole}u : bits | {sign}u"
            rising = f"({magnitude} > {INFINITIES[self.dtype]}u ? {whole}u : {magnitude} ? {ordered} : {sign}u)"
        return f"({whole}u - {rising})" if self.largest else rising


class TopKFamily:
    """top_k along any axis: `sort` for short rows, `select` for a few out of many."""

    name = "top_k"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "top_k":
            return "it is not a top_k"
        dtype = layer.outputs[0].dtype
        known = dtype.name in INFINITIES or dtype.is_integer
        return "" if known and dtype.bits in (8, 16, 32) else f"{dtype} is not ranked"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("sort"), Tactic("select"))

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        length = problem.inputs[_read(problem.group)].shape[problem.group.layers[0].attrs["axis"]]
        found = [t for t in self.tactics(problem.group) if length <= SORTED or t.name == "select"]
        return found if length <= SHORT else found[::-1]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, number = group.layers[0], _read(group)
        operands = [inputs[number], *outputs]
        axis, select = layer.attrs["axis"], tactic == "select"
        x, y = operands[:2]
        n, k = x.shape[axis], y.shape[axis]
        if y.size == 0:
            return Plan(())
        run, runs, threads = _selecting(n, k) if select else _sorting(n)
        if run > SORTED:
            raise TacticError(f"more than {SORTED} elements are sorted")
        kept = [a for a in range(len(x.shape)) if a != axis]
        geometry = join([x.shape[a] for a in kept], [[o.strides[a] for a in kept] for o in operands], leader=0)
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or any(o.reach() > 2**31 - 1 for o in operands), walk.name)
        made = tuple(any(t is out for out in group.outputs) for t in layer.outputs)
        spec = TopKSpec(x.dtype.name, layer.attrs["largest"], select, run, runs, threads, (made[0], made[1]), walk)
        offset = np.int64 if walk.wide else np.int32
        slots = (Slot(number), *(Slot(len(inputs) + m) for m in range(len(outputs))))
        number_bits = 8 * -(-(n - 1).bit_length() // 8) or 8
        numbers = (
            np.uint32(geometry.count), np.uint32(n), np.uint32(k), np.int32(number_bits),
            *(offset(o.strides[axis]) for o in operands), *geometry.arguments(walk),
        )  # fmt: skip
        return Plan((Call(spec, (-(-geometry.count // runs), 1, 1), (threads, 1, 1), (*slots, *numbers)),))


FAMILY = TopKFamily()


def _sorting(length: int) -> tuple[int, int, int]:
    """Keys of a run, runs, and threads of a block that sorts rows; two keys a thread where there are threads enough."""
    run = max(8, _power(length))
    runs = max(1, TOGETHER // run)
    return run, runs, min(run * runs // 2, MOST)


def _selecting(length: int, k: int) -> tuple[int, int, int]:
    """The same for one that selects from a row. With room for more keys than k, fewer digits have to be found."""
    threads = min(max(1 << (length // 4).bit_length(), FEWEST), MOST)
    return max(threads, _power(k)), 1, threads


def _power(count: int) -> int:
    """The least power of two that is not below a count."""
    return 1 << (count - 1).bit_length()


def _read(group: Group) -> int:
    """Which of the group's inputs is ranked; a count beside it is told by the results' shapes."""
    return next(n for n, t in enumerate(group.inputs) if t is group.layers[0].inputs[0])
