"""range, fill, eye_like, trilu, one_hot: what an element is goes by where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.evaluate import resolve_attr
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.elementwise import elementwise_call
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.program import Program, Step
from trtn.backend.providers.codegen.walk import Geometry, Walk

__all__ = ["FAMILY", "GenerateFamily", "GenerateSpec"]

THREADS = 256

VALUES = {
    "range": "(C)(first + at0 * second)",
    "eye_like": "(C)(at1 - at0 == first)",
    "triu": "at1 - at0 >= first ? load(x) : (C)0",
    "tril": "at1 - at0 <= first ? load(x) : (C)0",
    "one_hot": "load(values + (place == at0 ? second : 0))",
}
"""An element, from its places `at0` (and `at1`) on the axes that count and two numbers."""
READ = {"triu": ("x",), "tril": ("x",), "one_hot": ("x", "values")}
"""The inputs that are read."""


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """The walk's operands are y and, where x is read, x; `axes` are those of its axes that count."""

    form: str
    dtype: str
    index: str
    """The dtype of x."""
    axes: tuple[int, ...]
    walk: Walk

    def source(self) -> str:
        stored, walk = C_TYPES[self.dtype], self.walk
        types = {"x": C_TYPES[self.index], "values": stored}
        parameters = [
            *(f"const {types[name]}* __restrict__ {name}" for name in READ.get(self.form, ())),
            f"{stored}* __restrict__ y", "const u32 count", "const i64 first", "const i64 second", *walk.parameters(),
        ]  # fmt: skip
        body = [f"const i64 at{n} = wi{a};" for n, a in enumerate(self.axes)]
        if self.form in READ:
            body.append(f"x += {walk.offset(1)};")
        if self.form == "one_hot":
            body.append("i64 place = (i64)load(x); if (place < 0) place += first;")
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                *(f"  {line}" for line in body),
                f"  store(y + {walk.offset(0)}, {VALUES[self.form]});",
                "}",
                "",
            ]
        )


class GenerateFamily:
    """Sequences, constants, diagonals, triangles, and rows with a one where an index says."""

    name = "generate"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in ("range", "fill", "eye_like", "trilu", "one_hot"):
            return "its elements don't go by where they are"
        if layer.op.name == "range" and group.inputs:
            return "the ends come as tensors"
        for t in (*layer.inputs, *layer.outputs):
            if t is not None and t.dtype.name not in SUPPORTED:
                return f"generated kernels don't take {t.dtype}"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (y,) = group.layers[0], outputs
        attrs = {k: resolve_attr(v, sizes) for k, v in layer.attrs.items()}
        target = Slot(len(inputs))
        if y.size == 0:
            return Plan(())
        if layer.op.name == "fill":
            value = attrs["value"] if y.dtype.is_float else int(attrs["value"])
            program = Program((), (Step("constant", (), y.dtype.name, (("value", value),)),), (0,))
            return Plan(tuple(elementwise_call(program, y.shape, (), (y,), (target,))))
        number = {id(t): n for n, t in enumerate(group.inputs)}
        tensors = [layer.inputs[0], layer.inputs[-1]] if layer.op.name == "one_hot" else [*layer.inputs[:1]]
        read = [number[id(t)] for t in tensors if t is not None]
        values = inputs[read[-1]].strides[0] if layer.op.name == "one_hot" else 0
        form, axes, first, second = _form(layer.op.name, attrs, y, values)
        strides = [y.strides]
        if form in READ:
            x = inputs[read[0]].strides
            strides.append((*x[: axes[0]], 0, *x[axes[0] :]) if form == "one_hot" else x)
        order = sorted(range(len(y.shape)), key=lambda a: (-abs(y.strides[a]), a))
        geometry = Geometry(tuple(y.shape[a] for a in order), tuple(tuple(own[a] for a in order) for own in strides))
        walk = geometry.walk()
        index = inputs[read[0]].dtype.name if form in READ else y.dtype.name
        spec = GenerateSpec(form, y.dtype.name, index, tuple(order.index(a) for a in axes), walk)
        numbers = (np.uint32(geometry.count), np.int64(first), np.int64(second), *geometry.arguments(walk))
        slots = (*(Slot(n) for n in read if form in READ), target)
        return Plan((Call(spec, grid_for(geometry.count, THREADS), (THREADS, 1, 1), (*slots, *numbers)),))


FAMILY = GenerateFamily()


def _form(op: str, attrs: Mapping[str, Any], y: Operand, values: int) -> tuple[str, tuple[int, ...], int, int]:
    """The form, the axes that count, and the two numbers of it. `values`: from the value for off to that for on."""
    if op == "range":
        return op, (0,), attrs["first"], attrs["step"]
    if op == "one_hot":
        return op, (attrs["axis"],), y.shape[attrs["axis"]], values
    rank = len(y.shape)
    form = ("triu" if attrs["upper"] else "tril") if op == "trilu" else op
    return form, (rank - 2, rank - 1), attrs["k"], 0
