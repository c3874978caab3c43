"""Expressions: operators as layers, numbers and dims as tensors, compile-time arithmetic, calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.checking import X, accepted, codes, layer_names, ops, rejected, spec
from tests.interpreter import evaluate_network
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.elaborate.expressions import INFIX
from trtn.dsl.network import Network


def run(body: str, result: str = "f32[N, 4]") -> np.ndarray[Any, Any]:
    return evaluate_network(last(body, result), {"x": X})["y"]


def last(body: str, result: str = "f32[N, 4]") -> Network:
    return accepted(spec(f"output y: {result}\n{body}"))


# --- operators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", sorted(set(INFIX) - {"@"}))
def test_every_operator_is_a_layer(sign: str) -> None:
    result = "bool[N, 4]" if INFIX[sign] in ("equal", "not_equal") or sign in "<=>=" else "f32[N, 4]"
    assert ops(last(f"y = x {sign} x", result)) == [INFIX[sign]]
    assert ops(last(f"y = x {sign} 2", result)) == [INFIX[sign]]
    assert ops(last(f"y = 2 {sign} x", result)) == [INFIX[sign]]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x + 1.5", X + 1.5),
        ("1 - x", 1 - X),
        ("x * 2 + x / 4", X * 2 + X / 4),
        ("-x ** 2", -(X**2)),
        ("(-x) ** 2", X**2),
        ("x - 1 - 2 - 3", X - 6),
        ("2 ** 3 ** 0 * x", 2 * X),
        ("x // 0.5", X // 0.5),
        ("x % 0.75", X % 0.75),
        ("x @ transpose(x) @ x", X @ X.T @ X),
        ("- -x", X),
        ("x + [1, 2, 3, 4]", X + np.arange(1, 5)),
        ("x * [0.5]", X * 0.5),
    ],
)
def test_operators_compute(expression: str, expected: np.ndarray[Any, Any]) -> None:
    np.testing.assert_allclose(run(f"y = {expression}"), expected, rtol=1e-6)


@pytest.mark.parametrize(("sign", "function"), [("<", np.less), (">=", np.greater_equal), ("==", np.equal)])
def test_comparisons_compute(sign: str, function: np.ufunc) -> None:
    np.testing.assert_array_equal(run(f"y = x {sign} 0.5", "bool[N, 4]"), function(X, 0.5))


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "i64", "i32", "i8", "u8"])
def test_a_number_takes_the_dtype_of_the_other_operand(dtype: str) -> None:
    network = last(f"z = cast(x, to={dtype})\n y = 3 * z", f"{dtype}[N, 4]")
    (constant,) = network.weights
    assert (constant.dtype, constant.shape) == (BY_NAME[dtype], ())


@pytest.mark.parametrize(
    ("call", "dtypes"),
    [
        ("where(x > 0, x, -1)", {"f32"}),
        ("max(x, 0, 1)", {"f32"}),
        ("gather(x, 0, axis=0)", {"i64"}),
        ("pow(x, 2)", {"f32", "i64"}),
    ],
)
def test_a_number_takes_the_dtype_of_its_variable(call: str, dtypes: set[str]) -> None:
    network = accepted(spec(f"y = reduce_sum(cast({call}, to=f32))\n output y: f32[]"))
    scalars = {t.dtype.name for layer in network.layers for t in layer.inputs if t is not None and t.weight is not None}
    assert scalars <= dtypes and scalars


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("y = cast(x, to=i32) + 1.5", "E0302", "a constant with a fraction can't be i32"),
        ("y = cast(x, to=i8) + 300", "E0306", None),
        ("y = x + [[1, 2], [3]]", "E0306", None),
        ("y = x + [1, x]", "E0306", "a constant is made of numbers, not a tensor (f32[N, 4])"),
        ("y = x + [1, N]", "E0306", "a constant is made of numbers, not a dim"),
        (f"y = x + {list(range(17))}", "E0306", "a constant of 17 elements; more than 16 belong in a manifest"),
        ('y = x + "1"', "E0306", "a tensor is wanted here, not a string"),
        ("y = x + f32", "E0306", "a tensor is wanted here, not a dtype"),
        ("y = x + (N < 4)", "E0306", "a tensor is wanted here, not a relation"),
        ("y = x + 99999999999999999999 // 1", "E0418", "the result of `//` is beyond 2^63"),
        ("y = x + nothing", "E0201", "`nothing` is not defined"),
        ("y = x + x.part", "E0201", None),
    ],
)
def test_what_is_no_tensor(body: str, code: str, message: str | None) -> None:
    found = rejected(spec(f"output y: f32[N, 4]\n{body}"))
    assert found.code == code
    assert message is None or found.message == message


# --- dims as tensors ------------------------------------------------------------------------------------------------


def test_a_dim_as_a_tensor() -> None:
    np.testing.assert_allclose(run("y = x / N"), X / 3)
    np.testing.assert_allclose(run("y = x * (2 * N - 1)"), X * 5)
    np.testing.assert_array_equal(run("y = cast(x, to=i32) * N", "i32[N, 4]"), X.astype(np.int32) * 3)
    assert run("y = N", "i64[]") == 3
    assert run("y = N + 1", "f32[]").dtype == np.float32
    assert run("y = N : i32[]", "i32[]").dtype == np.int32


def test_a_stated_type_makes_a_tensor_of_a_number() -> None:
    assert codes(spec("output y: f32[N, 4]\n two = 2 : i32[]\n y = x * two")) == ["E0302"]
    assert codes(spec("output y: f32[N, 4]\n two = 2\n y = x * two")) == []
    assert ops(accepted(spec("output y: i32[]\n y = N : i32[]"))) == ["dims"]


def test_layers_that_a_dim_makes_are_named_after_the_statement() -> None:
    network = last("a = x + N\n b = x * N\n y = a + b")
    assert layer_names(network) == ["a.dims", "a.cast", "a", "b.dims", "b.cast", "b", "y"]


# --- compile-time values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3 * 4 + 2", 14),
        ("2 ** 10 // 3", 341),
        ("-7 // 2", -4),
        ("-7 % 4", 1),
        ("7 / 2", 3.5),
        ("2 ** -1", 0.5),
        ("min(3, 5) + max(1, 2, 9)", 12),
        ("min(3, 2.5)", 2.5),
        ("ceildiv(7, 2)", 4),
        ("sqrt(64)", 8.0),
        ("1 / sqrt(16 * 4)", 0.125),
        ("1.5e2", 150.0),
        ("1_000", 1000),
    ],
)
def test_arithmetic_of_numbers(expression: str, value: float) -> None:
    network = last(f"let a = {expression}\n y = x * a")
    (constant,) = network.weights
    assert constant.weight is not None
    np.testing.assert_allclose(constant.weight.load(), value)


@pytest.mark.parametrize(
    ("expression", "size"),
    [("N + N", 6), ("N * N - N", 6), ("(N + 1) // 2", 2), ("N % 2", 1), ("N ** 2", 9), ("ceildiv(N, 2)", 2),
     ("min(N, 2)", 2), ("max(N, 2, 5 - N)", 3), ("-N + 10", 7)],
)  # fmt: skip
def test_arithmetic_of_dims(expression: str, size: int) -> None:
    assert run(f"let a = {expression}\n y = fill(shape=[a])", f"f32[{expression}]").shape == (size,)


@pytest.mark.parametrize(
    ("expression", "code", "message"),
    [
        ("1 / 0", "E0306", "division by zero: 1 / 0"),
        ("N % 0", "E0306", None),
        ("N / 2", "E0306", "`/` can't be computed: dims divide by `//` (down) or `ceildiv` (up)"),
        ("N * 1.5", "E0306", "a dim and a float can't be combined: dims are integers"),
        ("2 ** N", "E0306", "`**` can't be computed: a dim can't be an exponent"),
        ("N ** 9", "E0306", "`**` can't be computed: a dim is raised to integers from 0 to 8"),
        ("2 ** 100", "E0418", "the result of `**` is beyond 2^63"),
        ("9 ** 9 ** 9 ** 9", "E0306", "`**` can't be computed: the power is too large"),
        ("(-8) ** 0.5", "E0306", "`**` can't be computed: a root of a negative number"),
        ("sqrt(-1)", "E0306", None),
        ("sqrt(N)", "E0306", "`sqrt` can't be computed: the root of a dim is no integer"),
        ("sqrt(1, 2)", "E0306", "`sqrt` can't be computed: it takes 1 number, not 2"),
        ("ceildiv(1)", "E0306", "`ceildiv` can't be computed: it takes 2 numbers, not 1"),
        ("ceildiv(1, 0)", "E0306", None),
        ("min(N, 1.5)", "E0306", "`min` can't be computed: dims and floats can't be combined"),
        ('"a" + 1', "E0306", "`+` takes numbers or tensors, not a string"),
        ("true * 2", "E0306", "`*` takes numbers or tensors, not a bool"),
        ('"a" < 1', "E0306", "a string and an integer can't be compared"),
        ("N < 1.5", "E0306", "a dim can't be compared with a float"),
        ("relu(x)", "E0306", "`let` names compile-time values, not a tensor (f32[N, 4])"),
    ],
)
def test_arithmetic_that_fails(expression: str, code: str, message: str | None) -> None:
    found = rejected(spec(f"output y: f32[N, 4]\n let a = {expression}\n y = x"))
    assert found.code == code
    assert message is None or found.message == message


# --- calls ----------------------------------------------------------------------------------------------------------


def test_activation_names_an_op() -> None:
    assert ops(last('y = activation(x, kind="silu")')) == ["silu"]
    network = last('y = activation(x, kind="leaky_relu", alpha=1)')
    assert network.layers[0].attrs["alpha"] == 1.0
    assert isinstance(network.layers[0].attrs["alpha"], float)
    assert rejected(spec('output y: f32[N, 4]\n y = activation(x, kind="sliu")')).help == "did you mean `silu`?"
    assert codes(spec("output y: f32[N, 4]\n y = activation(x)")) == ["E0212"]
    assert codes(spec("output y: f32[N, 4]\n y = activation(x, kind=gelu)")) == ["E0201"]
    assert codes(spec('output y: f32[N, 4]\n y = activation(x, kind="matmul")')) == ["E0203"]


@pytest.mark.parametrize(
    ("call", "dtype", "value"),
    [
        ("constant(3)", "i64", 3),
        ("constant(2.5)", "f32", 2.5),
        ("constant(true)", "bool", True),
        ("constant([1, 2.5])", "f32", [1, 2.5]),
        ("constant([[1, 2], [3, 4]], dtype=i8)", "i8", [[1, 2], [3, 4]]),
        ("constant(3, dtype=bf16)", "bf16", 3),
        ("constant([], dtype=i32)", "i32", []),
        ("constant(-inf)", "f32", -np.inf),
    ],
)
def test_constant(call: str, dtype: str, value: object) -> None:
    shape = ", ".join(map(str, np.shape(value)))
    network = accepted(spec(f"output y: {dtype}[{shape}]\n y = {call}"))
    (constant,) = network.weights
    assert constant.weight is not None
    array = constant.weight.load()
    assert array.dtype == BY_NAME[dtype].numpy
    np.testing.assert_array_equal(array.astype(np.float64), np.asarray(value, np.float64))


@pytest.mark.parametrize("call", ["constant()", "constant(1, 2)", "constant(1, dtype=3)", "constant(1, kind=f32)"])
def test_constant_wrongly_called(call: str) -> None:
    assert codes(spec(f"output y: f32[N, 4]\n y = x * {call}")) == ["E0207"]


def test_absent_inputs() -> None:
    network = last("y = pad(x, none, 7.0, pads=[0, 0, 0, 1])", "f32[N, 5]")
    assert [t is None for t in network.layers[0].inputs] == [False, True, False]
    assert run("y = pad(x, none, 7.0, pads=[0, 0, 0, 1])", "f32[N, 5]")[0, 4] == 7
    assert len(last("y = layer_norm(x, none, none)").layers[0].inputs) == 1
    assert rejected(spec("output y: f32[N, 4]\n y = relu(none)")).message == "`x` of `relu` can't be absent"
    assert codes(spec("output y: f32[N, 4]\n y = relu(`none`)")) == ["E0201"]


def test_several_results() -> None:
    network = last("a, b = split(x, axis=1)\n y = concat(b, a, axis=1)")
    assert [t.name for t in network.layers[0].outputs] == ["a", "b"]
    np.testing.assert_array_equal(run("a, b = split(x, axis=1)\n y = concat(b, a, axis=1)"), np.roll(X, 2, axis=1))
    np.testing.assert_array_equal(run("_, i = top_k(x, k=1)\n y = i", "i64[N, 1]"), [[3], [3], [3]])
    (names,) = [[t.name for t in layer.outputs] for layer in last("y, _ = top_k(x, k=1)", "f32[N, 1]").layers]
    assert names == ["y", "y.unused1"]
    last("a, b = split(x, axis=1) : f32[N, 2], f32[N, 2]\n y = a + b", "f32[N, 2]")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = top_k(x, k=1)", "2 results for 1 name"),
        ("a, b = relu(x)\n y = x", "1 result for 2 names"),
        ("y = relu(top_k(x, k=1))", "`top_k` gives 2 results; one is wanted here"),
        ("a, b = split(x, axis=1) : f32[N, 2]\n y = x", "2 names and 1 type"),
        ("a, b = x + 1\n y = x", "1 result for 2 names"),
    ],
)
def test_the_wrong_number_of_results(body: str, message: str) -> None:
    found = rejected(spec(f"output y: f32[N, 4]\n {body}"))
    assert (found.code, found.message) == ("E0208", message)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("rleu(x)", "E0203"),
        ("x(x)", "E0203"),
        ("if(x)", "E0203"),
        ("scan(x)", "E0203"),
        ("relu(x, x)", "E0207"),
        ("relu()", "E0207"),
        ("relu(x, alpha=1)", "E0204"),
        ("softmax(x, axis=1, axis=1)", "E0202"),
        ("softmax(x, axis=1.5)", "E0304"),
        ("softmax(x, axis=N)", "E0304"),
        ("softmax(x, axis=2)", "E0304"),
        ("softmax(x, axis=x)", "E0304"),
        ("cast(x)", "E0212"),
        ("cast(x, to=f31)", "E0201"),
        ('gelu(x, approximate="tan")', "E0304"),
        ("reshape(x, shape=[N, 2.5])", "E0304"),
        ("add(x, cast(x, to=f16))", "E0302"),
        ("and(x, x)", "E0302"),
        ("conv(x, x)", "E0303"),
    ],
)
def test_calls_that_fail(call: str, code: str) -> None:
    assert codes(spec(f"output y: f32[N, 4]\n y = {call}"))[:1] == [code]


def test_results_that_are_inputs_weights_or_one_another() -> None:
    network = accepted(
        spec("output y: f32[N, 4]\n output z: f32[N, 4]\n output c: f32[]\n y = relu(x)\n z = y\n c = 3")
    )
    assert [t.name for t in network.outputs] == ["y", "z", "c"]
    assert ops(network) == ["relu", "identity", "identity"]
    assert ops(last("y = x")) == ["identity"]


def test_long_chains_and_deep_nests() -> None:
    assert len(last("y = " + " + ".join(["x"] * 100)).layers) == 99
    assert len(last("y = " + "relu(" * 60 + "x" + ")" * 60).layers) == 60
