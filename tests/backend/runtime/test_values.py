"""Engines give what the reference evaluation gives, whatever lives in the arena, is a view, or has a size
that the data decides.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.backend.harness import Feeds, assert_same, floats, network, run_both
from tests.backend.passes.nets import feeds_for, networks
from trtn.backend.build import build
from trtn.backend.plan.arena import Lifetime, check_arena
from trtn.backend.plan.storage import Place, nbytes
from trtn.backend.runtime import Engine
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network


def places(engine: Engine) -> dict[str, Place]:
    return {t.name: engine.storage.places[id(t)] for g in engine.groups for t in g.outputs}


def rows(text: str) -> str:
    """A network over x: f32[N, 4], N in 0..8."""
    return f"network n {{ dim N in 0..8 input x: f32[N, 4] {text} }}"


ROWS: list[Feeds] = [{"x": floats(3, 4)}, {"x": floats(8, 4, seed=1)}, {"x": floats(0, 4)}, {"x": floats(3, 4, seed=2)}]


# the arena


def test_concat_is_written_in_place(tmp_path: Path) -> None:
    net = network(rows("output y: f32[N, 12] a = relu(x) b = tanh(x) c = concat(a, b, x, axis=1) y = neg(c)"))
    where = places(run_both(net, ROWS, tmp_path))
    assert (where["a"], where["b"], where["c"]) == (Place.PART, Place.PART, Place.ARENA)


def test_concats_nest_along_different_axes(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[2*N, 8] a = relu(x) b = tanh(x) c = concat(a, b, axis=1)"
            " d = concat(exp(x), floor(x), axis=1) e = concat(c, d, axis=0) y = neg(e)"
        )
    )
    where = places(run_both(net, ROWS, tmp_path))
    assert where["c"] is where["d"] is where["a"] is Place.PART
    assert where["e"] is Place.ARENA


def test_a_value_of_two_concats_lies_in_one_and_is_copied_to_the_other(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[N, 16] output z: f32[2*N, 4] a = relu(x) b = tanh(x) c = concat(a, b, axis=1)"
            " d = concat(b, a, axis=0) y = concat(neg(c), exp(c), axis=1) z = neg(d)"
        )
    )
    run_both(net, ROWS, tmp_path)


def test_a_part_with_strides_is_read_by_views_and_reshape(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[N, 8] output z: f32[4*N] output t: f32[4, N]"
            " a = relu(x) b = tanh(x) c = concat(a, b, axis=1)"
            " y = neg(c) z = neg(reshape(transpose(a), shape=[4*N])) t = exp(transpose(b))"
        )
    )
    where = places(run_both(net, ROWS, tmp_path))
    assert where["a"] is where["b"] is Place.PART


def test_a_value_under_a_contiguous_view_is_no_part(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[N, 8] output z: f32[4*N] a = relu(x) c = concat(a, x, axis=1) y = neg(c)"
            " z = neg(reshape(a, shape=[4*N]))"
        )
    )
    where = places(run_both(net, ROWS, tmp_path))
    assert where["a"] is Place.ARENA


def test_a_concat_of_one_value_twice(tmp_path: Path) -> None:
    run_both(network(rows("output y: f32[N, 8] a = relu(x) y = neg(concat(a, a, axis=1))")), ROWS, tmp_path)


def test_a_concat_that_is_an_output(tmp_path: Path) -> None:
    where = places(run_both(network(rows("output y: f32[N, 8] y = concat(relu(x), tanh(x), axis=1)")), ROWS, tmp_path))
    assert where["y"] is Place.OUTPUT


def test_views_cost_no_memory(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[2, N] output z: f32[N, 2, 2] a, b = split(x, axis=1, parts=2) t = transpose(a)"
            " y = neg(t) z = exp(reshape(relu(x), shape=[N, 2, 2]) * unsqueeze(b, axes=[1]))"
        )
    )
    engine = run_both(net, ROWS, tmp_path)
    where = places(engine)
    assert where["a"] is where["t"] is Place.VIEW
    assert engine.arena({"N": 8}).nbytes <= 8 * 4 * 4 * 2


def test_values_that_live_together_share_no_byte() -> None:
    engine = build(
        network(
            rows(
                "output y: f32[N, 4] a = relu(x) b = softmax(a) c = matmul(transpose(a), b) d = matmul(b, c)"
                " e = softmax(d, axis=0) y = e + softmax(a) * d"
            )
        )
    )
    plan = engine.storage
    for n in (1, 5, 8):
        spans = [Lifetime(*span, nbytes(t, {"N": n})) for t, span in zip(plan.buffers, plan.lifetimes, strict=True)]
        assert spans
        check_arena(engine.arena({"N": n}), spans)


@given(networks())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, net: Network) -> None:
    folder = tmp_path_factory.mktemp("engines")
    run_both(net, [feeds_for(net, n) for n in (2, 8, 2)], folder, exact=False)


# outputs


def test_outputs_that_are_an_input_a_view_of_it_a_weight_and_one_tensor_twice(tmp_path: Path) -> None:
    net = network(
        "network n { dim N in 0..8 input x: f32[N, 4] output same: f32[N, 4] output turned: f32[4, N]"
        " output constant: f32[3, 4] output one: f32[N, 4] output other: f32[N, 4]"
        " same = x turned = transpose(x) constant = w.k a = relu(x) one = a other = a }",
        tmp_path,
        "tensor k: f32[3, 4] = normal(1, 0.5)",
    )
    engine = run_both(net, ROWS, tmp_path)
    x = floats(3, 4)
    outputs = engine.run({"x": x})
    np.testing.assert_array_equal(outputs["turned"], x.T)
    arrays = [x, *outputs.values()]
    for n, a in enumerate(arrays):
        for b in arrays[n + 1 :]:
            assert not np.shares_memory(a, b)
        a[...] = -7  # all of them are the caller's
    np.testing.assert_array_equal(engine.run({"x": floats(3, 4)})["same"], floats(3, 4))


def test_an_output_that_is_an_input_by_the_same_name(tmp_path: Path) -> None:
    engine = run_both(network("network n { dim N in 0..8 input x: f32[N, 4] output x: f32[N, 4] }"), ROWS, tmp_path)
    x = floats(2, 4)
    assert not np.shares_memory(engine.run({"x": x})["x"], x)


def test_outputs_stay_as_they_are_when_the_context_runs_again(tmp_path: Path) -> None:
    context = build(
        network(rows("output y: f32[N, 4] output z: f32[N, 4] z = softmax(x) y = softmax(z * 2)"))
    ).create_context()
    first = context.run(ROWS[0])
    kept = {name: a.copy() for name, a in first.items()}
    context.run({"x": floats(3, 4, seed=9)})
    assert_same(first, kept)


def test_scalars(tmp_path: Path) -> None:
    net = network(
        "network n { input s: f32[] input v: f32[1] output y: f32[] output z: f32[1] y = s * 2 + s z = v * s }"
    )
    engine = run_both(net, [{"s": np.array(3, np.float32), "v": floats(1)}], tmp_path)
    assert engine.run({"s": 1.5, "v": [2]})["y"] == np.float32(4.5)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_no_input_is_read(tmp_path: Path, n: int) -> None:
    run_both(network(rows("output y: f32[N, 2] y = fill(shape=[N, 2], value=0.5)")), [{"x": floats(n, 4)}], tmp_path)


# dtypes


@pytest.mark.parametrize("name", [n for n in BY_NAME if n != "bool"])
def test_each_dtype_is_computed_moved_and_kept(tmp_path: Path, name: str) -> None:
    """Views, a concat and arithmetic, in bf16 and in dtypes of four bits too."""
    dtype = BY_NAME[name]
    net = network(
        f"network n {{ dim N in 0..8 input x: {name}[N, 4] output y: {name}[8, N] output z: {name}[N, 4]"
        " z = x * x + x y = transpose(concat(z, x, axis=1)) }"
    )
    x = np.abs(floats(3, 4) * 2).astype(dtype.numpy)
    run_both(net, [{"x": x}, {"x": x[:0]}], tmp_path)


def test_low_precision_rounds_each_layer(tmp_path: Path) -> None:
    x = np.array([[1.0, 2.0**-9, 3.0, 70.0]], BY_NAME["bf16"].numpy)
    net = network("network n { dim N in 1..8 input x: bf16[N, 4] output y: bf16[N, 4] y = x + 1.0 }")
    engine = run_both(net, [{"x": x}], tmp_path)
    expected = (x.astype(np.float32) + 1).astype(x.dtype)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], expected)


def test_quantised_values(tmp_path: Path) -> None:
    net = network(
        rows(
            "output y: f32[N, 4] output q: i8[N, 4] q = quantize_linear(x, w.s, w.z, dtype=i8)"
            " y = dequantize_linear(q, w.s, w.z)"
        ),
        tmp_path,
        "tensor s: f32[] = full(0.05)\ntensor z: i8[] = zeros",
    )
    engine = run_both(net, ROWS, tmp_path)
    x = np.array([[0.1, -0.1, 1.0, 100.0]], np.float32)
    np.testing.assert_array_equal(engine.run({"x": x})["q"], np.array([[2, -2, 20, 127]], np.int8))


# sizes that only the data decides

FOUND = "i = nonzero(relu(x)) : i64[1, K in 0..N]"


def vector(text: str) -> str:
    return f"network n {{ dim N in 0..8 input x: f32[N] {FOUND} {text} }}"


VECTORS: list[Feeds] = [{"x": floats(8)}, {"x": -np.abs(floats(5))}, {"x": floats(0)}, {"x": np.abs(floats(8)) + 1}]


def test_a_data_dependent_output(tmp_path: Path) -> None:
    engine = run_both(network(vector("output i: i64[1, K]")), VECTORS, tmp_path)
    np.testing.assert_array_equal(engine.run({"x": np.array([-1, 2, 3, -4], np.float32)})["i"], [[1, 2]])
    assert engine.outputs[0].shape == (1, "K")
    context = engine.create_context()
    context.set_input_shape("x", (4,))
    with pytest.raises(ShapeError, match="known only after a run"):
        context.output_shape("i")


def test_layers_after_a_data_dependent_size(tmp_path: Path) -> None:
    net = network(
        vector(
            "output g: f32[K] output p: f32[N] j = squeeze(i, axes=[0]) g = gather(x, j) * 2"
            " s = reduce_sum(g, axes=[0]) p = softmax(x * s) + s"
        )
    )
    run_both(net, VECTORS, tmp_path)


def test_two_data_dependent_sizes_add_up(tmp_path: Path) -> None:
    net = network(
        vector(
            "output y: f32[K + L] j = nonzero(relu(neg(x))) : i64[1, L in 0..N]"
            " y = concat(gather(x, squeeze(i, axes=[0])), gather(x, squeeze(j, axes=[0])), axis=0)"
        )
    )
    run_both(net, VECTORS, tmp_path)


def test_a_layer_that_only_names_the_size(tmp_path: Path) -> None:
    """No tensor leads from `nonzero` to the layer that needs K."""
    run_both(network(vector("output y: f32[K] y = fill(shape=[K], value=2.0)")), VECTORS, tmp_path)


@pytest.mark.parametrize("condition", [True, False])
def test_a_body_that_only_names_the_size(tmp_path: Path, condition: bool) -> None:
    net = network(
        vector(
            "input c: bool[] output y: f32[] y = if c { yield reduce_sum(fill(shape=[K], value=2.0)) }"
            " else { yield reduce_sum(fill(shape=[K], value=1.0)) }"
        )
    )
    engine = run_both(net, [{**v, "c": np.array(condition)} for v in VECTORS], tmp_path)
    y = engine.run({"x": np.ones(5, np.float32), "c": np.array(condition)})["y"]
    assert y == (10 if condition else 5)


def test_a_body_of_another_size_in_each_round(tmp_path: Path) -> None:
    net = network(
        "network n { dim S in 0..8 input x: f32[S, 4] input c: bool[] output ys: f32[S]"
        " ys = scan over v = x { i = nonzero(v) : i64[1, K in 0..4]"
        " total = if c { yield reduce_sum(fill(shape=[K], value=2.0)) } else { yield reduce_sum(v) } yield total } }"
    )
    x = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]], np.float32)
    engine = run_both(net, [{"x": x, "c": np.array(c)} for c in (True, False)], tmp_path)
    np.testing.assert_array_equal(engine.run({"x": x, "c": np.array(True)})["ys"], [2, 6, 0, 2])


def test_a_data_dependent_size_inside_a_block(tmp_path: Path) -> None:
    """Its name is a path, `a.K` and `b.K`."""
    net = network(
        "block positive(x: T[N]) -> T[M] {"
        " i = nonzero(relu(x)) : i64[1, K in 0..N] return gather(x, squeeze(i, axes=[0])) * 2 }"
        " network n { dim N in 0..8 input x: f32[N] output y: f32[] a = positive(x) b = positive(neg(x))"
        " y = reduce_sum(a, axes=[0]) - reduce_sum(b, axes=[0]) }"
    )
    run_both(net, VECTORS, tmp_path, exact=False)


# control flow


def test_if_runs_one_branch(tmp_path: Path) -> None:
    net = network(rows("input c: bool[] output y: f32[N, 4] y = if c { yield relu(x) } else { yield x * 2 }"))
    run_both(net, [{**r, "c": np.array(c)} for r in ROWS for c in (True, False)], tmp_path)


def test_scan_forwards_backwards_and_over_nothing(tmp_path: Path) -> None:
    net = network(
        "network n { dim S in 0..8 input x: f32[S, 4] input h0: f32[4]"
        " output h: f32[4] output ys: f32[S, 4] output zs: f32[S, 4]"
        " h, ys = scan over v = x carry s = h0 { s = tanh(s + v) yield s * 2 }"
        " last, zs = scan over v = x reverse carry s = h0 { s = tanh(s - v) yield s } }"
    )
    run_both(net, [{"x": r["x"], "h0": floats(4)} for r in ROWS], tmp_path)


@pytest.mark.parametrize("trips", [0, 3, 9])
def test_loop_with_a_condition_and_a_bound(tmp_path: Path, trips: int) -> None:
    net = network(
        "network n { input x: f32[4] input n: i64[] output y: f32[4] output ys: f32[K, 4]"
        " y, go_on, ys = loop i in 0..n max 5 carry a = x, go = less(n, n + 1) while go {"
        " a = a * 0.5 + 1.0 go = less(reduce_sum(a, axes=[0]), 7.0) yield a } : f32[4], bool[], f32[K in 0..5, 4] }"
    )
    x = floats(4)
    engine = run_both(net, [{"x": x, "n": np.array(trips)}], tmp_path)
    rows, a = [], x
    for _ in range(min(trips, 5)):
        a = (a * np.float32(0.5) + np.float32(1)).astype(np.float32)
        rows.append(a)
        if a.sum() >= 7:
            break
    got = engine.run({"x": x, "n": np.array(trips)})
    np.testing.assert_array_equal(got["ys"], np.array(rows, np.float32).reshape(-1, 4))
    np.testing.assert_array_equal(got["y"], a)


def test_loop_with_a_known_number_of_rounds(tmp_path: Path) -> None:
    net = network(rows("output ys: f32[3, N, 4] y, ys = loop i in 0..3 carry a = x { a = a * 0.5 + 1.0 yield a }"))
    run_both(net, ROWS, tmp_path)


@pytest.mark.parametrize("trips", [0, 2, 4])
def test_control_flow_nests(tmp_path: Path, trips: int) -> None:
    """An `if` in a loop in a loop; the bodies read the input, the outer body's value and a weight."""
    net = network(
        "network n { input x: f32[4] input n: i64[] input c: bool[] output y: f32[4]"
        " y = loop i in 0..n max 5 carry a = x { b = loop j in 0..i max 5 carry d = a {"
        " d = if c { yield d * w.k + x } else { yield d - a } } a = b + w.k } }",
        tmp_path,
        "tensor k: f32[4] = normal(1, 0.5)",
    )
    feeds = [{"x": floats(4), "n": np.array(trips), "c": np.array(c)} for c in (True, False)]
    engine = run_both(net, feeds, tmp_path)
    (k,) = [t.weight.load() for t in engine.weights if t.weight is not None and t.name == "k"]
    expected = floats(4)
    for i in range(trips):
        for _ in range(i):
            expected = (expected * k + floats(4)).astype(np.float32)
        expected = (expected + k).astype(np.float32)
    np.testing.assert_array_equal(engine.run(feeds[0])["y"], expected)


