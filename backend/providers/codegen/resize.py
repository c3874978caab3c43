"""resize: a thread makes some neighbours of the result. Where they look in x, and what they mix there, follows from a few
numbers an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width
from trtn.dsl.dtypes import BY_NAME

__all__ = ["FAMILY", "ResizeFamily", "ResizeSpec"]

THREADS = 128
SCATTERED = 4
"""Neighbours that a thread makes at most where each of them looks elsewhere."""

LIBRARY = r"""
struct Axis { int size; float before, times, over, shift; };
// Where position `at` looks. In f32, operation by operation as the reference has it: places between two elements go by its last bit.
DEVICE float place_of(u32 at, Axis a) { return ((float)at + a.before) * a.times / a.over + a.shift - a.before; }
"""

ROUNDINGS = {
    "round_prefer_floor": "ceil(place - 0.5f)",
    "round_prefer_ceil": "floor(place + 0.5f)",
    "floor": "floor(place)",
    "ceil": "ceil(place)",
}
MIXES = {
    "nearest": "const int first = (int){rounding}; t.weight[0] = 1;",
    "linear": "const int first = (int)base; t.weight[0] = 1 - distance; t.weight[1] = distance;",
    "cubic": """const int first = (int)base - 1;
  #pragma unroll
  for (int k = 0; k < 4; k++) {{
    const C d = abs((C)(k - 1) - distance), a = {cubic};
    t.weight[k] = d <= 1 ? (1 - d) * (1 + d - (a + 2) * d * d) : a * (d - 1) * (d - 2) * (d - 2);
  }}""",
}
"""The first element that is mixed, and the weights, from where a position looks: `distance`, in (0, 1], from `base`."""
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


@dataclass(frozen=True, slots=True)
class ResizeSpec:
    """The walk's operand is y. `resized` are its axes that x is resampled along, in the order in which the reference
    does so."""

    dtype: str
    mode: str
    nearest: str
    cubic: float
    exclude_outside: bool
    resized: tuple[int, ...]
    vector: int
    walk: Walk

    @property
    def _work(self) -> str:
        """The dtype of places, weights and sums."""
        return "f64" if self.dtype == "f64" else "f32"

    def source(self) -> str:
        stored, walk = C_TYPES[self.dtype], self.walk
        axes, kept = range(walk.rank), [a for a in range(walk.rank) if a not in self.resized]
        last = walk.rank - 1
        kind = walk.offset_type
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", "const u32 count",
            *(f"const {kind} xs{a}" for a in axes),
            *(f"const {t} {n}{a}" for a in self.resized for t, n in zip(_TYPES, _NUMBERS, strict=True)),
            *walk.parameters(),
        ]  # fmt: skip
        unit = {last: f" * {self.vector}"} if self.vector > 1 else {}
        begin = " + ".join(f"({kind})wi{a}{unit.get(a, '')} * xs{a}" for a in kept)
        taps = []
        for a in self.resized:
            axis = f"{{{', '.join(f'{n}{a}' for n in _NUMBERS)}}}"
            if a == last:
                taps += [f"Taps t{a}[V];", f"for (int j = 0; j < V; j++) t{a}[j] = taps_of(wi{a} * V + j, {axis});"]
            else:
                taps.append(f"const Taps t{a} = taps_of(wi{a}, {axis});")
        return "\n".join(
            [
                PRELUDE,
                LIBRARY,
                *self._taps(),
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  constexpr int V = {self.vector};",
                f"  typedef {COMPUTE_TYPES[self.dtype]} E;",
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in (*walk.decode("i"), *taps)),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *([f"  x += {begin};"] if begin else []),
                *(f"  {line}" for line in self._mix()),
                f"  store<V>(y + {walk.offset(0, self.vector)}, e);",
                "}",
                "",
            ]
        )

    def _taps(self) -> list[str]:
        """What a position mixes along an axis: elements beyond the edge repeat it, or count for nothing."""
        count = TAPS[self.mode]
        given = {"rounding": ROUNDINGS[self.nearest], "cubic": literal(self.cubic, self._work)}
        lines = [
            f"typedef {C_TYPES[self._work]} C;",
            f"struct Taps {{ int at[{count}]; C weight[{count}]; }};",
            "DEVICE Taps taps_of(u32 position, Axis a) {",
            "  const float place = place_of(position, a), base = ceil(place) - 1.0f;",
            "  const C distance = (C)(place - base);",
            "  Taps t;",
            f"  {MIXES[self.mode].format(**given)}",
            f"  for (int k = 0; k < {count}; k++) t.at[k] = lower(first + k < 0 ? 0 : first + k, a.size - 1);",
        ]
        if self.exclude_outside and self.mode != "nearest":
            lines += [
                "  C sum = 0;",
                f"  for (int k = 0; k < {count}; k++) {{ if (t.at[k] != first + k) t.weight[k] = 0; sum += t.weight[k]; }}",
                f"  for (int k = 0; k < {count}; k++) t.weight[k] /= sum;",
            ]
        return [*lines, "  return t;", "}"]

    def _mix(self) -> list[str]:
        """Statements that make `e`, V elements: sums over the taps of one axis after the other, the last outermost."""
        kind, last = self.walk.offset_type, self.walk.rank - 1
        sums = () if self.mode == "nearest" else self.resized
        own = {a: f"t{a}[j]" if a == last else f"t{a}" for a in self.resized}
        tap = {a: f"{own[a]}.at[{f'k{a}' if sums else 0}]" for a in self.resized}
        place = " + ".join(f"({kind}){tap[a]} * xs{a}" for a in self.resized) or "0"
        each = "for (int j = 0; j < V; j++)"
        lines = [
            f"E e[V]; {f'{each} e[j] = load(x + {place})' if last in self.resized else f'load<V>(x + {place}, e)'};"
        ]
        name = "(C)e[j]"
        for a in sums:
            lines = [
                f"C s{a}[V] = {{}};",
                "#pragma unroll",
                f"for (int k{a} = 0; k{a} < {TAPS[self.mode]}; k{a}++) {{",
                *(f"  {line}" for line in lines),
                f"  {each} s{a}[j] += {own[a]}.weight[k{a}] * {name};",
                "}",
            ]
            name = f"s{a}[j]"
        cut = "(E)" if BY_NAME[self.dtype].is_float else "(E)(i64)"
        return [*lines, f"E e[V]; {each} e[j] = {cut}{name};"] if sums else lines


_NUMBERS = ("d", "before", "times", "over", "shift")
_TYPES = ("int", "float", "float", "float", "float")
"""The kernel's parameters for each axis that is resampled: the fields of `Axis`."""


