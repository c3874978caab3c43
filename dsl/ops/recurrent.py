"""Recurrent layers: lstm, gru, rnn, with ONNX's weight layouts and semantics.

x is [S, B, I] (steps, batch, features), w [D, G*H, I], r [D, G*H, H], bias [D, 2*G*H] (for w, then for r), h0
and c0 [D, B, H]; D is 2 for "bidirectional", else 1, and G the number of gates. Results: y [S, D, B, H] and
the last states [D, B, H]. With `batch_first` the batch is the first axis of all of these but the weights: x
[B, S, I], states [B, D, H], y [B, S, D, H]. Sequence b has `lengths[b]` steps: its states stay after them,
its y is 0 there, and "reverse" begins at its own last step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import wide
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.gates import Gate, canonical_activations, make_gates
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.rearrange import reversal

__all__ = ["ATTRS", "Gru", "Lstm", "Product", "Rnn"]

Product = Callable[[Any, Any], object]
"""Writes the product of rows [N, I] and a direction's weights, transposed, into an array [N, G*H]."""

ATTRS = (
    'hidden: int, direction: "forward" | "reverse" | "bidirectional" = "forward", activations: strs?,'
    " alpha: floats?, beta: floats?, clip: float?, batch_first: bool = false"
)


class _Recurrent(Op):
    """What the layers share: the shapes, the directions, the lengths. A subclass steps through time in one
    direction.
    """

    where = {"T": FLOATS}
    gates: ClassVar[int]
    defaults: ClassVar[tuple[str, ...]]
    states: ClassVar[int] = 1

    def infer(self, i: Infer) -> list[Any]:
        hidden, gates = i["hidden"], self.gates
        if hidden < 1:
            i.fail("E0304", f"`hidden` of `{self.name}` is at least 1, not {hidden}", attr="hidden")
        if i["clip"] is not None and i["clip"] < 0:
            i.fail("E0304", f"`clip` of `{self.name}` is at least 0, not {i['clip']}", attr="clip")
        i.rank(0, 3)
        first, second, features = i.shape(0)
        batch, steps = (first, second) if i["batch_first"] else (second, first)
        directions = 2 if i["direction"] == "bidirectional" else 1
        canonical_activations(i, self.defaults, directions)
        state = (batch, directions, hidden) if i["batch_first"] else (directions, batch, hidden)
        wanted: list[Shape] = [
            *self._weight_shapes(i, directions, features),
            (directions, 2 * gates * hidden),
            (batch,),
            *(state,) * self.states,
            (directions, 3 * hidden),
        ]
        for index, shape in enumerate(wanted[: len(i) - 1], start=1):
            if i.has(index):
                self._expect(i, index, shape)
        y = (batch, steps, directions, hidden) if i["batch_first"] else (steps, directions, batch, hidden)
        return [y, *(state,) * self.states]

    def _weight_shapes(self, i: Infer, directions: int, features: Dim) -> list[Shape]:
        """What the inputs between x and the bias must be."""
        rows = self.gates * i["hidden"]
        return [(directions, rows, features), (directions, rows, i["hidden"])]

    def _expect(self, i: Infer, index: int, shape: Shape) -> None:
        i.rank(index, len(shape))
        for n, (expected, found) in enumerate(zip(shape, i.shape(index), strict=True)):
            i.equal(
                expected,
                found,
                f"dim {n} of `{i.input_name(index)}` of `{self.name}` does not fit",
                inputs=[index, 0],
            )

    def evaluate(self, *inputs: Any, **attrs: Any) -> Any:
        return self._forward(*inputs, **attrs)

    def _product(self, xp: Any, weights: Any) -> Product:
        """How rows are multiplied by the weights of one direction."""
        columns = wide(weights).T
        return lambda rows, out: xp.matmul(rows, columns, out=out)

    def _forward(
        self,
        xp: Any,
        x: Any,
        w: Any,
        r: Any,
        bias: Any,
        lengths: Any,
        *rest: Any,
        hidden: int,
        direction: str,
        activations: Sequence[str],
        alpha: Sequence[float] | None,
        beta: Sequence[float] | None,
        clip: float | None,
        batch_first: bool,
        **own: Any,
    ) -> tuple[Any, ...]:
        dtype = x.dtype
        initial, peephole = rest[: self.states], rest[self.states] if len(rest) > self.states else None
        if batch_first:
            x = x.transpose(1, 0, 2)
            initial = tuple(s if s is None else s.transpose(1, 0, 2) for s in initial)
        x = wide(x)
        steps, batch, features = x.shape
        backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
        y = xp.empty((steps, len(backwards), batch, hidden), dtype=x.dtype)
        last = [xp.zeros((len(backwards), batch, hidden), dtype=x.dtype) for _ in range(self.states)]
        functions = make_gates(xp, activations, alpha, beta)
        uses = len(self.defaults)
        order = None if lengths is None else reversal(xp, lengths, steps)
        inside = None if lengths is None else xp.arange(steps)[:, None] < lengths
        for d, back in enumerate(backwards):
            for state, given in zip(last, initial, strict=True):
                if given is not None:
                    state[d] = given[d]
            inputs = _turned(xp, x, order) if back else x
            # One product for all steps; the loop adds the recurrent part to its rows in place.
            projected = xp.empty((steps * batch, self.gates * hidden), dtype=x.dtype)
            self._product(xp, w[d])(inputs.reshape(steps * batch, features), projected)
            run = _Run(
                xp,
                projected.reshape(steps, batch, self.gates * hidden),
                r[d],
                self._product(xp, r[d]),
                None if bias is None else wide(bias[d]),
                None if peephole is None else wide(peephole[d]),
                functions[d * uses : (d + 1) * uses],
                clip,
                inside,
            )
            out = xp.empty((steps, batch, hidden), dtype=x.dtype) if back else y[:, d]
            self._steps(run, out, *(state[d] for state in last), **own)
            if inside is not None:
                out *= inside[:, :, None]
            if back:
                y[:, d] = _turned(xp, out, order)
        results = [y, *last]
        if batch_first:
            results = [y.transpose(2, 0, 1, 3), *(state.transpose(1, 0, 2) for state in last)]
        return tuple(a.astype(dtype, copy=False) for a in results)

    def _steps(self, run: _Run, out: Any, *states: Any, **own: Any) -> None:
        """Go through all steps: fill out [S, B, H], leave the last states [B, H] in `states`."""
        raise NotImplementedError(self.name)


