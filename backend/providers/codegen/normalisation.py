"""layer_norm and rms_norm, with the residual that is added before them, or the embeddings that are: one pass over memory,
statistics in f32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program, cannot_write, constant_of, program_of
from trtn.backend.providers.codegen.rows import ACCUMULATORS, Team, choose_team, element_offset, rows_of
from trtn.backend.providers.codegen.walk import Walk
from trtn.dsl.network import Layer, Tensor

__all__ = ["FAMILY", "NormalisationFamily", "NormalisationSpec"]

TEAMS = (32, 64, 128, 256)
"""Threads of a row. Between other kernels, blocks of 96 or 192 take longer than their own time says."""
AHEAD = 16
"""Elements of a row that a thread has, at most, for it to keep their scale and bias in registers."""
LOOKUPS = ("embedding", "gather")


@dataclass(frozen=True, slots=True)
class Lookup:
    """An input of the program that is a row of a table: its number, and the dtype of the row's number. The walk over
    rows is that of the rows' numbers then."""

    input: int
    index: str


@dataclass(frozen=True, slots=True)
class NormalisationSpec:
    """Operands of the walks, in order: the program's inputs, scale and bias where there are, the sum where it
    leaves, y."""

    program: Program
    """Makes the row that is normalised."""
    centred: bool
    """layer_norm; otherwise rms_norm."""
    eps: float
    scale: bool
    bias: bool
    sum_leaves: bool
    team: Team
    rows: Walk
    elements: Walk
    lookups: tuple[Lookup, ...] = ()
    early: bool = False
    """Whether scale and bias are constants, read while the kernel before this one is at work."""

    @property
    def dtype(self) -> str:
        return self.program.dtype(self.program.results[0])

    def source(self) -> str:
        compute, stored = COMPUTE_TYPES[self.dtype], C_TYPES[self.dtype]
        inputs = [f"x{n}" for n in range(len(self.program.inputs))]
        names = [*inputs, *["scale"] * self.scale, *["bias"] * self.bias, *["total"] * self.sum_leaves, "y"]
        types = [C_TYPES[d] for d in self.program.inputs] + [stored] * (len(names) - len(inputs))
        pointers = [
            f"{'' if name in ('y', 'total') else 'const '}{kind}* __restrict__ {name}"
            for name, kind in zip(names, types, strict=True)
        ]
        at = {name: f"{name} + {element_offset(self.elements, n)}" for n, name in enumerate(names)}
        one = {name: self.elements.rank == 1 and self.elements.patterns[n] == "." for n, name in enumerate(names)}
        parameters = [
            *pointers, *(f"const {C_TYPES[k.index]}* __restrict__ i{k.input}" for k in self.lookups),
            "const u32 rows", "const u32 n", *self.rows.parameters(), *self.elements.parameters(),
            *(f"const i64 {name}{k.input}" for k in self.lookups for name in ("size", "pitch")),
        ]  # fmt: skip
        looked_up = {k.input for k in self.lookups}
        ahead = [name for name in ("scale", "bias") if self.early and name in names and not one[name]]
        walking = [f"{name} += {self.rows.offset(n)};" for n, name in enumerate(names) if n not in looked_up]
        walking += [
            # A number outside of the table is the caller's error; it must not become a read outside.
            f"{{ i64 pick = i{k}[{self.rows.offset(k)}]; if (pick < 0) pick += size{k}; "
            f"x{k} += (pick < 0 ? 0 : pick < size{k} ? pick : size{k} - 1) * pitch{k}; }}"
            for k in sorted(looked_up)
        ]
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                f'extern "C" __global__ void __launch_bounds__({self.team.block}) kernel({", ".join(parameters)}) {{',
                f"  typedef {compute} C;",
                f"  constexpr int V = {self.team.vector}, TEAM = {self.team.threads};",
                f"  __shared__ Sum<C> sums[{self.team.shared}];",
                "  LET_NEXT_START();",
                *(f"  {line}" for line in self.team.prologue(self.rows)),
                *self._read_ahead(ahead, at),
                "  WAIT_FOR_INPUTS();",
                *(f"  {line}" for line in walking),
                *self._fetch(inputs, at, one),
                *self._statistics(at),
                *self._write(at, one, ahead),
                "}",
                "",
            ]
        )

    def _read_ahead(self, names: Sequence[str], at: Mapping[str, str]) -> list[str]:
        """Constants by element, into registers."""
        if not names:
            return []
        reads = " ".join(f"fetch_lanes<V>({at[name]}, {name}s[k]);" for name in names)
        declared = (f"  Lanes<{C_TYPES[self.dtype]}, V> {name}s[{self.team.items}];" for name in names)
        return [*declared, *(f"  {line}" for line in self.team.each(reads))]

    def _fetch(self, inputs: Sequence[str], at: Mapping[str, str], one: Mapping[str, bool]) -> list[str]:
        """`fetch(o, v)`: the program on the row's elements from `o` on."""
        loads = [
            f"    const C a_{n} = load({at[n]});" if one[n] else f"    C a_{n}[V]; load<V>({at[n]}, a_{n});"
            for n in inputs
        ]
        statements, (value,) = self.program.statements([f"a_{n}" if one[n] else f"a_{n}[j]" for n in inputs])
        return [
            "  auto fetch = [&](u32 o, C (&v)[V]) {",
            *(f"    {line}" for line in self._decode()),
            *loads,
            "    #pragma unroll",
            f"    for (int j = 0; j < V; j++) {{ {' '.join(statements)} v[j] = {value}; }}",
            "  };",
        ]

    def _decode(self) -> list[str]:
        return self.elements.decode("o") if self.elements.rank > 1 else []

    def _statistics(self, at: Mapping[str, str]) -> list[str]:
        held = bool(self.team.items)
        leaves = f"if (inside) store<V>({at['total']}, v);" if self.sum_leaves else ""
        walk = " ".join(self._decode()) if leaves else ""
        first = (
            f"C (&v)[V] = values[k]; fetch(o, v); {walk} {leaves}" if held else f"C v[V]; fetch(o, v); {walk} {leaves}"
        )
        again = "C (&v)[V] = values[k];" if held else "C v[V]; fetch(o, v);"
        lines = [f"  C values[{self.team.items}][V];"] if held else []
        if self.centred:
            mean = "for (int j = 0; j < V; j++) sum.v += v[j];"
            spread = "for (int j = 0; j < V; j++) { const C d = v[j] - mean; squares.v += d * d; }"
            return [
                *lines,
                "  Sum<C> sum = {0}, squares = {0};",
                *(f"  {line}" for line in self.team.each(f"{first} {mean}")),
                f"  const C mean = {self._divided('over_team<TEAM>(sum, sums).v')};",
                *(f"  {line}" for line in self.team.each(f"{again} {spread}")),
                *self._root(),
            ]
        return [
            *lines,
            "  Sum<C> squares = {0};",
            *(f"  {line}" for line in self.team.each(f"{first} for (int j = 0; j < V; j++) squares.v += v[j] * v[j];")),
            *self._root(),
        ]

    def _root(self) -> list[str]:
        eps = literal(self.eps, "f64" if self.dtype == "f64" else "f32")
        variance = f"{self._divided('over_team<TEAM>(squares, sums).v')} + {eps}"
        return [f"  const C factor = {f'rsqrtf({variance})' if self._is_short else f'C(1) / sqrt({variance})'};"]

    @property
    def _is_short(self) -> bool:
        """Whether results have so few digits that approximations of f32 functions leave them as they are."""
        return self.dtype in ("f16", "bf16")

    def _divided(self, total: str) -> str:
        return f"quick_div({total}, (float)n)" if self._is_short else f"{total} / (C)n"

    def _write(self, at: Mapping[str, str], one: Mapping[str, bool], ahead: Sequence[str]) -> list[str]:
        lines = ["C (&v)[V] = values[k];" if self.team.items else "C v[V]; fetch(o, v);", *self._decode()]
        result = "(v[j] - mean) * factor" if self.centred else "v[j] * factor"
        for name, sign, there in (("scale", "*", self.scale), ("bias", "+", self.bias)):
            if not there:
                continue
            if name in ahead:
                result += f" {sign} widen({name}s[k].at[j])"
            elif one[name]:
                lines.append(f"const C {name}1 = load({at[name]});")
                result += f" {sign} {name}1"
            else:
                lines.append(f"C {name}s[V]; load<V>({at[name]}, {name}s);")
                result += f" {sign} {name}s[j]"
        lines.append(f"C r[V]; for (int j = 0; j < V; j++) r[j] = {result}; store<V>({at['y']}, r);")
        return ["  if (!inside) return;", *(f"  {line}" for line in self.team.each(" ".join(lines)))]


