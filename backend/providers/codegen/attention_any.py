"""Attention with what tensor cores don't take: heads of odd widths or very wide ones, f32 that is to stay f32, f64. A warp
has a query: each lane scores a key of 32, then all of them sum up columns of v (online softmax: Milakov and Gimelshein)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import attention
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE
from trtn.backend.providers.codegen.walk import Geometry, Walk, broadcast_strides, join, vector_width

__all__ = ["FAMILY", "AnyAttentionFamily", "AnyAttentionSpec"]

WARPS = 4
"""Queries of a block: they share keys and values in the first cache."""
WIDEST = 512
DTYPES = ("f16", "bf16", "f32", "f64")


@dataclass(frozen=True, slots=True)
class AnyAttentionSpec:
    """The walk is over heads; its operands are q, k, v, the mask if there is one, y."""

    dtype: str
    width: int
    out_width: int
    mask: str
    """The mask's dtype, "" without one."""
    causal: bool
    vector: int
    """Neighbours of a key that are read at once."""
    walk: Walk

    def source(self) -> str:
        stored, walk, kind = C_TYPES[self.dtype], self.walk, self.walk.offset_type
        names = ["q", "k", "v", *(["mask"] if self.mask else []), "y"]
        types = {"mask": f"const {C_TYPES[self.mask]}" if self.mask else "", "y": stored}
        parameters = [
            *(f"{types.get(n, f'const {stored}')}* __restrict__ {n}" for n in names),
            "const u32 tiles", "const int queries", "const int keys", f"const {COMPUTE_TYPES[self.dtype]} scale",
            *(f"const {kind} {n}{axis}" for n in names for axis in ("_row", "_step")), *walk.parameters(),
        ]  # fmt: skip
        masked = "score += (C)load(mask + (kind)key * mask_step);"
        if self.mask == "bool":
            masked = "if (!mask[(kind)key * mask_step]) score = -infinity();"
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({32 * WARPS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                f"  typedef {kind} kind;",
                f"  constexpr int W = {self.width}, E = {self.out_width}, V = {self.vector}, OWN = (E + 31) / 32;",
                f"  __shared__ C query[{WARPS}][W];",
                "  LET_NEXT_START();",
                "  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;",
                "  const u32 head = blockIdx.x / tiles;",
                f"  const int number = (blockIdx.x - head * tiles) * {WARPS} + warp, row = lower(number, queries - 1);",
                *(f"  {line}" for line in walk.decode("head")),
                *(f"  {n} += {walk.offset(m)} + (kind)row * {n}_row;" for m, n in enumerate(names) if n not in "kv"),
                *(f"  {n} += {walk.offset(m)};" for m, n in enumerate(names) if n in "kv"),
                f"  const int end = {'lower(keys, row + 1 + keys - queries)' if self.causal else 'keys'};",
                "  C sums[OWN] = {}, total = 0, top = -infinity();",
                "  WAIT_FOR_INPUTS();",
                "  for (int d = lane; d < W; d += 32) query[warp][d] = load(q + (kind)d * q_step) * scale;",
                "  __syncwarp();",
                "  for (int first = 0; first < end; first += 32) {",
                "    const int key = first + lane;",
                "    C score = -infinity();",
                "    if (key < end) {",
                "      const auto* from = k + (kind)key * k_row;",
                "      score = 0;",
                "      #pragma unroll 4",
                "      for (int d = 0; d < W; d += V) {",
                "        C own[V];",
                "        load<V>(from + (kind)d * k_step, own);",
                "        for (int j = 0; j < V; j++) score += query[warp][d + j] * own[j];",
                "      }",
                *([f"      {masked}"] if self.mask else []),
                "    }",
                "    C best = maximum(top, score);",
                "    for (int lanes = 16; lanes; lanes /= 2) best = maximum(best, (C)__shfl_xor_sync(~0u, best, lanes));",
                "    const C base = best == -infinity() ? 0 : best, kept = exp(top - base), weight = exp(score - base);",
                "    top = best;",
                "    total = total * kept + weight;",
                "    for (int n = 0; n < OWN; n++) sums[n] *= kept;",
                "    #pragma unroll 4",
                "    for (int other = 0; other < lower(32, end - first); other++) {",
                "      const C its = __shfl_sync(~0u, weight, other);",
                "      #pragma unroll",
                "      for (int n = 0; n < OWN; n++)",
                "        if (n * 32 + lane < E) sums[n] += its * load(v + (kind)(first + other) * v_row + (kind)(n * 32 + lane) * v_step);",
                "    }",
                "  }",
                "  for (int lanes = 16; lanes; lanes /= 2) total += (C)__shfl_xor_sync(~0u, total, lanes);",
                "  if (number >= queries) return;",
                "  for (int n = 0; n < OWN; n++)",
                "    if (n * 32 + lane < E) store(y + (kind)(n * 32 + lane) * y_step, total == 0 ? (C)0 : sums[n] / total);",
                "}",
                "",
            ]
        )


