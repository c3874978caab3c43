"""Networks to text: canonical, the same again after loading, and computing the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dsl.flat_specs import FLAT, flat_spec
from tests.dsl.random_networks import random_network
from tests.interpreter import evaluate_network
from trtn.dsl.builder import Builder
from trtn.dsl.diagnostics import Source
from trtn.dsl.dims import Range, Relation, symbol
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.load import load_text
from trtn.dsl.network import Assertion, Network, TensorType
from trtn.dsl.printer import network_digest, print_network, write_document
from trtn.dsl.syntax import format_source

F32, F16, I64, I32 = (BY_NAME[n] for n in ("f32", "f16", "i64", "i32"))
N = symbol("N")


def loaded(network: Network, folder: Path | None = None) -> Network:
    """The network that its text is. The text is canonical, and the loaded network's text is the same."""
    document = write_document(network)
    assert format_source(Source("-", document.text)) == document.text
    path = "-"
    if document.weights:
        assert folder is not None, "the network has weights"
        from trtn.dsl.weights.writer import save_weights

        save_weights(folder / network.name, document.weights.items())
        path = str(folder / "spec.trtn")
    again = load_text(document.text, path=path)
    assert print_network(again) == document.text
    assert [t.name for t in again.inputs] == [t.name for t in network.inputs]
    assert [t.name for t in again.outputs] == [t.name for t in network.outputs]
    return again


def assert_same_results(a: Network, b: Network, feeds: dict[str, Any]) -> None:
    left, right = evaluate_network(a, feeds), evaluate_network(b, feeds)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def statements(text: str) -> list[str]:
    """The lines of the layers: what follows the blank line inside the network."""
    body = text.partition("network ")[2].partition("\n\n")[2]
    return [line.strip() for line in body.partition("\n}")[0].splitlines()]


# --- what loads is what is printed -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_spec_prints_as_it_is(name: str) -> None:
    text = flat_spec(*FLAT[name].split("\n", 1))
    assert print_network(load_text(text)) == text


def test_a_whole_spec() -> None:
    text = """\
trtn 1

network `two words` {
  doc "First line, \\"quoted\\"."
  doc "Second line."
  dim B in 1..64
  dim S in 8..512 step 8
  assert B * S <= 16384, "token budget"
  input ids: i32[B, S]
  input sizes: i64[2]
  output y: i32[B, S]

  y = identity(ids)
}

profile bulk for `two words` {
  B:     min 8,       opt 32,      max 64
  S:     min 64,      opt 128,     max 256
  sizes: min [1, -1], opt [2, 20], max [3, 30]
}

target h200 {
  network   `two words`
  profiles  [bulk]
  device    cuda:sm_90
  precision {
    default f16
    keep    f32 for [softmax, layer_norm]
  }
  workspace 4GiB
  lock      "locks/h200.lock"
  output    "build/h200.engine"
}
"""
    assert print_network(load_text(text)) == text


def test_expansions_are_flat() -> None:
    text = """trtn 1
block ffn(x: T[B, D]) -> T[B, D] {
  h = x * 2.0
  return relu(h)
}
network net {
  dim N in 1..8
  input x: f32[N, 4]
  output y: f32[N, 4]
  t = x
  repeat i in 0..2 carry t as layer { t = ffn(t) }
  y = ffn(t + 1.0)
}
"""
    assert statements(print_network(load_text(text))) == [
        "layer[0].t.h = x * 2.0", "layer[0].t = relu(layer[0].t.h)",
        "layer[1].t.h = layer[0].t * 2.0", "layer[1].t = relu(layer[1].t.h)",
        "y.add = layer[1].t + 1.0", "y.h = y.add * 2.0", "y = relu(y.h)",
    ]  # fmt: skip


def test_sizes_of_each_round_are_their_own() -> None:
    text = """trtn 1
network net {
  dim N in 1..8
  input x: f32[N, 4]
  output y: i64[2, `K[1]`]
  t = x
  repeat i in 0..2 carry t {
    z = nonzero(t) : i64[2, K in 0..4 * N]
    t = cast(z, to=f32)
  }
  y = cast(t, to=i64)
}
"""
    network = load_text(
        text.replace("`K[1]`", "L").replace("y = cast(t, to=i64)", "y = nonzero(t) : i64[2, L in 0..8 * N]")
    )
    assert set(network.data_dims) == {"K[0]", "K[1]", "L"}
    assert "z[1] = nonzero(t[0]) : i64[2, `K[1]` in 0..4 * N]" in print_network(network)
    loaded(network)


# --- options -----------------------------------------------------------------------------------------------------