class ResizeFamily:
    """resize by nearest elements, linearly or cubically, along any axes."""

    name = "resize"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "resize":
            return "it is not a resize"
        if any(t is not None for t in layer.inputs[2:]):
            return "factors or a region come as tensors"
        if layer.attrs["antialias"] and layer.attrs["mode"] != "nearest":
            return "with `antialias` how many elements are mixed depends on the sizes"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (y,) = group.layers[0], outputs
        number = next(n for n, t in enumerate(group.inputs) if t is layer.inputs[0])
        x, attrs = inputs[number], layer.attrs
        if y.size == 0:
            return Plan(())
        if x.size == 0:
            raise TacticError("there is nothing to resample")
        order = sorted(range(len(y.shape)), key=lambda a: (-abs(y.strides[a]), a))
        scales = attrs["scales"] or [after / before for after, before in zip(y.shape, x.shape, strict=True)]
        moved = [a for a, scale in enumerate(scales) if scale != 1 or x.shape[a] != y.shape[a]]
        geometry = Geometry(tuple(y.shape[a] for a in order), (tuple(y.strides[a] for a in order),))
        if order and order[-1] in moved:
            vector = vector_width(geometry, [y.dtype.itemsize], [y.align], SCATTERED)
        else:
            both = Geometry(geometry.sizes, (*geometry.strides, tuple(x.strides[a] for a in order)))
            vector = vector_width(both, [x.dtype.itemsize] * 2, [y.align, x.align])
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or x.reach() > 2**31 - 1, walk.name)
        spec = ResizeSpec(
            x.dtype.name, attrs["mode"], attrs["nearest"], attrs["cubic_a"], attrs["exclude_outside"],
            tuple(order.index(a) for a in moved), vector, walk,
        )  # fmt: skip
        offset = np.int64 if walk.wide else np.int32
        count = geometry.count // vector
        axes = (v for a in moved for v in _axis(attrs["coordinates"], x.shape[a], y.shape[a], scales[a]))
        numbers = (np.uint32(count), *(offset(x.strides[a]) for a in order), *axes, *geometry.arguments(walk, vector))
        return Plan(
            (Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (Slot(number), Slot(len(inputs)), *numbers)),)
        )


FAMILY = ResizeFamily()


def _axis(coordinates: str, size: int, target: int, scale: float) -> tuple[Any, ...]:
    """The fields of `Axis`: a position looks at (position + before) * times / over + shift - before."""
    import numpy as np

    f32 = np.float32
    before, times, over, shift = f32(0.5), f32(1), f32(scale), f32(0)
    if coordinates == "asymmetric":
        before = f32(0)
    elif coordinates == "align_corners" or (coordinates == "pytorch_half_pixel" and target == 1):
        before, times, over = f32(0), f32(size - 1 if target > 1 else 0), f32(max(target - 1, 1))
    elif coordinates == "half_pixel_symmetric":
        shift = f32(size) / 2 * (1 - f32(target) / (over * f32(size)))
    return np.int32(size), before, times, over, f32(shift)