class _Run:
    """One direction of one call: the projected inputs [S, B, G*H], which the steps may overwrite, and what
    they need beside.
    """

    def __init__(
        self,
        xp: Any,
        projected: Any,
        r: Any,
        recur: Product,
        bias: Any,
        peephole: Any,
        functions: Sequence[Gate],
        clip: float | None,
        inside: Any,
    ) -> None:
        self.xp, self.projected, self.r, self.recur = xp, projected, r, recur
        self.bias, self.peephole, self.functions, self.inside = bias, peephole, functions, inside
        self._clip = clip

    def clip(self, x: Any) -> None:
        if self._clip is not None:
            self.xp.clip(x, -self._clip, self._clip, out=x)

    def keep(self, step: int, state: Any, new: Any) -> None:
        """`state` becomes `new` for the sequences that have this step."""
        if self.inside is None:
            state[...] = new
        else:
            self.xp.copyto(state, new, where=self.inside[step][:, None])


def _turned(xp: Any, x: Any, order: Any) -> Any:
    """[S, B, ..] with the steps of each sequence reversed."""
    return x[::-1] if order is None else x[order, xp.arange(x.shape[1])]


class Lstm(_Recurrent):
    """Long short-term memory, gates in the order i, o, f, c; `activations` are f (gates), g (cell), h
    (output).

    i = f(Wi x + Ri h + Pi * c + bi), f = f(Wf x + Rf h + Pf * c + bf), c' = f * c + i * g(Wc x + Rc h + bc),
    o = f(Wo x + Ro h + Po * c' + bo), h' = o * h(c'). `peephole` is [D, 3*H] (Pi, Po, Pf). `clip` bounds what
    goes into the gates; `input_forget` makes f = 1 - i. ONNX LSTM.
    """

    signature = (
        "lstm(x: T, w: T, r: T, bias: T?, lengths: i32?, h0: T?, c0: T?, peephole: T?, *,"
        f" {ATTRS}, input_forget: bool = false) -> (y: T, h: T, c: T)"
    )
    gates = 4
    defaults = ("sigmoid", "tanh", "tanh")
    states = 2

    def _steps(self, run: _Run, out: Any, *states: Any, input_forget: bool = False, **own: Any) -> None:
        xp, peephole = run.xp, run.peephole
        h, c = states
        size = h.shape[1]
        f, g, output = run.functions
        if run.bias is not None:
            run.projected += run.bias[: 4 * size] + run.bias[4 * size :]
        added, cell, squashed = (
            xp.empty_like(run.projected[0]) if len(out) else None,
            xp.empty_like(c),
            xp.empty_like(c),
        )
        for step, gates in enumerate(run.projected):
            run.recur(h, added)
            gates += added
            i_gate, o_gate, f_gate, candidate = (gates[:, n * size : (n + 1) * size] for n in range(4))
            if peephole is None:
                run.clip(gates)
                f(gates[:, : 3 * size])
            else:
                i_gate += peephole[:size] * c
                f_gate += peephole[2 * size :] * c
                for part in (i_gate, f_gate, candidate):
                    run.clip(part)
                f(i_gate)
                f(f_gate)
            g(candidate)
            if input_forget:
                xp.subtract(1, i_gate, out=f_gate)
            xp.multiply(f_gate, c, out=cell)
            candidate *= i_gate
            cell += candidate
            if peephole is not None:
                o_gate += peephole[size : 2 * size] * cell
                run.clip(o_gate)
                f(o_gate)
            squashed[...] = cell
            output(squashed)
            xp.multiply(o_gate, squashed, out=out[step])
            run.keep(step, c, cell)
            run.keep(step, h, out[step])