def test_types() -> None:
    network = load_text(flat_spec("f32[N, 2]", "t = x + 1.0\ny, _ = top_k(t, k=2)"))
    text = print_network(network, types=True)
    assert statements(text) == ["t = x + 1.0 : f32[N, 4]", "y, _ = top_k(t, k=2) : f32[N, 2], i64[N, 2]"]
    assert print_network(load_text(text), types=True) == text


def test_provenance() -> None:
    body = """\
@onnx("/a/Relu")
t = relu(x)
@onnx("/a/If")
y = if c {
  u = -t
  yield u
} else {
  yield t
}"""
    text = flat_spec("f32[N, 4]", body)
    network = load_text(text)
    assert print_network(network, provenance=True) == text
    assert "@onnx" not in print_network(network)


def test_the_manifest_is_named_where_there_are_weights(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", F32, (20,))
    y = b.layer("add", x, b.constant(np.arange(20, dtype=np.float32), "bias"), name="y")[0]
    network = b.finish([("y", y)])
    assert print_network(network).startswith('trtn 1\nweights w = "net.weights.trtn"\n\nnetwork net {\n')
    assert print_network(network, weights_path="a/b.weights.trtn").startswith(
        'trtn 1\nweights w = "a/b.weights.trtn"\n'
    )
    assert_same_results(network, loaded(network, tmp_path), {"x": np.ones(20, np.float32)})


# --- constants ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "x * 0.1"),
        (np.float32(16777217), "x * 16777216.0"),
        (np.float32(1e-45), "x * 1e-45"),
        (np.float32(-np.inf), "x * -inf"),
        (np.array([0.1], np.float32), "mul(x, constant([0.1], dtype=f32))"),
        (np.zeros((1, 0), np.float32), "mul(x, constant([[]], dtype=f32))"),
        (np.zeros((0, 1), np.float32), "x * w.y.y"),
        (np.zeros(17, np.float32), "x * w.y.y"),
    ],
)  # fmt: skip
def test_constants_are_exact(value: Any, text: str, tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", F32, np.shape(value) if np.ndim(value) else (2,))
    network = b.finish([("y", b.layer("mul", x, b.constant(np.asarray(value)), name="y")[0])])
    assert statements(print_network(network)) == [f"y = {text}"]
    again = loaded(network, tmp_path)
    (before,), (after,) = network.weights, again.weights
    assert before.weight and after.weight
    assert before.weight.load().tobytes() == after.weight.load().tobytes()


@pytest.mark.parametrize("dtype", [d for d in BY_NAME if d not in ("bool", "f32", "i64")])
def test_constants_of_every_dtype(dtype: str) -> None:
    b = Builder("net")
    x = b.input("x", BY_NAME[dtype], (2,))
    second = 2 if dtype == "f8e8m0" else 0  # powers of two only: it has no zero
    constant = np.asarray([1, second]).astype(BY_NAME[dtype].numpy)
    network = b.finish([("y", b.layer("concat", x, b.constant(constant), name="y", axis=0)[0])])
    numbers = f"[1.0, {second}.0]" if BY_NAME[dtype].is_float else "[1, 0]"
    assert statements(print_network(network)) == [f"y = concat(x, constant({numbers}, dtype={dtype}), axis=0)"]
    loaded(network)


def test_bits_that_no_number_has_go_to_the_manifest(tmp_path: Path) -> None:
    payload = np.array([0x7FC00001], np.uint32).view(np.float32)
    b = Builder("net")
    x = b.input("x", F32, (1,))
    network = b.finish([("y", b.layer("add", x, b.constant(payload), name="y")[0])])
    assert statements(print_network(network)) == ["y = x + w.y.y"]
    (after,) = loaded(network, tmp_path).weights
    assert after.weight is not None
    assert after.weight.load().tobytes() == payload.tobytes()


def test_weights_of_one_name_are_told_apart(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", F32, (20,))
    shared = b.constant(np.full(20, 2, np.float32), "p")
    t = b.layer("add", x, shared, name="t")[0]
    t = b.layer("add", t, b.constant(np.arange(20, dtype=np.float32), "p"), name="u")[0]
    t = b.layer("mul", t, shared, name="v")[0]
    t = b.layer("mul", t, b.constant(np.arange(20, dtype=np.float32)), name="0 x")[0]
    network = b.finish([("y", b.layer("relu", t, name="y")[0])])
    assert statements(print_network(network)) == [
        "t = x + w.p", "u = t + w.p_2", "v = u * w.p", "`0 x` = v * w.`0 x.y`", "y = relu(`0 x`)",
    ]  # fmt: skip
    assert_same_results(network, loaded(network, tmp_path), {"x": np.ones(20, np.float32)})


def test_elements_that_shapes_depend_on_stay_known(tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", F32, (2, 24))
    short = b.layer("reshape", x, b.constant(np.array([4, 12]), "named"), name="t")[0]
    picked = b.layer("gather", b.constant(np.arange(20)), b.constant(np.array([12, 4])), name="sizes")[0]
    network = b.finish([("y", b.layer("reshape", short, picked, name="y")[0])])
    text = print_network(network)
    assert "t = reshape(x, constant([4, 12], dtype=i64))" in text
    assert "  sizes.x = dims(values=[0, 1, 2, " in text
    again = loaded(network, tmp_path)
    assert again.outputs[0].shape == (12, 4)
    assert not again.data_dims


# --- names -------------------------------------------------------------------------------------------------------


def chain(names: list[str], output: str) -> Network:
    b = Builder("net", dims={"N": Range(1, 8)})
    t = b.input("x", F32, (N, 4))
    for name in names:
        t = b.layer("relu", t, name=name)[0]
    t = b.layer("linear", t, b.constant(np.eye(4, 5, dtype=np.float32), "h"), name="last")[0]
    return b.finish([(output, t)])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("layer[3].ffn.h", "layer[3].ffn.h"), ("/stem/Conv_output_0", "`/stem/Conv_output_0`"), ("step", "`step`"),
        ("none", "`none`"), ("x[007]", "`x[007]`"), ("a`b\\n\n", "`a\\u{60}b\\\\n\\n`"), ("input", "input"),
        ("f32", "f32"), ("w", "w"), ("w.h", "w.h"), ("N", "N_2"), ("_", "`_`"), ("日本", "`日本`"), ("", "t"),
        ("x", "x_2"), ("min", "min"),
    ],
)  # fmt: skip
def test_names(name: str, text: str, tmp_path: Path) -> None:
    network = chain([name], "y")
    assert statements(print_network(network))[0] == f"{text} = relu(x)"
    assert_same_results(network, loaded(network, tmp_path), {"x": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize("port", ["/y:0", "none", "f16", "w", "N", "step", "weights", "x", "h"])
def test_outputs_keep_their_names(port: str, tmp_path: Path) -> None:
    network = chain(["h", "t"], port)
    assert_same_results(network, loaded(network, tmp_path), {"x": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize("port", ["/x:0", "none", "f16", "w", "N", "step", "min"])
def test_inputs_keep_their_names(port: str) -> None:
    b = Builder("net", dims={"N": Range(1, 8)})
    x, scale = b.input(port, F32, (N, 4)), b.input("scale", F32, (4,))
    t = b.layer("layer_norm", x, None, scale, name="t")[0]
    network = b.finish([("y", b.layer("cast", t, name="y", to=F16)[0])])
    feeds = {port: np.ones((2, 4), np.float32), "scale": np.ones(4, np.float32)}
    assert_same_results(network, loaded(network), feeds)


def test_identities_of_outputs_print_once() -> None:
    b = Builder("net")
    x = b.input("x", F32, (4,))
    t = b.layer("relu", x, name="t")[0]
    network = b.finish([("a", t), ("b", t), ("c", x), ("d", b.constant(np.float32(2)))])
    text = print_network(network)
    assert statements(text) == ["a = relu(x)", "b = identity(a)", "c = identity(x)", "d = identity(2.0)"]
    loaded(network)


# --- control flow that the text has no words for -----------------------------------------------------------------


def foreign_loop() -> Network:
    """As an importer makes it: no limit, a condition that is not carried, foreign names, constants as results."""
    b = Builder("net", dims={"N": Range(1, 8)})
    x, go = b.input("x", F32, (N, 3)), b.input("go", BOOL, ())
    i64 = TensorType(I64, ())
    with b.region([("/loop/iter", i64), ("h", x.type), ("q", x.type)]) as r:
        _, h, q = r.inputs
        total = b.layer("add", h, q, name="/loop/sum")[0]
        most = b.layer("reduce_max", total, name="x.most")[0]
        on = b.layer("less", most, b.constant(np.float32(40)), name="on")[0]
        graph = r.finish([on, q, total, total, b.constant(np.arange(20.0, dtype=np.float32))])
    results = b.layer("loop", None, go, x, x, name="run", regions=[graph], maximum=5, data_dims=["L"])
    return b.finish([("a", results[0]), ("b", results[1]), ("c", results[2]), ("d", results[3])])


@pytest.mark.parametrize("go", [True, False])
def test_loops_with_a_condition_of_their_own(go: bool, tmp_path: Path) -> None:
    network = foreign_loop()
    again = loaded(network, tmp_path)
    feeds = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "go": np.bool_(go)}
    assert_same_results(network, again, feeds)
    assert (
        statements(print_network(network))[0]
        == "a, b, _, c, d = loop iter in 0..5 carry h = x, q = x, go_on = go while go_on {"
    )


def test_scans_that_stack_elsewhere_and_backwards() -> None:
    b = Builder("net", dims={"N": Range(1, 8)})
    x = b.input("x", F32, (N, 3))
    with b.region([("s", TensorType(F32, (3,))), ("row", TensorType(F32, (3,)))]) as r:
        s, row = r.inputs
        total = b.layer("add", s, row, name="total")[0]
        graph = r.finish([total, total, row, row])
    first = b.constant(np.zeros(3, np.float32))
    attrs = {"carried": 1, "axes": [0], "reverse": [True], "out_axes": [1, 0, -1], "out_reverse": [True, True, False]}
    results = b.layer("scan", first, x, name="run", regions=[graph], **attrs)
    network = b.finish([(f"y{n}", t) for n, t in enumerate(results)])
    assert_same_results(network, loaded(network), {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})


def test_a_size_that_leaves_its_body() -> None:
    b = Builder("net")
    x, c = b.input("x", F32, (4,)), b.input("c", BOOL, ())
    flags = b.layer("greater", x, b.constant(np.float32(0)), name="flags")[0]
    k = b.data_dim("K", 0, 4)
    graphs = []
    for way in ("then", "else"):
        with b.region([]) as r:
            t = b.layer("compress", x, flags, name=f"y.{way}.t", axis=0, data_dims=["K" if way == "then" else "L"])[0]
            graphs.append(r.finish([t]))
    y = b.layer("if", c, name="y", regions=graphs)[0]
    b.asserts.append(Assertion(Relation("==", k, symbol("L"))))
    network = b.finish([("y", y)])
    assert str(loaded(network).outputs[0].shape[0]) == "K"


# --- digests -----------------------------------------------------------------------------------------------------


def test_the_digest_is_of_what_the_network_is(tmp_path: Path) -> None:
    network = chain(["h"], "y")
    digest = network_digest(network)
    assert digest == network_digest(loaded(network, tmp_path)) == network_digest(chain(["h"], "y"))
    assert digest == network_digest(chain(["g"], "y")), "names of inner tensors don't count"
    plain, commented = (
        load_text(flat_spec("f32[N, 4]", t)) for t in ("y = relu(x)", "# in other words\ny = relu( x )")
    )
    assert network_digest(plain) == network_digest(commented)


def test_the_digest_is_of_the_weights_too() -> None:
    def network(last: float, name: str = "p") -> Network:
        b = Builder("net")
        x = b.input("x", F32, (20,))
        weight = b.constant(np.array([*range(19), last], np.float32), name)
        return b.finish([("y", b.layer("add", x, weight, name="y")[0])])

    assert network_digest(network(1)) == network_digest(network(1))
    assert len({network_digest(network(1)), network_digest(network(2)), network_digest(network(1, "q"))}) == 3


def test_the_digest_stays_where_a_long_constant_gets_a_name(tmp_path: Path) -> None:
    """What depends on no weights is put first to be hashed. A long constant is a weight with or without a name."""
    b = Builder("net", dims={"N": Range(1, 8)})
    x = b.input("x", F32, (N, 4))
    h = b.layer("linear", x, b.constant(np.eye(4, 5, dtype=np.float32)), name="h")[0]
    last = b.layer("linear", h, b.constant(np.eye(5, 6, dtype=np.float32), "named"), name="last")[0]
    act = b.layer("relu", h, name="act")[0]
    network = b.finish([("y", last), ("z", b.layer("add", act, act, name="z")[0])])
    assert network_digest(loaded(network, tmp_path)) == network_digest(network)


@pytest.mark.parametrize("count", [2, 20])
def test_the_digest_of_lists_that_types_and_others_read(count: int, tmp_path: Path) -> None:
    b = Builder("net")
    x = b.input("x", F32, (2, 4))
    sizes = b.constant(np.array([*range(3, count), 3, 8, 1][-count:]), "sizes")
    picked = b.layer("gather", sizes, b.constant(np.array([count - 2, count - 1])), name="picked")[0]
    y = b.layer("reshape", x, picked, name="y")[0]
    network = b.finish([("y", y), ("z", b.layer("cast", sizes, name="z", to=F32)[0])])
    again = loaded(network, tmp_path)
    assert again.outputs[0].shape == (8, 1)
    assert network_digest(again) == network_digest(network)


# --- random networks ---------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@example(15030)  # a tensor is called `i64`, as the dtype of a constant is
@settings(max_examples=60, deadline=None)
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    network = random_network(seed)
    again = loaded(network, tmp_path_factory.mktemp("net"))
    feeds = {network.inputs[0].name: np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
    with np.errstate(all="ignore"):
        assert_same_results(network, again, feeds)
    assert network_digest(again) == network_digest(network)
