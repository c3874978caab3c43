"""Pooling over sliding windows: a thread makes one place of some neighbouring channels (channels last) or of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.reductions import extreme
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "PoolingFamily", "PoolingSpec"]

THREADS = 128
TOGETHER = 8
"""Taps whose reads are on their way together."""
OPS = ("max_pool", "max_pool_with_indices", "avg_pool", "lp_pool")


@dataclass(frozen=True, slots=True)
class Window:
    """Per spatial axis: taps, steps between windows and between taps, padding before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PoolingSpec:
    """The walk's operands are y and, where there are, the indices; `order` says which axis of [N, C, *spatial] each
    of its axes is."""

    op: str
    dtype: str
    window: Window
    include_pad: bool
    power: int
    order: tuple[int, ...]
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, kind = C_TYPES[self.dtype], self.walk.offset_type
        rank = len(self.order)
        spatial = range(len(self.window.kernel))
        indices = ["i64* __restrict__ indices"] if self.op.endswith("indices") else []
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", *indices, "const u32 count",
            *(f"const {kind} x{axis}" for axis in range(rank)), *(f"const int d{axis}" for axis in range(1, rank)),
            *self.walk.parameters(),
        ]  # fmt: skip
        places = {axis: f"wi{n}" for n, axis in enumerate(self.order)}
        unit = f" * {self.vector}" if self.vector > 1 else ""
        places[self.order[-1]] += unit
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                f"  constexpr int V = {self.vector};",
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in self.walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *(f"  const int p{axis} = {place};" for axis, place in sorted(places.items())),
                *(
                    f"  const int s{n} = p{n + 2} * {self.window.strides[n]} - {self.window.before[n]};"
                    for n in spatial
                ),
                f"  x += ({kind})p0 * x0 + ({kind})p1 * x1;",
                *(f"  {line}" for line in self._start()),
                *self._loops(),
                *(f"  {line}" for line in self._finish()),
                f"  store<V>(y + {self.walk.offset(0, self.vector)}, a);",
                *([f"  store<V>(indices + {self.walk.offset(1, self.vector)}, at);"] if indices else []),
                "}",
                "",
            ]
        )

    def _start(self) -> list[str]:
        lines = [f"C a[V]; for (int j = 0; j < V; j++) a[j] = {self._nothing()};"]
        if self.op.endswith("indices"):
            lines.append("i64 at[V]; for (int j = 0; j < V; j++) at[j] = -1;")
        return lines

    def _loops(self) -> list[str]:
        """Nested loops over the taps. Those along the last axis are all read before the first is used, so that they
        are on their way
        together."""
        lines: list[str] = []
        kind, last = self.walk.offset_type, len(self.window.kernel) - 1
        unroll = "#pragma unroll" if prod(self.window.kernel) <= 64 else "#pragma unroll 1"
        for n, taps in enumerate(self.window.kernel[:-1]):
            lines += [
                unroll,
                f"for (int t{n} = 0; t{n} < {taps}; t{n}++) {{",
                f"const int h{n} = s{n} + t{n} * {self.window.dilations[n]};",
                f"if ((u32)h{n} >= (u32)d{n + 2}) continue;",
            ]
        offset = " + ".join(f"({kind})h{n} * x{n + 2}" for n in range(last + 1))
        together = self.window.kernel[last] if self.window.kernel[last] <= TOGETHER else 1
        lines += [
            unroll,
            f"for (int base = 0; base < {self.window.kernel[last]}; base += {together}) {{",
            f"C v[{together}][V];",
            "#pragma unroll",
            f"for (int t = 0; t < {together}; t++) {{",
            f"const int h{last} = s{last} + (base + t) * {self.window.dilations[last]};",
            f"if ((u32)h{last} < (u32)d{last + 2}) load<V>(x + {offset}, v[t]);",
            f"else for (int j = 0; j < V; j++) v[t][j] = {self._nothing()};",
            "}",
            "#pragma unroll",
            f"for (int t = 0; t < {together}; t++) {{",
            f"const int h{last} = s{last} + (base + t) * {self.window.dilations[last]};",
            f"for (int j = 0; j < V; j++) {self._merge()}",
            "}",
        ]
        return [f"  {line}" for line in lines] + ["  " + "}" * (last + 1)]

    def _nothing(self) -> str:
        """What padding is, to the merge."""
        return extreme(self.dtype, greatest=False) if self.op.startswith("max") else "0"

    def _merge(self) -> str:
        if self.op == "max_pool":
            return "a[j] = maximum(a[j], v[t][j]);"
        if self.op == "avg_pool":
            return "a[j] += v[t][j];"
        if self.op == "lp_pool":
            return "a[j] += v[t][j] * v[t][j];" if self.power == 2 else f"a[j] += pow(abs(v[t][j]), (C){self.power});"
        number = f"(i64)p0 * d1 + p1{' + j' if self.vector > 1 else ''}"
        for n in range(len(self.window.kernel)):
            number = f"({number}) * d{n + 2} + h{n}"
        last = len(self.window.kernel) - 1
        better = f"(u32)h{last} < (u32)d{last + 2} && (at[j] < 0 || v[t][j] > a[j])"
        return f"if ({better}) {{ a[j] = v[t][j]; at[j] = {number}; }}"

    def _finish(self) -> list[str]:
        if self.op == "lp_pool":
            root = "sqrt(a[j])" if self.power == 2 else f"pow(a[j], C(1) / C({self.power}))"
            return [f"for (int j = 0; j < V; j++) a[j] = {root};"]
        if self.op != "avg_pool":
            return []
        lines = ["int taps = 1;"]
        for n, (taps, dilation, before, after) in enumerate(
            zip(self.window.kernel, self.window.dilations, self.window.before, self.window.after, strict=True)
        ):
            low, high = (-before, f"d{n + 2} + {after}") if self.include_pad else (0, f"d{n + 2}")
            lines += [
                f"{{ int own = 0; for (int t = 0; t < {taps}; t++) {{ const int h = s{n} + t * {dilation};",
                f"  own += h >= {low} && h < {high}; }} taps *= own; }}",
            ]
        return [*lines, "for (int j = 0; j < V; j++) a[j] = a[j] / (C)taps;"]


