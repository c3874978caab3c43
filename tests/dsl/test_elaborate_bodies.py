"""Bodies that are expanded: blocks and repeats; the names that layers get; annotations."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.checking import OUT, X, accepted, check, codes, layer_names, made, ops, rejected, run, spec
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import SpecError
from trtn.dsl.load import load_text
from trtn.dsl.network import walk


def names(body: str, before: str = "") -> list[str]:
    return layer_names(made(body, before))


# --- names ----------------------------------------------------------------------------------------------------------


BODY = """
  h = linear(x, constant([[1.0], [2.0], [3.0], [4.0]])) * 2 + x
  repeat i in 0..2 carry h as layer {
    a = relu(h) + relu(-h)
    {extra}
    h = f(a, k=i) + a
  }
  repeat j in 0..2 carry h { h = exp(h) }
  g = if reduce_sum(h) > 0.0 { z = relu(h) yield z } else { yield h * 2 }
  s, rows = scan over r = g carry s = zeros_like { s = s + r  yield s * 2 }
  y = rows
"""
F = "block f(x: T[N, D], *, k: int) -> T[N, D] {\n  b = x * k\n  return sqrt(abs(b))\n}"


def body_with(extra: str = "", before: str = "") -> str:
    text = BODY.replace("{extra}", extra).replace("carry s = zeros_like", "carry s = reduce_sum(x, axes=[0])")
    return before + text


def test_names_are_paths() -> None:
    assert names(body_with(), F) == [
        "h.linear", "h.mul", "h",
        "layer[0].a.relu", "layer[0].a.neg", "layer[0].a.relu_2", "layer[0].a",
        "layer[0].h.f.b", "layer[0].h.f.abs", "layer[0].h.f", "layer[0].h",
        "layer[1].a.relu", "layer[1].a.neg", "layer[1].a.relu_2", "layer[1].a",
        "layer[1].h.f.b", "layer[1].h.f.abs", "layer[1].h.f", "layer[1].h",
        "h[0]", "h[1]",
        "g.reduce_sum", "g.greater", "g", "g.then.z", "g.else.yield",
        "s.reduce_sum", "s", "s.body.s_2", "s.body.yield",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "before"),
    [
        ("new = exp(h)", ""),
        ("new = f(f(h, k=1), k=2)", ""),
        ("", "new = exp(x) + N\n"),
        ("", "new = if reduce_max(x) > N { yield exp(x) } else { yield x }\n"),
        ("", "repeat i in 0..2 as more { new = exp(x) }\n"),
        ("_, new = top_k(h, k=1)", "_, other = top_k(x, k=1)\n"),
        ("new = constant([1.0]) * N", "also = N : i32[]\n"),
    ],
)
def test_inserting_a_layer_changes_no_other_name(extra: str, before: str) -> None:
    old, new = names(body_with(), F), names(body_with(extra, before), F)
    assert len(new) > len(old)
    added = [n for n in new if n not in old]
    assert [n for n in new if n in old] == old
    assert len(added) == len(new) - len(old)


def test_foreign_names_in_backticks() -> None:
    network = accepted(
        spec("input `in/0`: f32[N, 4]\n output `out:0`: f32[N, 4]\n `a b` = `in/0` + x\n `out:0` = `a b` * 2")
    )
    assert [t.name for t in network.inputs] == ["x", "in/0"]
    assert [t.name for t in network.outputs] == ["out:0"]
    assert layer_names(network) == ["a b", "out:0"]
    names_of_dims = accepted(spec("input z: f32[`s:0`]\n" + OUT + "y = x", dims="dim N in 1..8\n dim `s:0` in 1..4"))
    assert list(names_of_dims.dims) == ["N", "s:0"]


def test_a_path_is_a_name_too() -> None:
    assert names("layer[3].h = relu(x)\n y = layer[3].h + 1") == ["layer[3].h", "y"]
    assert rejected(spec(OUT + "layer[3].h = relu(x)\n y = layer[2].h + x")).code == "E0201"


# --- blocks ---------------------------------------------------------------------------------------------------------


def block(body: str, params: str = "x: T[N, D]", result: str = "T[N, D]") -> str:
    return f"block f({params}) -> {result} {{\n{body}\n}}"


def test_a_block_sees_its_parameters_only() -> None:
    assert rejected(spec(OUT + "z = relu(x)\n y = f(x)", before=block("return x + z"))).message == "`z` is not defined"
    assert rejected(spec(OUT + "let k = 2\n y = f(x)", before=block("return x * k"))).code == "E0201"
    assert rejected(spec(OUT + "y = f(x)", before=block("return x * M"))).code == "E0201"


def test_dtype_variables() -> None:
    two = block("return x + z", "x: T[N, D], z: T[N, D]")
    found = rejected(spec(OUT + "y = f(x, cast(x, to=f16))", before=two))
    assert (found.code, found.message) == ("E0302", "`z` of block `f`: dtype variable `T` is f32, not f16")
    mixed = block("return x + cast(z, to=T)", "x: T[N, D], z: U[N, D]")
    np.testing.assert_allclose(run("y = f(x, cast(x, to=f16))", mixed), 2 * X)
    fixed = block("return x", "x: f16[N, D]", "f16[N, D]")
    assert rejected(spec(OUT + "y = f(x)", before=fixed)).message == "`x` of block `f` is f16, not f32"
    promised = block("return cast(x, to=f16)")
    assert rejected(spec(OUT + "y = f(x)", before=promised)).message.startswith("result 0 of block `f`: dtype variable")


def test_patterns_of_dims() -> None:
    accepted(
        spec(
            "output y: f32[N, N]\n y = f(x, transpose(x))",
            before=block("return x @ z", "x: T[A, B], z: T[B, A]", "T[A, A]"),
        )
    )
    assert rejected(spec(OUT + "y = f(unsqueeze(x, axes=[0]))", before=block("return x"))).code == "E0303"
    found = rejected(spec(OUT + "y = f(x)", before=block("return x", "x: T[N, 5]", "T[N, 5]")))
    assert (found.code, found.message) == ("E0312", "`x` of block `f`: dim `5` is 5, not 4")
    assert [label.text for label in found.labels] == ["declared here"]
    found = rejected(spec(OUT + "y = f(x)", before=block("return x", "x: T[A, A]", "T[A, A]")))
    assert (found.code, found.message) == ("E0312", "`x` of block `f`: dim `A` is N, not 4")
    assert codes(spec(OUT + "y = f(x)", before=block("return x", result="T[N, D + 1]"))) == ["E0312"]


def test_the_order_of_a_patterns_dims_does_not_matter() -> None:
    weave = block("return concat(y, x, axis=0)", "x: T[2 * A, D], y: T[A, D]", "T[3 * A, D]")
    accepted(spec("output y: f32[3 * N, 4]\n y = f(concat(x, x, axis=0), x)", before=weave))


def test_numbers_as_arguments() -> None:
    scaled = block("return x * cast(k, to=T)", "x: T[N, D], k: i32[]")
    np.testing.assert_allclose(run("y = f(x, 3)", scaled), 3 * X)
    np.testing.assert_allclose(run("y = f(x, N)", scaled), 3 * X)
    np.testing.assert_allclose(run("y = f(x, 0.5)", block("return x * k", "x: T[N, D], k: T[]")), X / 2)


@pytest.mark.parametrize(
    ("kind", "given", "fits"),
    [
        ("int", "3", True), ("int", "N", True), ("int", "3.0", False), ("int", "true", False), ("int", "x", False),
        ("float", "3", True), ("float", "2.5", True), ("float", "N", False), ("str", '"a"', True), ("str", "a", False),
        ("bool", "true", True), ("bool", "1", False), ("dtype", "f16", True), ("dtype", '"f16"', False),
        ("ints", "[1, N]", True), ("ints", "[1.5]", False), ("ints", "1", False), ("floats", "[1, 2.5]", True),
        ("weights", "1", False),
    ],
)  # fmt: skip
def test_kinds_of_parameters(kind: str, given: str, fits: bool) -> None:
    found = codes(spec(OUT + f"y = f(x, k={given})", before=block("return x", f"x: T[N, D], *, k: {kind}")))
    assert found == [] if fits else set(found) <= {"E0306", "E0201"} and found


def test_parameters_that_are_missing_or_unknown() -> None:
    taking = block("return x * k * l", "x: T[N, D], *, k: float, l: float = 2")
    np.testing.assert_allclose(run("y = f(x, k=3)", taking), 6 * X)
    np.testing.assert_allclose(run("y = f(x, l=1, k=3)", taking), 3 * X)
    assert rejected(spec(OUT + "y = f(x)", before=taking)).message == "block `f` needs `k` (float)"
    assert rejected(spec(OUT + "y = f(x, k=1, kk=1)", before=taking)).help == "did you mean `k`?"
    assert rejected(spec(OUT + "y = f(x, x, k=1)", before=taking)).message == "block `f` takes 1 tensor (x), not 2"
    assert rejected(spec(OUT + "y = f(none, k=1)", before=taking)).message == "`x` of block `f` can't be absent"


def test_several_results_of_a_block() -> None:
    both = block("h = relu(x)\n return h, h - x", result="(a: T[N, D], b: T[N, D])")
    np.testing.assert_allclose(run("p, q = f(x)\n y = p - q", both), X, atol=1e-6)
    assert names("p, q = f(x)\n y = p - q", both) == ["p.h", "q", "y"]
    np.testing.assert_allclose(run("_, q = f(x)\n y = q", both), np.maximum(X, 0) - X)
    halves = block("return split(x, axis=1)", result="(a: T[N, D // 2], b: T[N, D - D // 2])")
    assert names("p, q = f(x)\n y = concat(p, q, axis=1)", halves) == ["p", "y"]
    short = block("return x", result="(a: T[N, D], b: T[N, D])")
    assert (
        rejected(spec(OUT + "p, q = f(x)\n y = p", before=short)).message
        == "block `f` promises 2 results and returns 1"
    )


def test_asserts_in_blocks() -> None:
    even = block('assert D % 2 == 0, "an even number of features"\n assert N >= 2\n return x')
    found = rejected(spec(OUT + "y = f(x)", before=even))
    assert (found.code, found.message, found.values) == ("E0403", "assert fails: N >= 2", {"N": 1})
    found = rejected(spec("output y: f32[3, 3]\n y = f(fill(shape=[3, 3]))", before=even))
    assert found.message == "assert fails: an even number of features"
    accepted(spec(OUT + "y = f(x)", before=even, dims="dim N in 2..8"))


def test_blocks_may_not_call_themselves() -> None:
    ring = block("return g(x)") + "\n" + block("return f(x)").replace("block f", "block g")
    assert rejected(spec(OUT + "y = f(x)", before=ring)).message == "blocks call each other in a circle: f -> g -> f"


def test_a_static_if_takes_one_branch() -> None:
    chosen = block(
        "y = if deep { z = relu(x) yield exp(z) } else { yield missing(x) }\n return y",
        "x: T[N, D], *, deep: bool = true",
    )
    network = made("y = f(x)", chosen)
    assert ops(network) == ["relu", "exp"]
    assert rejected(spec(OUT + "y = f(x, deep=false)", before=chosen)).code == "E0203"
    assert ops(made("y = if 3 > 2 { yield exp(x) } else { yield x }")) == ["exp"]
    found = rejected(spec(OUT + "y = if N > 2 { yield x } else { yield x }"))
    assert found.message == "the condition of `if` is a bool tensor or known here; dims vary"


# --- repeat ---------------------------------------------------------------------------------------------------------


def test_repeats_carry_values() -> None:
    np.testing.assert_allclose(run("repeat i in 1..4 carry x {\n x = x * i + 1\n }\n y = x"), ((X + 1) * 2 + 1) * 3 + 1)
    np.testing.assert_allclose(
        run("z = x\n repeat i in 0..2 carry x, z {\n t = x\n x = z\n z = t + 1\n }\n y = x - z"), 0 * X
    )
    assert names("repeat i in 0..0 carry x {\n x = exp(x)\n }\n y = x") == ["y"]
    assert names("repeat i in 3..1 carry x {\n x = exp(x)\n }\n y = x") == ["y"]


def test_repeats_nest() -> None:
    body = """
      repeat i in 0..2 carry x as outer {
        repeat j in 0..2 carry x as inner {
          x = x * (i + 2 * j)
        }
      }
      y = x + 0
    """
    assert names(body) == [
        "outer[0].inner[0].x",
        "outer[0].inner[1].x",
        "outer[1].inner[0].x",
        "outer[1].inner[1].x",
        "y",
    ]
    plain = body.replace(" as outer", "").replace(" as inner", "")
    assert names(plain) == ["x[0][0]", "x[0][1]", "x[1][0]", "x[1][1]", "y"]
    np.testing.assert_allclose(run(plain.replace("(i + 2 * j)", "(i + 2 * j + 1)")), X * 1 * 3 * 2 * 4)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("repeat i in 0..N {\n a = x\n }", "E0306", "the rounds of a repeat are integers known here, not a dim"),
        ("repeat i in 0..1.5 {\n a = x\n }", "E0306", "the rounds of a repeat are integers known here, not a float"),
        ("repeat i in 0..2 carry q {\n q = x\n }", "E0201", "`q` is carried but not defined"),
        ("repeat i in 0..2 carry x {\n x = exp(x)\n x = exp(x)\n }", "E0202", "`x` is bound twice"),
        ("repeat i in 0..2 {\n x = exp(x)\n }", "E0202", "`x` is bound twice"),
        ("repeat i in 0..2 {\n q = exp(x)\n }\n p = q", "E0201", "`q` is not defined"),
        ("repeat i in 0..200000 {\n q = exp(x)\n }", "E0211", "200000 rounds; a repeat has at most 100000"),
    ],
)
def test_repeats_that_fail(body: str, code: str, message: str) -> None:
    found = rejected(spec(OUT + f"{body}\n y = relu(x)"))
    assert (found.code, found.message) == (code, message)


def test_expansion_is_limited() -> None:
    text = spec(OUT + "repeat i in 0..100 {\n repeat j in 0..100 {\n q = exp(x)\n }\n }\n y = x")
    with pytest.raises(SpecError) as caught:
        load_text(text, max_expansion=1000)
    (found,) = caught.value.diagnostics
    assert found.message == "the network expands to more than 1000 statements"
    assert found.help == "raise the limit with `--max-expansion`"


# --- annotations ----------------------------------------------------------------------------------------------------


def test_precision_reaches_into_blocks_and_repeats() -> None:
    before = "block f(x: T[N, D]) -> T[N, D] {\n  @precision(f64)\n  a = exp(x)\n  return a * 2\n}"
    body = """
      z = exp(x)
      @precision(f16)
      y0 = f(z) + 1
      @precision(bf16)
      repeat i in 0..1 carry y0 {
        y0 = exp(y0)
      }
      y = y0 + 1
    """
    found = {layer.name: layer.origin.precision for layer in walk(made(body, before).graph)}
    expected = {"z": None, "y0.f.a": "f64", "y0.f": "f16", "y0": "f16", "y0[0]": "bf16", "y": None}
    assert found == {name: BY_NAME[p] if p else None for name, p in expected.items()}


def test_the_foreign_node_that_a_layer_was() -> None:
    network = made('@onnx("/encoder/Relu")\n @precision(f16)\n y = relu(x)')
    assert (network.layers[0].origin.source, network.layers[0].origin.precision) == ("/encoder/Relu", BY_NAME["f16"])


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("@precision(i32)", "`@precision` is written `@precision(f32)`"),
        ("@precision", "`@precision` is written `@precision(f32)`"),
        ("@precision(f32, f16)", "`@precision` is written `@precision(f32)`"),
        ("@onnx(f32)", '`@onnx` is written `@onnx("/layer/MatMul")`'),
        ("@precsion(f32)", "no annotation is called `precsion`"),
    ],
)
def test_annotations_that_are_not_known(note: str, message: str) -> None:
    found = rejected(spec(OUT + f"{note}\n y = relu(x)"))
    assert (found.code, found.message) == ("E0214", message)


def test_statements_out_of_place() -> None:
    for body in ("return x", "yield x"):
        _, found = check(spec(OUT + f"y = relu(x)\n {body}"))
        assert [d.code for d in found] == ["E0213"]