class AnyAttentionFamily:
    """Single `attention` layers, in the floats that they are in."""

    name = "attention_any"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "attention":
            return "it is not attention"
        q, v = layer.inputs[0], layer.inputs[2]
        assert q is not None and v is not None
        if q.dtype.name not in DTYPES:
            return f"it doesn't take {q.dtype}"
        if q.dtype.itemsize == 2 and not attention.FAMILY.refusal(group):
            return "tensor cores take it"
        widths = (q.shape[-1], v.shape[-1])
        if not all(isinstance(d, int) and 0 < d <= WIDEST for d in widths):
            return f"its heads' widths are not known, or more than {WIDEST}"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("warps", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (y,) = group.layers[0], outputs
        number = {id(t): n for n, t in enumerate(group.inputs)}
        slots = [number[id(t)] for t in layer.inputs if t is not None]
        q, k, v, *masks = (inputs[n] for n in slots)
        if y.size == 0:
            return Plan(())
        *lead, heads, queries, width = q.shape
        shared, keys = k.shape[-3:-1]
        # A mask over all of q's heads, queries and keys.
        masks = [
            Operand((*q.shape[:-1], keys), broadcast_strides(m.shape, m.strides, (*q.shape[:-1], keys)), m.dtype)
            for m in masks
        ]
        operands = [q, k, v, *masks, y]
        by_head = [_by_head(o, shared, heads // shared) for o in operands]
        geometry = join((*lead, shared, heads // shared), by_head)
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or any(o.reach() > 2**31 - 1 for o in operands), walk.name)
        rows = Geometry((*k.shape[:-1], width), (k.strides,))
        spec = AnyAttentionSpec(
            q.dtype.name, width, v.shape[-1], masks[0].dtype.name if masks else "", bool(layer.attrs["causal"]),
            vector_width(rows, [k.dtype.itemsize], [k.align]), walk,
        )  # fmt: skip
        offset = np.int64 if walk.wide else np.int32
        scale = 1 / sqrt(width) if layer.attrs["scale"] is None else layer.attrs["scale"]
        tiles = -(-queries // WARPS)
        numbers = (
            np.uint32(tiles), np.int32(queries), np.int32(keys), (np.float64 if q.dtype.name == "f64" else np.float32)(scale),
            *(offset(s) for o in operands for s in o.strides[-2:]), *geometry.arguments(walk),
        )  # fmt: skip
        pointers = (*map(Slot, slots), Slot(len(inputs)))
        return Plan((Call(spec, (geometry.count * tiles, 1, 1), (32 * WARPS, 1, 1), (*pointers, *numbers)),))


FAMILY = AnyAttentionFamily()


def _by_head(operand: Operand, shared: int, group: int) -> tuple[int, ...]:
    """Strides over [.., shared, group]: over the heads of k and v, and those of q that share each of them."""
    *lead, head, _, _ = operand.strides
    return (*lead, head, 0) if operand.shape[-3] == shared and group > 1 else (*lead, head * group, head)
