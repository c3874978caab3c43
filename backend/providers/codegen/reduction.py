"""Reductions over axes: sums, means, extremes, norms, positions of extremes, global pooling, masked means.

Where the fastest axis is reduced, a team of threads takes each row; where it is kept, each thread takes some
neighbouring columns
and the block shares the elements. A few long rows are cut into parts that a second kernel merges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import expressions, reductions
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.program import Program, cannot_write, program_of
from trtn.backend.providers.codegen.reductions import REDUCTIONS, Recipe, recipe_of
from trtn.backend.providers.codegen.rows import (
    ACCUMULATORS,
    MULTIPROCESSORS,
    Rows,
    Team,
    choose_team,
    element_offset,
    rows_of,
)
from trtn.backend.providers.codegen.walk import SAME, Geometry, Walk, vector_width

__all__ = [
    "FAMILY", "ColumnsSpec", "MergeSpec", "Reduced", "ReductionFamily", "RowsSpec", "by_columns", "columns_call", "parts_call",
]  # fmt: skip

LONG = 1 << 15
"""Rows from this many elements on are cut into parts where there are too few to fill the GPU."""
PARTS = 64
SECTOR = 2
"""Threads side by side at least: of 16 bytes each, they read what memory gives at once."""
ACCUMULATOR_BYTES = 16


@dataclass(frozen=True, slots=True)
class Reduced:
    """What is computed: the op over elements of `dtype`, into `result`; without one the accumulators leave as they
    are, by the
    number of their row. `last` is arg_max's choice among equals."""

    op: str
    dtype: str
    result: str
    last: bool = False
    program: Program | None = None
    """Makes the element that counts of the one that is read; `dtype` is that of the latter."""

    @property
    def recipe(self) -> Recipe:
        return recipe_of(self.op, self.element, self.last)

    @property
    def element(self) -> str:
        """The dtype of what is reduced."""
        return self.dtype if self.program is None else self.program.dtype(self.program.results[0])

    @property
    def library(self) -> list[str]:
        """What the program calls."""
        return [] if self.program is None else [expressions.LIBRARY]

    @property
    def names(self) -> list[str]:
        return ["x", "mask"] if self.op == "masked_mean" else ["x"]

    @property
    def pointers(self) -> list[str]:
        mask = ["const bool* __restrict__ mask"] if self.op == "masked_mean" else []
        return [f"const {C_TYPES[self.dtype]}* __restrict__ x", *mask]

    @property
    def target(self) -> str:
        """The C++ type of what y points to."""
        return C_TYPES[self.result] if self.result else self.recipe.accumulator

    def finished(self, total: str) -> str:
        """The accumulator `a` as a result."""
        return f"({COMPUTE_TYPES[self.result]})({self.recipe.finish.replace('total', total)})"


