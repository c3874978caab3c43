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