class PoolingFamily:
    """max_pool, avg_pool, lp_pool over windows."""

    name = "pooling"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in OPS:
            return "it is not a pooling over windows"
        if len(group.outputs) != len(layer.outputs):
            return "one of its results is not used"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (x,), y = group.layers[0], inputs, outputs[0]
        if y.size == 0:
            return Plan(())
        attrs, rank = layer.attrs, len(x.shape)
        kernel, strides, dilations = (tuple(attrs[k]) for k in ("kernel", "strides", "dilations"))
        pads = actual_pads(x.shape[2:], kernel, strides, attrs["pads"], dilations, attrs["auto_pad"])
        window = Window(kernel, strides, dilations, pads[: rank - 2], pads[rank - 2 :])
        order = tuple(sorted(range(rank), key=lambda a: (-abs(y.strides[a]), a)))
        geometry = Geometry(
            tuple(y.shape[a] for a in order), tuple(tuple(o.strides[a] for a in order) for o in outputs)
        )
        read = Geometry(geometry.sizes, (*geometry.strides, tuple(x.strides[a] for a in order)))
        operands = (*outputs, x)
        vector = 1
        if order[-1] == 1:
            vector = vector_width(read, [o.dtype.itemsize for o in operands], [o.align for o in operands], 8)
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or x.reach() > 2**31 - 1, walk.name)
        spec = PoolingSpec(
            layer.op.name,
            x.dtype.name,
            window,
            bool(attrs.get("count_include_pad")),
            attrs.get("p", 0),
            order,
            vector,
            walk,
        )
        count = geometry.count // vector
        offset = np.int64 if walk.wide else np.int32
        numbers = (
            np.uint32(count), *map(offset, x.strides), *map(np.int32, x.shape[1:]), *geometry.arguments(walk, vector),
        )  # fmt: skip
        slots = map(Slot, range(1 + len(outputs)))
        return Plan((Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *numbers)),))


FAMILY = PoolingFamily()
