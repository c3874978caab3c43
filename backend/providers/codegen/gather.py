"""gather, embedding and gather_elements: a place's index is read, then the element, or some neighbours, that it picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, join, vector_width

__all__ = ["FAMILY", "GatherFamily", "GatherSpec"]

THREADS = 256
OPS = ("gather", "embedding", "gather_elements")


@dataclass(frozen=True, slots=True)
class GatherSpec:
    """The walk's operands are the indices, x without its picked axis, and y."""

    dtype: str
    index: str
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, walk, unit = C_TYPES[self.dtype], self.walk, self.vector
        parameters = [
            f"const {stored}* __restrict__ x", f"const {C_TYPES[self.index]}* __restrict__ indices", f"{stored}* __restrict__ y",
            "const u32 count", "const i64 size", "const i64 stride", *walk.parameters(),
        ]  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  i64 pick = indices[{walk.offset(0, unit)}];",
                "  if (pick < 0) pick += size;",
                # An index outside is the caller's error; it must not become a read outside of x.
                "  pick = pick < 0 ? 0 : pick < size ? pick : size - 1;",
                f"  Lanes<{stored}, {unit}> lanes;",
                f"  fetch_lanes<{unit}>(x + pick * stride + {walk.offset(1, unit)}, lanes);",
                f"  put_chunks<{unit}>(y + {walk.offset(2, unit)}, lanes);",
                "}",
                "",
            ]
        )


class GatherFamily:
    """Slices or elements of x along one axis, by index. An index outside of the axis picks the nearest element."""

    name = "gather"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in OPS:
            return "it does not pick along an axis"
        dtype = layer.output.dtype.name
        return "" if dtype in SUPPORTED else f"generated kernels don't take {dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (y,) = group.layers[0], outputs
        number = {id(t): n for n, t in enumerate(group.inputs)}
        first, second = (number[id(t)] for t in layer.inputs if t is not None)
        at, indices_at = (second, first) if layer.op.name == "embedding" else (first, second)
        x, indices = inputs[at], inputs[indices_at]
        if y.size == 0 or x.size == 0:
            return Plan(())
        axis = layer.attrs.get("axis", 0)
        if layer.op.name == "gather_elements":
            read = tuple(0 if a == axis else s for a, s in enumerate(x.strides))
            index = indices.strides
        else:
            before, after = axis, len(x.shape) - axis - 1
            read = (*x.strides[:axis], *(0,) * len(indices.shape), *x.strides[axis + 1 :])
            index = (*(0,) * before, *indices.strides, *(0,) * after)
        geometry = join(y.shape, [index, read, y.strides], leader=2)
        vector = _vector(geometry, x, y, axis)
        walk = geometry.walk()
        spec = GatherSpec(x.dtype.name, indices.dtype.name, vector, walk)
        count = geometry.count // vector
        numbers = (
            np.uint32(count),
            np.int64(x.shape[axis]),
            np.int64(x.strides[axis]),
            *geometry.arguments(walk, vector),
        )
        slots = (Slot(at), Slot(indices_at), Slot(len(inputs)))
        return Plan((Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *numbers)),))


FAMILY = GatherFamily()


def _vector(geometry: Geometry, x: Operand, y: Operand, axis: int) -> int:
    """Neighbours that one index picks and that lie side by side on both sides."""
    if geometry.strides[0][-1] != 0:
        return 1
    moved = Geometry((1, *geometry.sizes), tuple((0, *own) for own in geometry.strides[1:]))
    picked = Geometry(moved.sizes, ((x.strides[axis], *moved.strides[0][1:]), moved.strides[1]))
    return vector_width(picked, [x.dtype.itemsize] * 2, [x.align, y.align])