@dataclass(frozen=True, slots=True)
class RowsSpec:
    """A team a row. Operands of the walks: x, the mask where there is one, y. Where accumulators leave, rows are cut
    into `gridDim.y`
    parts."""

    reduced: Reduced
    team: Team
    rows: Walk
    elements: Walk

    def source(self) -> str:
        recipe, names = self.reduced.recipe, self.reduced.names
        parts = not self.reduced.result
        parameters = [
            *self.reduced.pointers, f"{self.reduced.target}* __restrict__ y", "const u32 rows", "const u32 length",
            *(["const u32 part"] if parts else []), *self.rows.parameters(), *self.elements.parameters(),
        ]  # fmt: skip
        cut = ["const u32 begin = 0, n = length;"]
        if parts:
            cut = [
                "const u32 begin = blockIdx.y * part;",
                "const u32 n = begin < length ? lower(part, length - begin) : 0;",
            ]
        walking = " ".join(
            f"{name} += {self.rows.offset(n)}{'' if self.elements.patterns[n] == SAME else ' + begin'};"
            for n, name in enumerate(names)
        )
        loads = _loads(self.reduced, [element_offset(self.elements, n) for n in range(len(names))], self._fixed())
        body = f"{' '.join(self._decode())} {loads} for (int j = 0; j < V; j++) {_enter(self.reduced, 'o + j + begin')}"
        ending = "y[row * gridDim.y + blockIdx.y] = a;"
        if not parts:
            ending = f"store(y + {self.rows.offset(len(names))}, {self.reduced.finished('length')});"
        return "\n".join(
            [
                PRELUDE,
                *self.reduced.library,
                ACCUMULATORS,
                reductions.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({self.team.block}) kernel({", ".join(parameters)}) {{',
                f"  typedef {recipe.accumulator} A;",
                f"  constexpr int V = {self.team.vector}, TEAM = {self.team.threads};",
                f"  __shared__ A shared[{self.team.shared}];",
                "  LET_NEXT_START();",
                *(f"  {line}" for line in (*cut, *self.team.prologue(self.rows))),
                "  WAIT_FOR_INPUTS();",
                f"  {walking}",
                f"  A a = {{{recipe.start}}};",
                *(f"  {line}" for line in replace(self.team, items=0).each(body)),
                "  a = over_team<TEAM>(a, shared);",
                f"  if (inside && lane == 0) {ending}",
                "}",
                "",
            ]
        )

    def _decode(self) -> list[str]:
        return self.elements.decode("o") if self.elements.rank > 1 else []

    def _fixed(self) -> list[bool]:
        return [self.elements.rank == 1 and p == SAME for p in self.elements.patterns]


@dataclass(frozen=True, slots=True)
class ColumnsSpec:
    """`across` threads side by side take `vector` columns each, `along` share the elements of a column."""

    reduced: Reduced
    across: int
    along: int
    vector: int
    rows: Walk
    elements: Walk

    def source(self) -> str:
        recipe, names = self.reduced.recipe, self.reduced.names
        parameters = [
            *self.reduced.pointers, f"{self.reduced.target}* __restrict__ y", "const u32 columns", "const u32 n",
            *self.rows.parameters(), *self.elements.parameters(),
        ]  # fmt: skip
        walking = " ".join(f"{name} += {self.rows.offset(n, self.vector)};" for n, name in enumerate(names))
        fixed = [p.endswith(SAME) for p in self.rows.patterns]
        loads = _loads(self.reduced, [self.elements.offset(n) for n in range(len(names))], fixed)
        ending = ["for (int j = 0; j < V; j++) y[column * V + j] = own[j];"]
        if self.reduced.result:
            ending = [
                f"{COMPUTE_TYPES[self.reduced.result]} r[V];",
                f"for (int j = 0; j < V; j++) {{ const A a = own[j]; r[j] = {self.reduced.finished('n')}; }}",
                f"store<V>(y + {self.rows.offset(len(names), self.vector)}, r);",
            ]
        return "\n".join(
            [
                PRELUDE,
                *self.reduced.library,
                ACCUMULATORS,
                reductions.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({self.across * self.along}) kernel({", ".join(parameters)}) {{',
                f"  typedef {recipe.accumulator} A;",
                f"  constexpr int V = {self.vector};",
                f"  __shared__ A shared[{max(1, self.along // 2)}][V][{self.across}];",
                "  LET_NEXT_START();",
                f"  const u32 number = blockIdx.x * {self.across}u + threadIdx.x;",
                "  const bool inside = number < columns;",
                "  const u32 column = inside ? number : columns - 1;",
                *(f"  {line}" for line in self.rows.decode("column")),
                "  WAIT_FOR_INPUTS();",
                f"  {walking}",
                "  A own[V];",
                f"  for (int j = 0; j < V; j++) own[j] = A{{{recipe.start}}};",
                "  #pragma unroll 8",
                f"  for (u32 o = threadIdx.y; o < n; o += {self.along}u) {{",
                *(f"    {line}" for line in self.elements.decode("o")),
                f"    {loads}",
                f"    for (int j = 0; j < V; j++) {_enter(self.reduced, 'o', 'own[j]')}",
                "  }",
                "  #pragma unroll",
                f"  for (u32 half = {self.along // 2}; half; half /= 2) {{",
                "    if (threadIdx.y >= half && threadIdx.y < 2 * half)",
                "      for (int j = 0; j < V; j++) shared[threadIdx.y - half][j][threadIdx.x] = own[j];",
                "    __syncthreads();",
                "    if (threadIdx.y < half) for (int j = 0; j < V; j++) own[j].merge(shared[threadIdx.y][j][threadIdx.x]);",
                "    __syncthreads();",
                "  }",
                "  if (!inside || threadIdx.y) return;",
                *(f"  {line}" for line in ending),
                "}",
                "",
            ]
        )


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """A warp merges the parts of a row. The walk's operands are x (not read), the mask, y."""

    reduced: Reduced
    rows: Walk

    def source(self) -> str:
        recipe = self.reduced.recipe
        parameters = [
            f"const {recipe.accumulator}* __restrict__ x", f"{C_TYPES[self.reduced.result]}* __restrict__ y", "const u32 parts",
            "const u32 length", *self.rows.parameters(),
        ]  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                ACCUMULATORS,
                reductions.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__(32) kernel({", ".join(parameters)}) {{',
                f"  typedef {recipe.accumulator} A;",
                "  __shared__ A shared[1];",
                "  LET_NEXT_START();",
                *(f"  {line}" for line in self.rows.decode("blockIdx.x")),
                "  WAIT_FOR_INPUTS();",
                f"  A a = {{{recipe.start}}};",
                "  for (u32 k = threadIdx.x; k < parts; k += 32) a.merge(x[blockIdx.x * parts + k]);",
                "  a = over_team<32>(a, shared);",
                f"  if (threadIdx.x == 0) store(y + {self.rows.offset(len(self.reduced.names))}, {self.reduced.finished('length')});",
                "}",
                "",
            ]
        )


def _loads(reduced: Reduced, offsets: Sequence[str], fixed: Sequence[bool]) -> str:
    """Statements that read V elements of each operand into arrays."""
    lines = []
    for name, offset, one in zip(reduced.names, offsets, fixed, strict=False):
        compute = COMPUTE_TYPES[reduced.dtype] if name == "x" else "bool"
        lines.append(f"{compute} {name}_v[V];")
        if one:
            lines.append(
                f"{{ const {compute} u = load({name} + {offset}); for (int j = 0; j < V; j++) {name}_v[j] = u; }}"
            )
        else:
            lines.append(f"load<V>({name} + {offset}, {name}_v);")
    return " ".join(lines)


def _enter(reduced: Reduced, number: str, accumulator: str = "a") -> str:
    """A statement that merges element j; its number is `number`."""
    recipe = reduced.recipe
    mask = "const bool m = mask_v[j];" if "mask" in reduced.names else ""
    enter = recipe.enter.replace("(int)o", f"(int)({number})")
    statements, value = [""], "x_v[j]"
    if reduced.program is not None:
        statements, (value,) = reduced.program.statements([value])
    made = f"{' '.join(statements)} const auto v = {value};"
    return f"{{ {made} {mask} {accumulator}.merge({recipe.accumulator}{{{enter}}}); }}"


class ReductionFamily:
    """Single reductions."""

    name = "reduction"

    def refusal(self, group: Group) -> str:
        layer, before = group.layers[-1], group.layers[:-1]
        if layer.op.name not in REDUCTIONS or len(group.outputs) != 1 or group.outputs[0] is not layer.output:
            return "it is not a reduction"
        if before and len(group.inputs) != 1:
            return "more than one tensor enters it"
        if before and not all(step.op.pointwise for step in before):
            return "something before the reduction is not done element by element"
        for t in (*layer.inputs, *layer.outputs):
            if t is not None and t.dtype.name not in SUPPORTED:
                return f"generated kernels don't take {t.dtype}"
        return cannot_write(before)

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        layer, before, (y,) = group.layers[-1], group.layers[:-1], outputs
        if y.size == 0:
            return Plan(())
        x, *masks = inputs
        program = program_of(before, group.inputs, [before[-1].output]) if before else None
        axes = _axes(layer.op.name, layer.attrs, len(x.shape))
        reduced = Reduced(layer.op.name, x.dtype.name, y.dtype.name, bool(layer.attrs.get("last")), program)
        operands = [x, *(_trailing(m, len(x.shape)) for m in masks), _with_axes(y, axes, len(x.shape))]
        rows = rows_of(x.shape, axes, operands)
        if by_columns(rows):
            return Plan((columns_call(reduced, rows, operands, Slot(len(inputs))),))
        return _rows(reduced, rows, operands)


FAMILY = ReductionFamily()


def _axes(op: str, attrs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    if op.startswith("global_"):
        return tuple(range(2, rank))
    return tuple(attrs["axes"]) if "axes" in attrs else (attrs["axis"],)


def _with_axes(result: Operand, axes: Sequence[int], rank: int) -> Operand:
    """A result with axes of one place where x is reduced."""
    if len(result.shape) == rank:
        return result
    shape, strides = iter(result.shape), iter(result.strides)
    places = [(1, 0) if a in axes else (next(shape), next(strides)) for a in range(rank)]
    return replace(result, shape=tuple(d for d, _ in places), strides=tuple(s for _, s in places))


def _trailing(mask: Operand, rank: int) -> Operand:
    """A mask over the first axes, as one that broadcasts over the others."""
    more = rank - len(mask.shape)
    return replace(mask, shape=(*mask.shape, *(1,) * more), strides=(*mask.strides, *(0,) * more))


def by_columns(rows: Rows) -> bool:
    """Whether x lies so that neighbouring rows, not the elements of a row, are side by side."""
    return rows.elements.strides[0][-1] != 1 and rows.rows.strides[0][-1] == 1


def columns_call(reduced: Reduced, rows: Rows, operands: Sequence[Operand], target: Slot) -> Call:
    """The launch for rows that are columns in memory. `operands`: what is read, from slot 0 on, and what is written."""
    import numpy as np

    inner, outer = rows.elements, rows.rows
    both = Geometry(
        (*inner.sizes, *outer.sizes), tuple((*e, *r) for e, r in zip(inner.strides, outer.strides, strict=True))
    )
    vector = vector_width(both, [o.dtype.itemsize for o in operands], [o.align for o in operands], 8)
    columns, n = outer.count // vector, inner.count
    across = min(32, 1 << max(0, (columns - 1).bit_length()))
    while across > SECTOR and columns < across * MULTIPROCESSORS:
        across //= 2
    along = 1
    while across * along < 512 and along * 2 <= n and (across * along < 64 or columns * along < 512 * MULTIPROCESSORS):
        along *= 2
    walk, elements = outer.walk("w"), inner.walk("e")
    spec = ColumnsSpec(reduced, across, along, vector, walk, elements)
    slots = [*map(Slot, range(len(operands) - 1)), target]
    numbers = (np.uint32(columns), np.uint32(n), *outer.arguments(walk, vector), *inner.arguments(elements))
    return Call(spec, (-(-columns // across), 1, 1), (across, along, 1), (*slots, *numbers))


def parts_call(reduced: Reduced, rows: Rows, operands: Sequence[Operand], parts: int, target: Slot) -> Call:
    """The launch that leaves the accumulators of `parts` parts of each row."""
    import numpy as np

    read = _read(rows)
    vector = choose_team(read, operands[:-1], wish=256).vector if rows.dense else 1
    count, n = rows.rows.count, rows.elements.count
    part = -(-n // parts // vector) * vector
    assert parts == 1 or rows.dense
    team = Team(min(256, -(-part // vector // 32) * 32), 1, 0, vector)
    walk, elements = rows.rows.walk("w"), rows.elements.walk("e")
    spec = RowsSpec(replace(reduced, result=""), team, walk, elements)
    slots = (*map(Slot, range(len(operands) - 1)), target)
    numbers = (
        np.uint32(count),
        np.uint32(n),
        np.uint32(part),
        *rows.rows.arguments(walk),
        *rows.elements.arguments(elements),
    )
    return Call(spec, (count, parts, 1), (team.block, 1, 1), (*slots, *numbers))


def _read(rows: Rows) -> Rows:
    """The rows of what is read: a result has one element a row, so it does not decide how wide vectors are."""
    return Rows(
        Geometry(rows.rows.sizes, rows.rows.strides[:-1]),
        Geometry(rows.elements.sizes, rows.elements.strides[:-1]),
        rows.dense,
    )


def _rows(reduced: Reduced, rows: Rows, operands: Sequence[Operand]) -> Plan:
    import numpy as np

    count, n = rows.rows.count, rows.elements.count
    walk = rows.rows.walk("w")
    slots = tuple(map(Slot, range(len(operands))))
    parts = min(PARTS, n // (LONG // 8)) if rows.dense and n >= LONG and count < MULTIPROCESSORS else 1
    if parts > 1:
        kept = Slot(len(operands))
        merge = (kept, slots[-1], np.uint32(parts), np.uint32(n), *rows.rows.arguments(walk))
        calls = (
            parts_call(reduced, rows, operands, parts, kept),
            Call(MergeSpec(reduced, walk), (count, 1, 1), (32, 1, 1), merge),
        )
        return Plan(calls, scratch=(count * parts * ACCUMULATOR_BYTES,))
    team = choose_team(_read(rows), operands[:-1])
    elements = rows.elements.walk("e")
    spec = RowsSpec(reduced, team, walk, elements)
    numbers = (np.uint32(count), np.uint32(n), *rows.rows.arguments(walk), *rows.elements.arguments(elements))
    return Plan((Call(spec, team.grid(count), (team.block, 1, 1), (*slots, *numbers)),))
