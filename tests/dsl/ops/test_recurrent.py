from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.gates import FUNCTIONS
from trtn.dsl.ops.infer import InferFailure

B, S = symbol("B"), symbol("S")
STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
OUTPUTS = {"lstm": 3, "gru": 2, "rnn": 2}
USES = {"lstm": 3, "gru": 2, "rnn": 1}


def operands(name: str, directions: int, *, peephole: bool = False) -> list[Any]:
    """x, w, r, bias, lengths, h0 (, c0, peephole)."""
    rng = np.random.default_rng(3)

    def floats(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32) * 0.7

    rows, state = GATES[name] * HIDDEN, (directions, BATCH, HIDDEN)
    out = [
        floats(STEPS, BATCH, FEATURES),
        floats(directions, rows, FEATURES),
        floats(directions, rows, HIDDEN),
    ]
    out += [floats(directions, 2 * rows), np.array([5, 2, 4], np.int32), floats(*state)]
    if name == "lstm":
        out += [floats(*state), floats(directions, 3 * HIDDEN) if peephole else None]
    return out


def check(name: str, inputs: list[Any], **attrs: Any) -> None:
    theirs = {"hidden_size": HIDDEN}
    for key, v in attrs.items():
        renamed = {"alpha": "activation_alpha", "beta": "activation_beta"}.get(key, key)
        if key == "activations":
            v = ["".join(w.capitalize() for w in n.split("_")).replace("Relu", "Relu") for n in v]
        theirs[renamed] = int(v) if isinstance(v, bool) else v
    given = list(inputs)
    while given[-1] is None:
        given.pop()
    expected = run_ort(name.upper(), given, theirs, opset=14, outputs=OUTPUTS[name])
    ours = run_ours(name, *inputs, hidden=HIDDEN, **attrs)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [False, True])
def test_directions_and_lengths_match_onnxruntime(name: str, direction: str, lengths: bool) -> None:
    inputs = operands(name, 2 if direction == "bidirectional" else 1)
    if not lengths:
        inputs[4] = None
    check(name, inputs, direction=direction)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_absent_bias_and_states_match_onnxruntime(name: str) -> None:
    check(name, [*operands(name, 1)[:3], *[None] * (5 if name == "lstm" else 3)])


@pytest.mark.parametrize("options", [{}, {"clip": 0.3}, {"input_forget": True}])
@pytest.mark.parametrize("peephole", [False, True])
def test_lstm_options_match_onnxruntime(options: dict[str, Any], peephole: bool) -> None:
    check("lstm", operands("lstm", 1, peephole=peephole), **options)


@pytest.mark.parametrize("options", [{}, {"clip": 0.3}])
@pytest.mark.parametrize("before", [False, True])
def test_gru_options_match_onnxruntime(options: dict[str, Any], before: bool) -> None:
    check("gru", operands("gru", 2), direction="bidirectional", linear_before_reset=before, **options)
    check("gru", [*operands("gru", 1)[:3], None, None, None], linear_before_reset=before, **options)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_activations_match_onnxruntime(function: str) -> None:
    _, alpha, beta = FUNCTIONS[function]
    attrs: dict[str, Any] = {"activations": [function]}
    if alpha is not None:
        attrs["alpha"] = [0.4]
    if beta is not None:
        attrs["beta"] = [0.3]
    check("rnn", operands("rnn", 1), **attrs)


def test_activation_parameters_are_used_up_in_turn() -> None:
    names = ["hard_sigmoid", "leaky_relu", "tanh", "sigmoid", "scaled_tanh", "affine"]
    attrs = {"activations": names, "alpha": [0.3, 0.1, 1.2, 0.9], "beta": [0.4, 0.8, 0.1]}
    check("lstm", operands("lstm", 2), direction="bidirectional", **attrs)


