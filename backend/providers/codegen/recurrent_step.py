"""The kernel of a recurrent layer: all steps of a few sequences in one direction, by a cluster of blocks.

Each team of lanes has a unit. Its rows of the recurrent weights stay in registers (and shared memory, what does not fit);
a step multiplies them with the state, which every block has whole, and sends the unit's new state to all of them. Who
has received a step's states from all units knows that all have read the ones before, so that two buffers in turns are
enough, and nobody meets anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.recurrent_library import LIBRARY, MACHINE, Activation, activated
from trtn.backend.providers.codegen.recurrent_shape import Shape

__all__ = ["GATES", "STATES", "RecurrenceSpec"]

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
STATES = {False: 2, True: 4}
"""Arrays of a state in shared memory: two in turns, and two of its levels where these are what is multiplied."""


@dataclass(frozen=True, slots=True)
class RecurrenceSpec:
    """`weights` are of a dtype; 8-bit ones lie as [terms, columns] and have scales and zero points, and the state is
    rounded to levels before each product. `early`: weights are constants, to be read before other kernels are done."""

    op: str
    shape: Shape
    weights: str
    state: str
    """The dtype of states and results."""
    activations: tuple[Activation, ...]
    clip: float | None
    input_forget: bool
    before_reset: bool
    bias: bool
    lengths: bool
    initial: tuple[bool, ...]
    peephole: bool
    results: tuple[bool, ...]
    """Which of y and the last states are asked for."""
    early: bool

    @property
    def cluster(self) -> int:
        return self.shape.blocks

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        return MACHINE

    @property
    def quantized(self) -> bool:
        return self.weights in ("i8", "u8")

    @property
    def states(self) -> int:
        """Arrays of a state in shared memory."""
        return STATES[self.quantized]

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        shape = self.shape
        return 16 + 4 * self.states * shape.sequences * shape.width + shape.shared_weights

    @property
    def _late(self) -> bool:
        """Whether the candidate waits for the reset gate of all units: two products a step."""
        return self.op == "gru" and not self.before_reset

    def source(self) -> str:
        s = self.shape
        more = s.chunks - s.held
        bounds = f"__launch_bounds__({s.threads}, 1)" + (f" CLUSTER({s.blocks})" if s.blocks > 1 else "")
        constants = {
            "H": s.hidden, "G": s.gates, "L": s.lanes, "M": s.sequences, "U": s.units, "J": s.chunks,
            "HELD": s.held, "WIDTH": s.width, "THREADS": s.threads, "GROUP": s.lanes // s.sequences,
            **({"C": s.blocks, "BYTES": 4 * s.hidden * s.sequences} if s.blocks > 1 else {}),
        }  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                cluster.LIBRARY,
                MACHINE,
                LIBRARY,
                f"constexpr int {', '.join(f'{k} = {v}' for k, v in constants.items())};",
                f'extern "C" __global__ void {bounds} kernel({", ".join(self._parameters())}) {{',
                "  SHARED_MEMORY(memory);",
                *(["  u64* arrived = (u64*)memory;"] if s.blocks > 1 else []),
                "  float (*held)[M][WIDTH] = (float (*)[M][WIDTH])(memory + 16);",
                *([f"  Four (*rest)[G][THREADS] = (Four (*)[G][THREADS])&held[{self.states}];"] if more else []),
                f"  const int t = threadIdx.x, lane = t % L, rank = {'cluster_rank()' if s.blocks > 1 else '0'};",
                "  const int own = t / L, unit = rank * U + own, direction = blockIdx.y, first = blockIdx.x * M;",
                "  const bool mine = own < U && unit < H;",
                "  const int column = mine ? unit : 0, m = lane / GROUP, row = first + m;",
                "  const bool there = mine && row < batch, writes = there && lane % GROUP == 0;",
                "  const bool back = backwards >> direction & 1;",
                *(["  WAIT_FOR_INPUTS();"] if not self.early else []),
                *self._read_weights(),
                *(["  WAIT_FOR_INPUTS();"] if self.early else []),
                *self._begin(),
                "  for (int step = 0; step < turns; step++) {",
                *self._step(),
                "  }",
                "  LET_NEXT_START();",
                *self._end(),
                "}",
                "",
            ]
        )

    # --- parameters, weights, first states ---

    def _parameters(self) -> list[str]:
        weights, state = C_TYPES[self.weights], C_TYPES[self.state]
        names = ["h", "c"]
        given = [f"{n}0" for n, there in zip(names, self.initial, strict=False) if there]
        made = [n for n, there in zip(("y", "h_last", "c_last"), self.results, strict=False) if there]
        quantized = [
            "const float* __restrict__ r_scale", f"const {weights}* __restrict__ r_zero",
            "const int scale_side", "const int scale_column", "const int zero_side", "const int zero_column",
        ]  # fmt: skip
        return [
            "const float* __restrict__ projected", f"const {weights}* __restrict__ r",
            *(quantized if self.quantized else []),
            *([f"const {state}* __restrict__ bias"] if self.bias else []),
            *(["const int* __restrict__ lengths"] if self.lengths else []),
            *(f"const {state}* __restrict__ {n}" for n in given),
            *([f"const {state}* __restrict__ peephole"] if self.peephole else []),
            *(f"{state}* __restrict__ {n}" for n in made),
            "const int steps", "const int batch", "const int backwards",
            *(f"const i64 {n}_{axis}" for n in (*given, *made) for axis in ("side", "row", "unit")),
            *(["const i64 y_step"] if self.results[0] else []),
        ]  # fmt: skip

    def _read_weights(self) -> list[str]:
        more = self.shape.chunks - self.shape.held
        place = "((i64)(direction * G + g) * H + column) * H + k"
        value = f"load(r + {place})"
        if self.quantized:
            place = "((i64)direction * H + k) * (G * H) + g * H + column"
            value = f"(float)((int)r[{place}] - (int)r_zero[direction * zero_side + (g * H + column) * zero_column])"
        return [
            "  float w[HELD][G][4];",
            "  #pragma unroll",
            "  for (int j = 0; j < HELD; j++)",
            "    #pragma unroll",
            "    for (int g = 0; g < G; g++)",
            "      #pragma unroll",
            "      for (int q = 0; q < 4; q++) {",
            "        const int k = (lane + L * j) * 4 + q;",
            f"        w[j][g][q] = mine && k < H ? {value} : 0.0f;",
            "        pin(w[j][g][q]);",
            "      }",
            *(
                [
                    "  for (int j = HELD; j < J; j++)",
                    "    for (int g = 0; g < G; g++) {",
                    "      Four some;",
                    "      #pragma unroll",
                    "      for (int q = 0; q < 4; q++) {",
                    "        const int k = (lane + L * j) * 4 + q;",
                    f"        some.at[q] = mine && k < H ? {value} : 0.0f;",
                    "      }",
                    "      rest[j - HELD][g][t] = some;",
                    "    }",
                ]
                if more
                else []
            ),
        ]

    def _begin(self) -> list[str]:
        """Biases, first states, and the barriers that say that states have arrived."""
        s, lines = self.shape, []
        if self.bias:
            lines += [
                "  float own_bias[G], r_bias[G];",
                "  #pragma unroll",
                "  for (int g = 0; g < G; g++) {",
                "    own_bias[g] = load(bias + (direction * 2 * G + g) * H + column);",
                "    r_bias[g] = load(bias + (direction * 2 * G + G + g) * H + column);",
                "  }",
            ]
        if self.quantized:
            lines += [
                "  float scales[G];",
                "  #pragma unroll",
                "  for (int g = 0; g < G; g++) scales[g] = r_scale[direction * scale_side + (g * H + column) * scale_column];",
            ]
        if self.peephole:
            lines.append("  float peep[3];")
            lines.append("  for (int n = 0; n < 3; n++) peep[n] = load(peephole + (direction * 3 + n) * H + column);")
        for name, given in zip("hc", self.initial, strict=False):
            place = f"load({name}0 + direction * {name}0_side + row * {name}0_row + column * {name}0_unit)"
            lines.append(f"  float {name} = {f'there ? {place} : 0.0f' if given else '0.0f'};")
        first = "0.0f"
        if self.initial[0]:
            first = "k < H && first + n < batch ? load(h0 + direction * h0_side + (first + n) * h0_row + k * h0_unit) : 0.0f"
        lines += [
            "  for (int at = t; at < M * WIDTH; at += THREADS) {",
            "    const int n = at / WIDTH, k = at % WIDTH;",
            f"    held[0][n][k] = {first};",
            "    held[1][n][k] = 0.0f;",
            "  }",
            f"  const int length = row < batch ? {'maximum(0, lower(lengths[row], steps))' if self.lengths else 'steps'} : 0;",
            "  const float* gates = projected + (((i64)direction * steps * batch + (row < batch ? row : 0)) * G * H + column);",
            "  const auto moment = [&](int step) { return back && step < length ? length - 1 - step : step; };",
            "  float next[G] = {};",
            "  const auto fetch = [&](int step) {",
            "    #pragma unroll",
            "    for (int g = 0; g < G; g++) next[g] = gates[(i64)moment(step) * batch * G * H + g * H];",
            "  };",
            "  fetch(0);",
        ]
        if s.blocks > 1:
            lines += [
                "  if (t == 0) { start_phases(&arrived[0]); start_phases(&arrived[1]); }",
                "  __syncthreads();",
                "  publish_phases();",
                "  if (t == 0) { announce_words(&arrived[0], BYTES); announce_words(&arrived[1], BYTES); }",
            ]
        else:
            lines.append("  __syncthreads();")
        # A warp without units might be late for a phase: it waits only where the block's others wait for it.
        leader = "t / 32 * (32 / L)"
        busy = f"{leader} < U && rank * U + {leader} < H ? steps : 0"
        return [*lines, f"  const int turns = {'steps' if s.blocks == 1 or self.quantized else busy};"]

    # --- a step ---

    def _receive(self, turn: str) -> list[str]:
        """Wait for what exchange number `turn` brings into buffer `turn & 1`; the first one's is there from the start."""
        if self.shape.blocks == 1:
            return []
        return [
            f"    if ({turn} > 0) {{",
            f"      await_words(&arrived[{turn} & 1], ({turn} - 1) >> 1 & 1);",
            f"      if (t == 0) announce_words(&arrived[{turn} & 1], BYTES);",
            "    }",
        ]

    def _send(self, turn: str, value: str) -> list[str]:
        """Give a unit's number to all blocks, as a part of exchange number `turn`."""
        place = f"&held[{turn} & 1][m][unit]"
        if self.shape.blocks == 1:
            return [f"    if (mine && lane % GROUP == 0) *({place}) = {value};", "    __syncthreads();"]
        return [
            "    if (mine)",
            "      for (int other = lane % GROUP; other < C; other += GROUP)",
            f"        send_word({place}, other, {value}, &arrived[{turn} & 1]);",
        ]

    def _product(self, name: str, state: str, start: int, count: int) -> list[str]:
        """`name`: the unit's sums of weights times a state, of `count` gates from `start` on."""
        total = "int" if self.quantized else "float"
        lines = [
            f"    float {name}_parts[M][{count}] = {{}};",
            "    #pragma unroll",
            "    for (int j = 0; j < J; j++)",
            "      #pragma unroll",
            "      for (int n = 0; n < M; n++) {",
            f"        const Four x = *(const Four*)&{state}[n][(lane + L * j) * 4];",
            "        #pragma unroll",
            f"        for (int g = 0; g < {count}; g++) {{",
        ]
        gate = f"g + {start}" if start else "g"
        inner = f"for (int q = 0; q < 4; q++) {name}_parts[n][g] +="
        held = f"{inner} x.at[q] * w[j][{gate}][q];"
        if self.shape.chunks == self.shape.held:
            lines += ["          #pragma unroll", f"          {held}"]
        else:
            lines += [
                "          if (j < HELD) {",
                "            #pragma unroll",
                f"            {held}",
                "          } else {",
                f"            const Four some = rest[j - HELD][{gate}][t];",
                "            #pragma unroll",
                f"            {inner} x.at[q] * some.at[q];",
                "          }",
            ]
        lines += [
            "        }",
            "      }",
            f"    {total} {name}[M][{count}];",
            "    #pragma unroll",
            "    for (int n = 0; n < M; n++)",
            "      #pragma unroll",
            f"      for (int g = 0; g < {count}; g++) {name}[n][g] = ({total}){name}_parts[n][g];",
            f"    fold<L>({name});",
        ]
        return lines

    def _levels(self) -> list[str]:
        """The state less its zero point as levels of its own range, by dsl.ops.quantization's `dynamic_levels`."""
        return [
            "    float (&levels)[M][WIDTH] = held[2 + (step & 1)];",
            "    float low = 0.0f, high = 0.0f;",
            "    for (int at = t % 32; at < M * WIDTH; at += 32) {",
            "      const float x = (&held[step & 1][0][0])[at];",
            "      low = minimum(low, x); high = maximum(high, x);",
            "    }",
            "    #pragma unroll",
            "    for (int width = 16; width; width /= 2) {",
            "      low = minimum(low, __shfl_xor_sync(~0u, low, width));",
            "      high = maximum(high, __shfl_xor_sync(~0u, high, width));",
            "    }",
            "    const float spread = (high - low) / 255.0f, scale = spread == 0.0f ? 1.0f : spread;",
            "    const float zero = minimum(rint(-low / scale), 255.0f);",
            "    for (int at = t; at < M * WIDTH; at += THREADS) {",
            "      const float level = rint((&held[step & 1][0][0])[at] / scale) + zero;",
            "      (&levels[0][0])[at] = minimum(maximum(level, 0.0f), 255.0f) - zero;",
            "    }",
            "    __syncthreads();",
        ]

    def _step(self) -> list[str]:
        turn = "(2 * step)" if self._late else "step"
        state = "levels" if self.quantized else f"held[{turn} & 1]"
        lines = [
            *self._receive(turn),
            *(self._levels() if self.quantized else []),
            "    float x[G];",
            "    #pragma unroll",
            "    for (int g = 0; g < G; g++) x[g] = next[g];",
            "    if (step + 1 < steps) fetch(step + 1);",
            *self._product("sums", state, 0, 2 if self._late else GATES[self.op]),
        ]
        added = "(float)sums[0][g] * (scale * scales[g])" if self.quantized else "sums[0][g]"
        lines += {"lstm": self._lstm, "gru": self._gru, "rnn": self._rnn}[self.op](added)
        lines += ["    const bool inside = step < length;", "    if (inside) h = made;"]
        if self.op == "lstm":
            lines.append("    if (inside) c = cell;")
        if self.results[0]:
            place = "y + moment(step) * y_step + direction * y_side + row * y_row + column * y_unit"
            lines.append(f"    if (writes) store({place}, inside ? made : 0.0f);")
        after = "(2 * step + 2)" if self._late else "(step + 1)"
        return [*lines, "    if (step + 1 < steps) {", *(f"  {line}" for line in self._send(after, "h")), "    }"]

    def _sums(self, added: str, without: tuple[int, ...] = ()) -> list[str]:
        """x plus biases plus products, of the gates but `without`."""
        lines = []
        for g in range(GATES[self.op]):
            bias = (
                (f" + (own_bias[{g}] + r_bias[{g}])" if g not in without else f" + own_bias[{g}]") if self.bias else ""
            )
            product = "" if g in without else f" + {added.replace('[g]', f'[{g}]')}"
            lines.append(f"    float a{g} = x[{g}]{bias}{product};")
        return lines

    def _bounded(self, name: str) -> list[str]:
        if self.clip is None:
            return []
        bound = literal(self.clip, "f32")
        return [f"    {name} = minimum(maximum({name}, -{bound}), {bound});"]

    def _lstm(self, added: str) -> list[str]:
        lines = self._sums(added)
        f, g, out = self.activations
        if self.peephole:
            lines += ["    a0 += peep[0] * c;", "    a2 += peep[2] * c;"]
        for n in (0, 2, 3):
            lines += self._bounded(f"a{n}")
        forget = "1.0f - in" if self.input_forget else activated(f, "a2")
        lines += [
            f"    const float in = {activated(f, 'a0')};",
            f"    const float forget = {forget};",
            f"    const float candidate = {activated(g, 'a3')};",
            "    const float cell = forget * c + candidate * in;",
            *(["    a1 += peep[1] * cell;"] if self.peephole else []),
            *self._bounded("a1"),
            f"    const float out = {activated(f, 'a1')};",
            f"    const float made = out * {activated(out, 'cell')};",
        ]
        return lines

    def _gru(self, added: str) -> list[str]:
        f, g = self.activations
        lines = self._sums(added, without=(2,))
        for n in (0, 1):
            lines += self._bounded(f"a{n}")
        lines += [
            f"    const float update = {activated(f, 'a0')};",
            f"    const float reset = {activated(f, 'a1')};",
        ]
        bias = " + r_bias[2]" if self.bias else ""
        if self.before_reset:
            lines.append(f"    a2 += reset * (sums[0][2]{bias});")
        else:
            lines += self._send("(2 * step + 1)", "reset * h")
            lines += self._receive("(2 * step + 1)")
            lines += self._product("late", "held[1]", 2, 1)
            lines.append(f"    a2 += late[0][0]{bias};")
        lines += self._bounded("a2")
        lines += [
            f"    const float candidate = {activated(g, 'a2')};",
            "    const float made = (h - candidate) * update + candidate;",
        ]
        return lines

    def _rnn(self, added: str) -> list[str]:
        return [
            *self._sums(added),
            *self._bounded("a0"),
            f"    const float made = {activated(self.activations[0], 'a0')};",
        ]

    def _end(self) -> list[str]:
        lines = []
        for name, asked in zip("hc", self.results[1:], strict=False):
            if asked:
                place = (
                    f"{name}_last + direction * {name}_last_side + row * {name}_last_row + column * {name}_last_unit"
                )
                lines.append(f"  if (writes) store({place}, {name});")
        return lines
