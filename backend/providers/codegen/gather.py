"""gather, gather_nd, gather_elements, embedding: a place's indices are read, then the element, or some neighbours, that
they pick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, join, vector_width

__all__ = ["FAMILY", "GatherFamily", "PickSpec", "Picking", "pick_call", "picking_elements", "picking_nd"]

THREADS = 256
OPS = ("gather", "embedding", "gather_elements", "gather_nd")


@dataclass(frozen=True, slots=True)
class PickSpec:
    """The walk's operands are the indices, the picked array without its picked axes, and the other one. Elements go
    from the picked array to the other one, or, with `scatter`, the other way."""

    dtype: str
    index: str
    depth: int
    scatter: bool
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, walk, unit = C_TYPES[self.dtype], self.walk, self.vector
        parameters = [
            f"const {C_TYPES[self.index]}* __restrict__ indices", f"const {stored}* __restrict__ x",
            f"{stored}* __restrict__ y", "const u32 count", "const i64 next",
            *(f"const i64 {name}{m}" for m in range(self.depth) for name in ("size", "stride")), *walk.parameters(),
        ]  # fmt: skip
        picked = " + ".join([*(f"p{m} * stride{m}" for m in range(self.depth)), walk.offset(1, unit)])
        read, written = (walk.offset(2, unit), picked) if self.scatter else (picked, walk.offset(2, unit))
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  indices += {walk.offset(0, unit)};",
                *(f"  {line}" for m in range(self.depth) for line in self._pick(m)),
                f"  Lanes<{stored}, {unit}> lanes;",
                f"  fetch_lanes<{unit}>(x + {read}, lanes);",
                f"  put_chunks<{unit}>(y + {written}, lanes);",
                "}",
                "",
            ]
        )

    def _pick(self, m: int) -> list[str]:
        """An index outside is the caller's error; it must not become an access outside."""
        outside = f"p{m} = p{m} < 0 ? 0 : p{m} < size{m} ? p{m} : size{m} - 1;"
        if self.scatter:
            outside = f"if ((u64)p{m} >= (u64)size{m}) return;"
        return [f"i64 p{m} = indices[{m} * next];", f"if (p{m} < 0) p{m} += size{m};", outside]


@dataclass(frozen=True, slots=True)
class Picking:
    """Which places of an array the last axis of some indices picks, at each place of another array."""

    index: tuple[int, ...]
    """The indices' strides along the other array's axes."""
    rest: tuple[int, ...]
    """The picked array's strides along them, beside the axes that are picked on."""
    axes: tuple[tuple[int, int], ...]
    """Size and stride of each of those."""
    next: int
    """The distance from one of a place's indices to the next."""


def picking_nd(picked: Operand, indices: Operand, rank: int, batch: int = 0) -> Picking:
    """As gather_nd and scatter_nd do: indices [.., M] for another array [.., *slice] of `rank`."""
    lead, depth = len(indices.shape) - 1, indices.shape[-1]
    axes = tuple((picked.shape[batch + m], picked.strides[batch + m]) for m in range(depth))
    index = (*indices.strides[:-1], *(0,) * (rank - lead))
    rest = (*picked.strides[:batch], *(0,) * (lead - batch), *picked.strides[batch + depth :])
    return Picking(index, rest, axes, indices.strides[-1])


def picking_elements(picked: Operand, indices: Operand, axis: int) -> Picking:
    """As gather_elements and scatter_elements do: one index an element."""
    rest = tuple(0 if a == axis else s for a, s in enumerate(picked.strides))
    return Picking(indices.strides, rest, ((picked.shape[axis], picked.strides[axis]),), 0)


def pick_call(
    picking: Picking, picked: Operand, indices: Operand, other: Operand, slots: Sequence[Slot], *, scatter: bool
) -> Call:
    """The launch. `slots`: of the indices, of what is read, of what is written."""
    import numpy as np

    geometry = join(other.shape, [picking.index, picking.rest, other.strides], leader=2)
    vector = _vector(geometry, picking, picked, other)
    walk = geometry.walk()
    spec = PickSpec(picked.dtype.name, indices.dtype.name, len(picking.axes), scatter, vector, walk)
    count = geometry.count // vector
    axes = (np.int64(v) for axis in picking.axes for v in axis)
    numbers = (np.uint32(count), np.int64(picking.next), *axes, *geometry.arguments(walk, vector))
    return Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *numbers))


class GatherFamily:
    """Slices or elements of x, by index. An index outside of its axis picks the nearest element."""

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
        layer, (y,) = group.layers[0], outputs
        number = {id(t): n for n, t in enumerate(group.inputs)}
        first, second = (number[id(t)] for t in layer.inputs if t is not None)
        at, indices_at = (second, first) if layer.op.name == "embedding" else (first, second)
        x, indices = inputs[at], inputs[indices_at]
        if y.size == 0 or x.size == 0:
            return Plan(())
        axis = layer.attrs.get("axis", 0)
        if layer.op.name == "gather_nd":
            picking = picking_nd(x, indices, len(y.shape), layer.attrs["batch_dims"])
        elif layer.op.name == "gather_elements":
            picking = picking_elements(x, indices, axis)
        else:
            index = (*(0,) * axis, *indices.strides, *(0,) * (len(x.shape) - axis - 1))
            rest = (*x.strides[:axis], *(0,) * len(indices.shape), *x.strides[axis + 1 :])
            picking = Picking(index, rest, ((x.shape[axis], x.strides[axis]),), 0)
        slots = (Slot(indices_at), Slot(at), Slot(len(inputs)))
        return Plan((pick_call(picking, x, indices, y, slots, scatter=False),))


FAMILY = GatherFamily()


def _vector(geometry: Geometry, picking: Picking, picked: Operand, other: Operand) -> int:
    """Neighbours that one place's indices pick and that lie side by side on both sides."""
    if geometry.strides[0][-1] != 0:
        return 1
    _, rest, own = geometry.strides
    axes = picking.axes
    both = Geometry((*(1 for _ in axes), *geometry.sizes), ((*(s for _, s in axes), *rest), (*(0 for _ in axes), *own)))
    return vector_width(both, [picked.dtype.itemsize] * 2, [picked.align, other.align])
