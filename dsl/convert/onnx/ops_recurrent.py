"""LSTM, GRU, RNN, and ONNX Runtime's quantised LSTM."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_F32 = BY_NAME["f32"]
_OPS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_DEFAULTS = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",),
}  # fmt: skip


def _attrs(n: Call, op: str, recurrence: Tensor) -> dict[str, Any]:
    hidden = n.integer("hidden_size") if n.has("hidden_size") else recurrence.shape[2] if recurrence.rank == 3 else None
    attrs: dict[str, Any] = {"hidden": hidden, "direction": n.text("direction", "forward").lower()}
    functions = n.strs("activations")
    if functions is not None:
        directions = 2 if attrs["direction"] == "bidirectional" else 1
        if tuple(f.lower() for f in functions) != tuple(f.lower() for f in _DEFAULTS[op] * directions):
            attrs["activations"] = tuple(f.lower() for f in functions)
    for ours, theirs in (("alpha", "activation_alpha"), ("beta", "activation_beta")):
        values = n.floats(theirs)
        if values:
            attrs[ours] = tuple(tidy(v) for v in values)
    if n.has("clip"):
        attrs["clip"] = tidy(n.number("clip"))
    if n.flag("layout"):
        attrs["batch_first"] = True
    return attrs


@onnx_op("LSTM")
def _lstm(n: Call) -> Results:
    attrs = _attrs(n, "LSTM", n.tensor(2))
    if n.flag("input_forget"):
        attrs["input_forget"] = True
    return n.emit_all("lstm", n.tensor(0), n.tensor(1), n.tensor(2), *(n.maybe(i) for i in range(3, 8)), **attrs)


@onnx_op("GRU")
def _gru(n: Call) -> Results:
    attrs = _attrs(n, "GRU", n.tensor(2))
    if n.flag("linear_before_reset"):
        attrs["linear_before_reset"] = True
    return n.emit_all("gru", n.tensor(0), n.tensor(1), n.tensor(2), *(n.maybe(i) for i in range(3, 6)), **attrs)


@onnx_op("RNN")
def _rnn(n: Call) -> Results:
    return n.emit_all(
        "rnn",
        n.tensor(0),
        n.tensor(1),
        n.tensor(2),
        *(n.maybe(i) for i in range(3, 6)),
        **_attrs(n, "RNN", n.tensor(2)),
    )


@onnx_op("DynamicQuantizeLSTM", domain="com.microsoft")
def _quantized_lstm(n: Call) -> Results:
    """An LSTM over 8-bit weights, computed in f32 on the dequantised weights.

    ONNX Runtime also rounds x, and h at each step, to 8 bits by their ranges; this does not, so it is the more exact of
    the two and differs from it by about that rounding. (Without VNNI instructions ONNX Runtime's sums also saturate.)
    There, W is [D, I, 4H] and R [D, H, 4H].
    """
    attrs = _attrs(n, "LSTM", n.tensor(2))
    attrs["hidden"] = n.integer("hidden_size")
    if n.flag("input_forget"):
        attrs["input_forget"] = True
    w = _dequantized(n, n.tensor(1), n.tensor(8), n.tensor(9), "w")
    r = _dequantized(n, n.tensor(2), n.tensor(10), n.tensor(11), "r")
    return n.emit_all("lstm", n.tensor(0), w, r, *(n.maybe(i) for i in range(3, 8)), **attrs)


def _dequantized(n: Call, weight: Tensor, scale: Tensor, zero: Tensor, part: str) -> Tensor:
    """8-bit weights [D, I, 4H], with a scale for each direction or each column of one, as f32[D, 4H, I]."""
    if weight.rank != 3:
        refuse(f"its weights are {weight.type}; three dims were expected")
    turned = n.emit("transpose", weight, part=f"{part}_rows", perm=(0, 2, 1))
    if scale.rank == 1:
        return n.emit("dequantize_linear", turned, scale, zero, part=part, axis=0)
    if scale.rank != 2:
        refuse(f"a scale of type {scale.type} is not supported")
    wide, offset, factor = (
        n.cast(t, _F32, f"{part}_{word}") for t, word in ((turned, "wide"), (zero, "zero"), (scale, "scale"))
    )
    offset, factor = (
        n.emit("unsqueeze", t, part=f"{part}_{word}_column", axes=(2,))
        for t, word in ((offset, "zero"), (factor, "scale"))
    )
    return n.emit("mul", n.emit("sub", wide, offset, part=f"{part}_centred"), factor, part=part)