class Gru(_Recurrent):
    """Gated recurrent unit, gates in the order z, r, h; `activations` are f (gates), g (candidate).

    z = f(Wz x + Rz h + bz), r = f(Wr x + Rr h + br), h~ = g(Wh x + Rh (r * h) + bh), or with
    `linear_before_reset` g(Wh x + bwh + r * (Rh h + brh)); h' = (1 - z) * h~ + z * h. ONNX GRU.
    """

    signature = (
        "gru(x: T, w: T, r: T, bias: T?, lengths: i32?, h0: T?, *,"
        f" {ATTRS}, linear_before_reset: bool = false) -> (y: T, h: T)"
    )
    gates = 3
    defaults = ("sigmoid", "tanh")

    def _steps(self, run: _Run, out: Any, *states: Any, linear_before_reset: bool = False, **own: Any) -> None:
        xp = run.xp
        (h,) = states
        size = h.shape[1]
        f, g = run.functions
        inner = None
        if run.bias is not None:
            w_bias, r_bias = run.bias[: 3 * size], run.bias[3 * size :]
            run.projected += w_bias
            run.projected[:, :, : 2 * size] += r_bias[: 2 * size]
            if linear_before_reset:
                inner = r_bias[2 * size :]
            else:
                run.projected[:, :, 2 * size :] += r_bias[2 * size :]
        r = wide(run.r)
        early = r.T if linear_before_reset else r[: 2 * size].T
        late = r[2 * size :].T
        for step, gates in enumerate(run.projected):
            added = xp.matmul(h, early)
            both, candidate = gates[:, : 2 * size], gates[:, 2 * size :]
            both += added[:, : 2 * size]
            run.clip(both)
            f(both)
            z, reset = both[:, :size], both[:, size:]
            if linear_before_reset:
                part = added[:, 2 * size :]
                if inner is not None:
                    part += inner
                part *= reset
            else:
                reset *= h
                part = xp.matmul(reset, late)
            candidate += part
            run.clip(candidate)
            g(candidate)
            xp.subtract(h, candidate, out=out[step])
            out[step] *= z
            out[step] += candidate
            run.keep(step, h, out[step])


class Rnn(_Recurrent):
    """The plain recurrence: h' = f(W x + R h + bw + br), `activations` one name a direction. ONNX RNN."""

    signature = f"rnn(x: T, w: T, r: T, bias: T?, lengths: i32?, h0: T?, *, {ATTRS}) -> (y: T, h: T)"
    gates = 1
    defaults = ("tanh",)

    def _steps(self, run: _Run, out: Any, *states: Any, **own: Any) -> None:
        (h,) = states
        size = h.shape[1]
        (f,) = run.functions
        if run.bias is not None:
            run.projected += run.bias[:size] + run.bias[size:]
        for step, inputs in enumerate(run.projected):
            run.recur(h, out[step])
            out[step] += inputs
            run.clip(out[step])
            f(out[step])
            run.keep(step, h, out[step])
