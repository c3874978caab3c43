"""layer_norm and rms_norm, with the residual that is added before them: one pass over memory, statistics in f32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program, cannot_write, program_of
from trtn.backend.providers.codegen.rows import ACCUMULATORS, Team, choose_team, element_offset, rows_of
from trtn.backend.providers.codegen.walk import Walk

__all__ = ["FAMILY", "NormalisationFamily", "NormalisationSpec"]

TEAMS = (32, 64, 96, 128, 192, 256)


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
            *pointers, "const u32 rows", "const u32 n", *self.rows.parameters(), *self.elements.parameters(),
        ]  # fmt: skip
        walking = " ".join(f"{name} += {self.rows.offset(n)};" for n, name in enumerate(names))
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                f'extern "C" __global__ void __launch_bounds__({self.team.block}) kernel({", ".join(parameters)}) {{',
                f"  typedef {compute} C;",
                f"  constexpr int V = {self.team.vector}, TEAM = {self.team.threads};",
                f"  __shared__ Sum<C> sums[{self.team.shared}];",
                *(f"  {line}" for line in self.team.prologue(self.rows)),
                f"  {walking}",
                *self._fetch(inputs, at, one),
                *self._statistics(at),
                *self._write(at, one),
                "}",
                "",
            ]
        )

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
                "  const C mean = over_team<TEAM>(sum, sums).v / (C)n;",
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
        return [f"  const C factor = C(1) / sqrt(over_team<TEAM>(squares, sums).v / (C)n + {eps});"]

    def _write(self, at: Mapping[str, str], one: Mapping[str, bool]) -> list[str]:
        lines = ["C (&v)[V] = values[k];" if self.team.items else "C v[V]; fetch(o, v);", *self._decode()]
        result = "(v[j] - mean) * factor" if self.centred else "v[j] * factor"
        for name, sign, there in (("scale", "*", self.scale), ("bias", "+", self.bias)):
            if there:
                lines.append(
                    f"const C {name}1 = load({at[name]});"
                    if one[name]
                    else f"C {name}s[V]; load<V>({at[name]}, {name}s);"
                )
                result += f" {sign} {f'{name}1' if one[name] else f'{name}s[j]'}"
        lines.append(f"C r[V]; for (int j = 0; j < V; j++) r[j] = {result}; store<V>({at['y']}, r);")
        return ["  if (!inside) return;", *(f"  {line}" for line in self.team.each(" ".join(lines)))]


class NormalisationFamily:
    """layer_norm and rms_norm over the last axes."""

    name = "normalisation"

    def refusal(self, group: Group) -> str:
        norm = group.layers[-1]
        if norm.op.name not in ("layer_norm", "rms_norm"):
            return "it is not a layer_norm or rms_norm"
        if any(not layer.op.pointwise for layer in group.layers[:-1]):
            return "something before the normalisation is not done element by element"
        if any(t is not None and t.dtype is not norm.output.dtype for t in norm.inputs):
            return "its operands differ in dtype"
        if any(t not in (norm.inputs[0], norm.output) for t in group.outputs):
            return "more than the sum and the normalised tensor leave it"
        return cannot_write([*group.layers[:-1]]) or ("" if norm.output.dtype.name in C_TYPES else "dtype")

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
        read = [t for t in group.inputs if not any(t is p for p in parameters) or t is x]
        program = program_of(group.layers[:-1], read, [x])
        leaves = any(t is x for t in group.outputs)
        tensors = [*read, *parameters, *([x] if leaves else []), norm.output]
        slots = [number[id(t)] for t in tensors]
        operands = [[*inputs, *outputs][n] for n in slots]
        shape = operands[-1].shape
        rows = rows_of(shape, range(norm.attrs["axis"], len(shape)), operands)
        team = choose_team(rows, operands, int(tactic.removeprefix("team")) if tactic.startswith("team") else 0)
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
        )
        count, n = rows.rows.count, rows.elements.count
        numbers = (np.uint32(count), np.uint32(n), *rows.rows.arguments(walk), *rows.elements.arguments(elements))
        return Plan((Call(spec, team.grid(count), (team.block, 1, 1), (*map(Slot, slots), *numbers)),))


FAMILY = NormalisationFamily()
