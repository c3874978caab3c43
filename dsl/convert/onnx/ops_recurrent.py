"""LSTM, GRU, RNN, and ONNX Runtime's quantised LSTM."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op
from trtn.dsl.network import Tensor
from trtn.dsl.ops.gates import FUNCTIONS

__all__: list[str] = []

_OPS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_DEFAULTS = {
    "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",),
}  # fmt: skip
_WORDS = {name.replace("_", ""): name for name in FUNCTIONS}
"""Our names for ONNX's, which count in any case of their letters."""


def _attrs(n: Call, op: str, recurrence: Tensor) -> dict[str, Any]:
    hidden = n.integer("hidden_size") if n.has("hidden_size") else recurrence.shape[2] if recurrence.rank == 3 else None
    attrs: dict[str, Any] = {"hidden": hidden, "direction": n.text("direction", "forward").lower()}
    functions = n.strs("activations")
    if functions is not None:
        directions = 2 if attrs["direction"] == "bidirectional" else 1
        words = tuple(_WORDS.get(f.lower(), f.lower()) for f in functions)
        if words != _DEFAULTS[op] * directions:
            attrs["activations"] = words
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
    """Scales and zero points come last there."""
    attrs = _attrs(n, "LSTM", n.tensor(2))
    attrs["hidden"] = n.integer("hidden_size")
    if n.flag("input_forget"):
        attrs["input_forget"] = True
    parameters = [n.tensor(i) for i in range(8, 12)]
    rest = [n.maybe(i) for i in range(3, 8)]
    return n.emit_all("dynamic_quantize_lstm", n.tensor(0), n.tensor(1), n.tensor(2), *parameters, *rest, **attrs)
