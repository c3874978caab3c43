"""LSTM, GRU, RNN. With the batch first they stand between transposes: few runtimes have that layout.

The LSTM over 8-bit weights is ONNX Runtime's own op: ONNX's have no integers between their steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.ops.gates import FUNCTIONS

__all__: list[str] = []

_OPS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_WORDS = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "affine": "Affine", "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh", "hard_sigmoid": "HardSigmoid", "elu": "Elu",
    "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip


@writes(*_OPS)
def _recurrent(s: Site) -> None:
    name = s.layer.op.name
    attrs = _attrs(s)
    if name == "gru":
        attrs["linear_before_reset"] = int(s["linear_before_reset"])
    op = _OPS[name]
    _batch_second(s, s.xs(), lambda inputs, **where: s.emit_all(op, *inputs, **where, **attrs))


@writes("dynamic_quantize_lstm")
def _quantized(s: Site) -> None:
    """There, scales and zero points come last."""
    attrs = _attrs(s)
    x, w, r, *parameters = s.xs()[:7]
    rest = [s.maybe(n) for n in range(7, 12)]
    op = "DynamicQuantizeLSTM"
    _batch_second(s, [x, w, r, *rest, *parameters], lambda i, **where: s.emit_contributed(op, *i, **where, **attrs))


def _attrs(s: Site) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "hidden_size": s["hidden"],
        "direction": s["direction"],
        "clip": s["clip"],
        "activations": [_WORDS[a] for a in s["activations"]],
        "activation_alpha": _parameters(s, "alpha"),
        "activation_beta": _parameters(s, "beta"),
    }
    if s.layer.attrs.get("input_forget"):
        attrs["input_forget"] = 1
    return attrs


def _batch_second(s: Site, inputs: list[Value | None], emit: Callable[..., tuple[Value, ...]]) -> None:
    """Write the node with the steps as the first axis: of inputs x, w, r, bias, lengths and the first states."""
    results = range(len(s.layer.outputs))
    if not s["batch_first"]:
        emit(inputs, results=results)
        return
    states = range(5, 4 + len(results))
    for index, part in ((0, "steps_first"), *((n, f"state{n}") for n in states)):
        value = inputs[index] if index < len(inputs) else None
        if value is not None:
            inputs[index] = s.transpose(value, (1, 0, 2), part=part)
    made = emit(inputs, part="batch_second", results=results)
    for n, value in enumerate(made):
        s.transpose(value, (2, 0, 1, 3) if n == 0 else (1, 0, 2), result=n)


def _parameters(s: Site, name: str) -> list[float] | None:
    """alpha or beta of the activations that have one, in order: those that are given, then the defaults."""
    given = iter(s[name] or ())
    defaults = [FUNCTIONS[a][1 if name == "alpha" else 2] for a in s["activations"]]
    return [next(given, d) for d in defaults if isinstance(d, float)] or None