def test_batch_first_swaps_the_axes() -> None:
    inputs = operands("lstm", 2)
    plain = run_ours("lstm", *inputs, hidden=HIDDEN, direction="bidirectional")
    swapped = [inputs[0].transpose(1, 0, 2), *inputs[1:5], *(s.transpose(1, 0, 2) for s in inputs[5:7]), None]
    y, h, c = run_ours("lstm", *swapped, hidden=HIDDEN, direction="bidirectional", batch_first=True)
    np.testing.assert_array_equal(y, plain[0].transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(h, plain[1].transpose(1, 0, 2))
    np.testing.assert_array_equal(c, plain[2].transpose(1, 0, 2))


def test_half_precision_and_no_steps() -> None:
    inputs = [a if a is None or a.dtype == np.int32 else a.astype(np.float16) for a in operands("gru", 1)]
    (y, _) = run_ours("gru", *inputs, hidden=HIDDEN)
    assert y.dtype == np.float16
    inputs = operands("lstm", 1)
    inputs[0], inputs[4] = inputs[0][:0], None
    _, h, c = run_ours("lstm", *inputs, hidden=HIDDEN)
    np.testing.assert_array_equal(h, inputs[5])
    np.testing.assert_array_equal(c, inputs[6])


def test_shapes() -> None:
    x, w, r = tensor("f32", S, B, 4), tensor("f32", 2, 24, 4), tensor("f32", 2, 24, 6)
    inferred = infer("lstm", x, w, r, hidden=6, direction="bidirectional")
    assert [t.shape for t in inferred.types] == [(S, 2, B, 6), (2, B, 6), (2, B, 6)]
    assert inferred.attrs["activations"] == ("sigmoid", "tanh", "tanh") * 2
    inferred = infer("lstm", x, w, r, hidden=6, direction="bidirectional", batch_first=True)
    assert [t.shape for t in inferred.types] == [(S, B, 2, 6), (S, 2, 6), (S, 2, 6)]


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({}, "E0212"),
        ({"hidden": 5}, "E0312"),
        ({"hidden": 0}, "E0304"),
        ({"hidden": 6, "direction": "bidirectional"}, "E0312"),
        ({"hidden": 6, "activations": ["tanh"]}, "E0304"),
        ({"hidden": 6, "activations": ["tanh", "tanh", "sine"]}, "E0304"),
        ({"hidden": 6, "clip": -1}, "E0304"),
    ],
)
def test_refusals(attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("lstm", tensor("f32", S, B, 4), tensor("f32", 1, 24, 4), tensor("f32", 1, 24, 6), **attrs)
    assert failure.value.code == code


def quantized(columns: int | None, scales: int = 1) -> list[Any]:
    """Inputs of dynamic_quantize_lstm up to the zero points: 4 features, hidden size 6, `scales` of `columns`."""
    step = (1, columns) if columns else (scales,)
    parameters = [tensor("f32", *step), tensor("i8", *step)] * 2
    return [tensor("f32", S, B, 4), tensor("i8", 1, 4, 24), tensor("i8", 1, 6, 24), *parameters]


def test_shapes_of_quantized_weights() -> None:
    for columns in (None, 24):
        inferred = infer("dynamic_quantize_lstm", *quantized(columns), hidden=6)
        assert [t.shape for t in inferred.types] == [(S, 1, B, 6), (1, B, 6), (1, B, 6)]
    for wrong in (quantized(None, scales=2), quantized(6)):
        with pytest.raises(InferFailure, match="of `w_scale` of `dynamic_quantize_lstm` does not fit"):
            infer("dynamic_quantize_lstm", *wrong, hidden=6)
    turned = quantized(None)
    turned[1] = tensor("i8", 1, 24, 4)
    with pytest.raises(InferFailure, match="of `w` of"):
        infer("dynamic_quantize_lstm", *turned, hidden=6)


@pytest.mark.parametrize("features", [4, 300])
def test_sums_of_quantized_products_are_exact(features: int) -> None:
    """One step from no state: the gates are integers times two scales, so that f64 gives the same result."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 2, features), dtype=np.float32)
    levels = rng.integers(-128, 128, (1, features, 4 * HIDDEN)).astype(np.int8)
    r, step, zero = np.zeros((1, HIDDEN, 4 * HIDDEN), np.int8), np.float32([0.002]), np.int8([-7])
    y, _, _ = run_ours("dynamic_quantize_lstm", x, levels, r, step, zero, step, zero, *[None] * 5, hidden=HIDDEN)
    q, scale, offset = run_ours("dynamic_quantize_linear", x)
    sums = (q[0].astype(np.int64) - int(offset)) @ (levels[0].astype(np.int64) + 7)
    i, o, _, c = np.split(sums.astype(np.float64) * float(scale) * 0.002, 4, axis=1)
    cell = np.tanh(c) / (1 + np.exp(-i))
    np.testing.assert_allclose(y[0, 0], np.tanh(cell) / (1 + np.exp(-o)), rtol=2e-6, atol=1e-7)
