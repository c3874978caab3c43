"""pad and roll: each place of the result has one of x, or none, axis by axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.evaluate import resolve_attr
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width

__all__ = ["FAMILY", "PaddingFamily", "PaddingSpec"]

THREADS = 256

LIBRARY = r"""
// The place in 0..d that a place outside stands for.
DEVICE int at_edge(int i, int d) { return i < 0 ? 0 : i < d ? i : d - 1; }
DEVICE int at_wrap(int i, int d) { i %= d; return i < 0 ? i + d : i; }
DEVICE int at_reflect(int i, int d) {
  if (d == 1) return 0;
  i = at_wrap(i, 2 * d - 2);
  return i < d ? i : 2 * d - 2 - i;
}
DEVICE int at_constant(int i, int d) { return i; }
"""


@dataclass(frozen=True, slots=True)
class PaddingSpec:
    """The walk's operand is y. `moved` are its axes along which places differ from those of x."""

    dtype: str
    mode: str
    fill: float
    moved: tuple[int, ...]
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, walk = C_TYPES[self.dtype], self.walk
        kind, axes = walk.offset_type, range(walk.rank)
        last = walk.rank - 1
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", "const u32 count",
            *(f"const {kind} xs{a}" for a in axes), *(f"const int {n}{a}" for a in self.moved for n in ("d", "before")),
            *walk.parameters(),
        ]  # fmt: skip
        places = []
        for a in axes:
            place = f"(int)wi{a}" + (f" * {self.vector}" if a == last and self.vector > 1 else "")
            places.append(
                f"  const int p{a} = "
                + (f"at_{self.mode}({place} - before{a}, d{a});" if a in self.moved else f"{place};")
            )
        inside = " && ".join(f"(u32)p{a} < (u32)d{a}" for a in self.moved) if self.mode == "constant" else ""
        offset = " + ".join(f"p{a} * xs{a}" for a in axes) or "0"
        compute = COMPUTE_TYPES[self.dtype]
        fill = f"for (int k = 0; k < {self.vector}; k++) v[k] = {literal(self.fill, self.dtype)};"
        return "\n".join(
            [
                PRELUDE,
                LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *places,
                f"  {compute} v[{self.vector}];",
                f"  if ({inside or 'true'}) load<{self.vector}>(x + {offset}, v); else {fill}",
                f"  store<{self.vector}>(y + {walk.offset(0, self.vector)}, v);",
                "}",
                "",
            ]
        )


class PaddingFamily:
    """pad by known amounts, and roll."""

    name = "padding"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in ("pad", "roll"):
            return "it is not a pad or roll"
        if any(t is not None for t in layer.inputs[1:]):
            return "amounts or value come as tensors"
        dtype = layer.output.dtype.name
        return "" if dtype in SUPPORTED else f"generated kernels don't take {dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (x,), (y,) = inputs, outputs
        if y.size == 0:
            return Plan(())
        attrs = {k: resolve_attr(v, sizes) for k, v in group.layers[0].attrs.items()}
        mode, fill, before = _amounts(attrs, x, y)
        order = sorted(range(len(y.shape)), key=lambda a: (-abs(y.strides[a]), a))
        geometry = Geometry(tuple(y.shape[a] for a in order), (tuple(y.strides[a] for a in order),))
        moved = tuple(n for n, a in enumerate(order) if before[a] or x.shape[a] != y.shape[a])
        vector = 1
        if order and len(order) - 1 not in moved:
            both = Geometry(geometry.sizes, (*geometry.strides, tuple(x.strides[a] for a in order)))
            vector = vector_width(both, [x.dtype.itemsize] * 2, [y.align, x.align])
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or x.reach() > 2**31 - 1, walk.name)
        spec = PaddingSpec(x.dtype.name, mode, fill, moved, vector, walk)
        offset = np.int64 if walk.wide else np.int32
        bounds = (np.int32(v) for n in moved for v in (x.shape[order[n]], before[order[n]]))
        count = geometry.count // vector
        numbers = (np.uint32(count), *(offset(x.strides[a]) for a in order), *bounds, *geometry.arguments(walk, vector))
        return Plan((Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (Slot(0), Slot(1), *numbers)),))


FAMILY = PaddingFamily()


def _amounts(attrs: Mapping[str, Any], x: Operand, y: Operand) -> tuple[str, float, list[int]]:
    """The mode, the fill, and by how much each axis begins before x."""
    before = [0] * len(x.shape)
    if "shifts" in attrs:
        for axis, shift in zip(attrs["axes"], attrs["shifts"], strict=True):
            before[axis] = (before[axis] + shift) % x.shape[axis]
        return "wrap", 0.0, before
    for axis, amount in zip(attrs["axes"], attrs["pads"], strict=False):
        before[axis] = amount
    return attrs["mode"], attrs["fill"], before