class NormalisationFamily:
    """layer_norm and rms_norm over the last axes."""

    name = "normalisation"

    def refusal(self, group: Group) -> str:
        norm = group.layers[-1]
        if norm.op.name not in ("layer_norm", "rms_norm"):
            return "it is not a layer_norm or rms_norm"
        if any(not layer.op.pointwise for layer in _pointwise(group)):
            return "something before the normalisation is not done element by element"
        if any(t is not None and t.dtype is not norm.output.dtype for t in norm.inputs):
            return "its operands differ in dtype"
        if any(t not in (norm.inputs[0], norm.output) for t in group.outputs):
            return "more than the sum and the normalised tensor leave it"
        return cannot_write(_pointwise(group)) or ("" if norm.output.dtype.name in C_TYPES else "dtype")

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic("auto", numerics="reassociated"), *(Tactic(f"team{t}", numerics="reassociated") for t in TEAMS)]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        if outputs[0].size == 0:
            return Plan(())
        norm = group.layers[-1]
        x, scale, bias = (*norm.inputs, None, None)[:3]
        assert x is not None
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        parameters = [t for t in (scale, bias) if t is not None]
        steps = _pointwise(group)
        read = _read(steps, x)
        program = program_of(steps, read, [x])
        leaves = any(t is x for t in group.outputs)
        everything = [*inputs, *outputs]
        shape = everything[number[id(norm.output)]].shape
        tables = {id(layer.output): _operands_of(layer) for layer in group.layers if layer.op.name in LOOKUPS}
        operands, reach, lookups = [], [], []
        slots, picks, bounds = [], [], []
        for n, t in enumerate(read):
            index, table = (number[id(o)] for o in tables.get(id(t), (t, t)))
            slots.append(table)
            if id(t) not in tables:
                operands.append(everything[table])
                reach.append(everything[table])
                continue
            if everything[table].size == 0:
                raise TacticError("a table that rows are read of is empty")
            row, step = everything[table].strides
            picked = replace(everything[table], shape=(*everything[index].shape, everything[table].shape[1]))
            operands.append(replace(picked, strides=(*everything[index].strides, step)))
            reach.append(replace(picked, strides=(*(row for _ in everything[index].shape), step)))
            lookups.append(Lookup(n, everything[index].dtype.name))
            picks.append(index)
            bounds += [np.int64(everything[table].shape[0]), np.int64(row)]
        rest = [number[id(t)] for t in (*parameters, *([x] if leaves else []), norm.output)]
        slots += rest
        operands += [everything[n] for n in rest]
        reach += [everything[n] for n in rest]
        reduced = range(norm.attrs["axis"], len(shape))
        rows = rows_of(shape, reduced, operands)
        # What a row's number adds to an address is a multiple of the table's pitch: that decides how wide reads may be.
        team = choose_team(
            rows_of(shape, reduced, reach), reach, int(tactic.removeprefix("team")) if tactic.startswith("team") else 0
        )
        walk, elements = rows.rows.walk("w"), rows.elements.walk("e")
        spec = NormalisationSpec(
            program,
            norm.op.name == "layer_norm",
            norm.attrs["eps"],
            scale is not None,
            bias is not None,
            leaves,
            team,
            walk,
            elements,
            tuple(lookups),
            elements.rank == 1
            and 0 < team.items * team.vector <= AHEAD
            and all(t.weight is not None for t in parameters),
        )
        count, n = rows.rows.count, rows.elements.count
        numbers = (np.uint32(count), np.uint32(n), *rows.rows.arguments(walk), *rows.elements.arguments(elements))
        arguments = (*map(Slot, (*slots, *picks)), *numbers, *bounds)
        return Plan((Call(spec, team.grid(count), (team.block, 1, 1), arguments),))


FAMILY = NormalisationFamily()


def _pointwise(group: Group) -> list[Layer]:
    """The layers between what is looked up and the normalisation."""
    return [layer for layer in group.layers[:-1] if layer.op.name not in LOOKUPS]


def _read(layers: Sequence[Layer], result: Tensor) -> list[Tensor]:
    """What the layers that make `result` read, or `result` where none does; constants of one element are no operands."""
    made = {id(layer.output) for layer in layers}
    given = {id(t): t for layer in layers for t in layer.inputs if t is not None and constant_of(t) is None}
    return [t for t in given.values() if id(t) not in made] if layers else [result]


def _operands_of(lookup: Layer) -> tuple[Tensor, Tensor]:
    """The numbers of the rows, and the table."""
    first, second = (t for t in lookup.inputs if t is not None)
    return (first, second) if lookup.op.name == "embedding" else (second, first)