def test_bodies_yield_weights_and_captured_values(tmp_path: Path) -> None:
    net = network(
        "network n { input x: f32[4] input c: bool[] output y: f32[4] output z: f32[4]"
        " t = relu(x) y, z = if c { yield w.k, t } else { yield x, w.k } }",
        tmp_path,
        "tensor k: f32[4] = normal(3, 0.5)",
    )
    run_both(net, [{"x": floats(4), "c": np.array(c)} for c in (True, False)], tmp_path)


def test_weights_of_bodies_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(
        "network n { input x: f32[4] input n: i64[] output y: f32[4]"
        " y = loop i in 0..n max 9 carry a = x { a = tanh(linear(a, w.k)) } }",
        tmp_path,
        "tensor k: f32[4, 4] = normal(3, 0.5)",
    )
    engine = build(net)
    engine.run({"x": floats(4), "n": np.array(1)})
    source = type(next(t.weight.source for t in engine.weights if t.weight is not None))
    monkeypatch.setattr(source, "load", lambda self: pytest.fail("a weight was loaded again"))
    engine.run({"x": floats(4), "n": np.array(9)})


def test_weights_without_elements(tmp_path: Path) -> None:
    net = network(rows("output y: f32[N, 4] y = relu(concat(x, w.e, axis=0))"), tmp_path, "tensor e: f32[0, 4] = zeros")
    run_both(net, ROWS, tmp_path)
