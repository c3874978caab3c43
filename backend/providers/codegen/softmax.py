"""softmax and log_softmax over any axis: a row is read once and held where it fits into registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import reductions
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.rows import ACCUMULATORS, Team, choose_team, element_offset, rows_of
from trtn.backend.providers.codegen.walk import Walk

__all__ = ["FAMILY", "SoftmaxFamily", "SoftmaxSpec"]

TEAMS = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class SoftmaxSpec:
    """Operands of the walks are x and y."""

    dtype: str
    log: bool
    team: Team
    rows: Walk
    elements: Walk

    def source(self) -> str:
        compute, stored = COMPUTE_TYPES[self.dtype], C_TYPES[self.dtype]
        held = bool(self.team.items)
        quick = "quick_exp" if self.dtype in ("f16", "bf16") else "exp"
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", "const u32 rows", "const u32 n",
            *self.rows.parameters(), *self.elements.parameters(),
        ]  # fmt: skip
        final = "v[j] - m - log_sum" if self.log else f"{quick}(v[j] - m) * scale"
        ending = f"const {compute} log_sum = log(s);" if self.log else f"const {compute} scale = {compute}(1) / s;"
        return "\n".join(
            [
                PRELUDE,
                ACCUMULATORS,
                reductions.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({self.team.block}) kernel({", ".join(parameters)}) {{',
                f"  constexpr int V = {self.team.vector}, TEAM = {self.team.threads};",
                "  LET_NEXT_START();",
                *(f"  {line}" for line in self.team.prologue(self.rows)),
                "  WAIT_FOR_INPUTS();",
                f"  x += {self.rows.offset(0)}; y += {self.rows.offset(1)};",
                *(self._held(compute, quick) if held else self._streamed(compute)),
                f"  {ending}",
                "  if (!inside) return;",
                *(f"  {line}" for line in self.team.each(self._write(compute, final, held))),
                "}",
                "",
            ]
        )

    def _held(self, compute: str, quick: str) -> list[str]:
        fetch = f"load<V>(x + {element_offset(self.elements, 0)}, values[k]);"
        greatest = f"{fetch} for (int j = 0; j < V; j++) top.merge({{values[k][j]}});"
        total = f"for (int j = 0; j < V; j++) sum.v += {quick}(values[k][j] - m);"
        return [
            f"  __shared__ Max<{compute}> tops[{self.team.shared}];",
            f"  __shared__ Sum<{compute}> sums[{self.team.shared}];",
            f"  {compute} values[{self.team.items}][V];",
            f"  Max<{compute}> top = {{-infinity()}};",
            *(f"  {line}" for line in self.team.each(greatest)),
            f"  const {compute} m = over_team<TEAM>(top, tops).v;",
            f"  Sum<{compute}> sum = {{0}};",
            *(f"  {line}" for line in self.team.each(total)),
            f"  const {compute} s = over_team<TEAM>(sum, sums).v;",
        ]

    def _streamed(self, compute: str) -> list[str]:
        step = (
            f"{self._decode()} {compute} v[V]; load<V>(x + {element_offset(self.elements, 0)}, v); "
            "for (int j = 0; j < V; j++) own.merge({v[j], 1});"
        )
        return [
            f"  __shared__ Online<{compute}> onlines[{self.team.shared}];",
            f"  Online<{compute}> own = {{-infinity(), 0}};",
            *(f"  {line}" for line in self.team.each(step)),
            "  own = over_team<TEAM>(own, onlines);",
            f"  const {compute} m = own.m, s = own.m == -infinity() ? {compute}(not_a_number()) : own.s;",
        ]

    def _write(self, compute: str, final: str, held: bool) -> str:
        source = "values[k]" if held else "v"
        fetch = "" if held else f"{self._decode()} {compute} v[V]; load<V>(x + {element_offset(self.elements, 0)}, v); "
        result = f"{compute} r[V]; for (int j = 0; j < V; j++) r[j] = {final.replace('v[j]', source + '[j]')};"
        return f"{fetch}{result} store<V>(y + {element_offset(self.elements, 1)}, r);"

    def _decode(self) -> str:
        return " ".join(self.elements.decode("o")) if self.elements.rank > 1 else ""


class SoftmaxFamily:
    """softmax and log_softmax."""

    name = "softmax"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in ("softmax", "log_softmax"):
            return "it is not a softmax"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic("auto", numerics="reassociated"), *(Tactic(f"team{t}", numerics="reassociated") for t in TEAMS)]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (x,), (y,) = group.layers[0], inputs, outputs
        if y.size == 0:
            return Plan(())
        rows = rows_of(x.shape, (layer.attrs["axis"],), (x, y))
        team = choose_team(rows, (x, y), int(tactic.removeprefix("team")) if tactic.startswith("team") else 0)
        walk, elements = rows.rows.walk("w"), rows.elements.walk("e")
        spec = SoftmaxSpec(x.dtype.name, layer.op.name == "log_softmax", team, walk, elements)
        count, n = rows.rows.count, rows.elements.count
        arguments = (np.uint32(count), np.uint32(n), *rows.rows.arguments(walk), *rows.elements.arguments(elements))
        return Plan((Call(spec, team.grid(count), (team.block, 1, 1), (Slot(0), Slot(1), *arguments)),))


FAMILY = SoftmaxFamily()
