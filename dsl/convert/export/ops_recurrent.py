"""LSTM, GRU, RNN. With the batch first they stand between transposes: few runtimes have that layout."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.ops.gates import FUNCTIONS

__all__: list[str] = []

_OPS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_STATES = {"lstm": (5, 6), "gru": (5,), "rnn": (5,)}
"""The inputs that are first states."""
_WORDS = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "affine": "Affine", "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh", "hard_sigmoid": "HardSigmoid", "elu": "Elu",
    "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip


@writes(*_OPS)
def _recurrent(s: Site) -> None:
    name = s.layer.op.name
    attrs: dict[str, Any] = {
        "hidden_size": s["hidden"],
        "direction": s["direction"],
        "clip": s["clip"],
        "activations": [_WORDS[a] for a in s["activations"]],
        "activation_alpha": _parameters(s, "alpha"),
        "activation_beta": _parameters(s, "beta"),
    }
    if name == "lstm" and s["input_forget"]:
        attrs["input_forget"] = 1
    if name == "gru":
        attrs["linear_before_reset"] = int(s["linear_before_reset"])
    inputs = s.xs()
    results = range(len(s.layer.outputs))
    if not s["batch_first"]:
        s.emit_all(_OPS[name], *inputs, results=results, **attrs)
        return
    inputs[0] = s.transpose(s.x(0), (1, 0, 2), part="steps_first")
    for index in _STATES[name]:
        if s.given(index):
            inputs[index] = s.transpose(s.x(index), (1, 0, 2), part=f"state{index}")
    made = s.emit_all(_OPS[name], *inputs, part="batch_second", results=results, **attrs)
    for n, value in enumerate(made):
        s.transpose(value, (2, 0, 1, 3) if n == 0 else (1, 0, 2), result=n)


def _parameters(s: Site, name: str) -> list[float] | None:
    """alpha or beta of the activations that have one, in order: those that are given, then the defaults."""
    given = iter(s[name] or ())
    defaults = [FUNCTIONS[a][1 if name == "alpha" else 2] for a in s["activations"]]
    return [next(given, d) for d in defaults if isinstance(d, float)] or None
