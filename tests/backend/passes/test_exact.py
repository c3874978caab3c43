"""fold, sizes, identity, algebra, cse, dead, lower: one small network for each thing that they do or refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.passes.nets import BOOL, F16, F32, F64, I32, I64, N, Net, only, ops, rewritten
from trtn.backend.passes import run_passes
from trtn.backend.passes.algebra import PASS as ALGEBRA
from trtn.backend.passes.algebra import represents
from trtn.backend.passes.cse import PASS as CSE
from trtn.backend.passes.dead import PASS as DEAD
from trtn.backend.passes.fold import PASS as FOLD
from trtn.backend.passes.identity import PASS as IDENTITY
from trtn.backend.passes.lower import PASS as LOWER
from trtn.backend.passes.select import PASS as SELECT
from trtn.backend.passes.sizes import PASS as SIZES
from trtn.dsl.dtypes import ALL, BY_NAME, DType


def test_fold_computes_what_weights_decide() -> None:
    b = Net()
    w = b.of("mul", b.of("transpose", b.c(4, 3)), b.k(2.0))
    network = rewritten(b.done(b.of("matmul", b.x(3), w)), FOLD)
    assert ops(network) == ["matmul"]
    folded = network.layers[0].inputs[1]
    assert folded is not None and folded.weight is not None
    assert not folded.weight.load().flags.writeable


def test_fold_keeps_what_grows_and_what_is_quantised() -> None:
    b = Net()
    big = b.of("expand", b.c(1, 4), shape=(1 << 17, 4))
    small = b.of("expand", b.c(1, 4), shape=(8, 4))
    y = b.of("add", b.of("reduce_sum", big, axes=(0,)), b.of("reduce_sum", small, axes=(0,)))
    network = rewritten(b.done(b.of("add", b.x(4), y)), FOLD, DEAD, rtol=1e-6)
    assert "expand" in ops(network)
    assert ops(network).count("expand") == 1


def test_fold_of_an_output_leaves_an_identity() -> None:
    b = Net()
    b.x(2)
    network = rewritten(b.done(b.of("neg", b.c(3))), FOLD)
    assert ops(network) == ["identity"]
    assert FOLD.run(network) is None


def test_fold_leaves_what_fails_to_the_runtime() -> None:
    b = Net()
    bad = b.of("gather", b.c(3), b.k([[7]], np.int64))  # rank 2: not followed by value
    network = run_passes(b.done(b.of("add", b.x(1), bad)), [FOLD], verify=True)
    assert "gather" in ops(network)


def test_fold_turns_size_arithmetic_into_one_layer() -> None:
    b = Net()
    x = b.x(6)
    n = b.of("dims", values=(N,))
    size = b.of("concat", b.of("mul", n, b.k([2], np.int64)), b.k([3], np.int64), axis=0)
    network = rewritten(b.done(b.of("reshape", x, size), size), FOLD, DEAD)
    assert sorted(ops(network)) == ["dims", "reshape"]
    assert only(network, "dims").attrs["values"] == (N * 2, 3)


def test_sizes_become_attributes() -> None:
    b = Net()
    x = b.x(6)
    to = b.of("concat", b.of("dims", values=(N,)), b.k([-1, 2], np.int64), axis=0)
    y = b.of("slice", b.of("reshape", x, to), b.k([1], np.int64), b.k([2**62], np.int64), axes=(1,))
    y = b.of("expand", b.of("pad", y, b.k([0, 0, 0, 0, 1, 0], np.int64)), b.of("dims", values=(N, 1, 1)))
    network = rewritten(b.done(b.of("tile", y, b.k([1, 2, 1], np.int64))), SIZES, DEAD)
    assert ops(network) == ["reshape", "slice", "pad", "expand", "tile"]
    assert all(len(layer.inputs) == 1 for layer in network.layers)


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.of("identity", x),
        lambda b, x: b.of("cast", x, to=F32),
        lambda b, x: b.of("reshape", x, shape=(N, 4)),
        lambda b, x: b.of("transpose", x, perm=(0, 1)),
        lambda b, x: b.of("concat", x, axis=1),
        lambda b, x: b.of("split", x, axis=1, sizes=(4,)),
        lambda b, x: b.of("expand", x, shape=(1, 4)),
        lambda b, x: b.of("pad", x, pads=0),
        lambda b, x: b.of("slice", x, start=(0,), axes=(1,)),
        lambda b, x: b.of("tile", x, times=(1, 1)),
        lambda b, x: b.of("max", x),
        lambda b, x: b.of("clip", x),
        lambda b, x: b.of("add", x, b.k(0.0)),
        lambda b, x: b.of("add", b.k([0.0]), x),
        lambda b, x: b.of("sub", x, b.k(0.0)),
        lambda b, x: b.of("mul", b.k(1.0), x),
        lambda b, x: b.of("div", x, b.k([1.0] * 4)),
        lambda b, x: b.of("pow", x, b.k(1.0)),
        lambda b, x: b.of("where", b.k(True, bool), x, b.of("neg", x)),
    ],
)
def test_identities_go(make: object) -> None:
    b = Net()
    x = b.of("relu", b.x(4))
    network = rewritten(b.done(b.of("sigmoid", make(b, x))), IDENTITY, DEAD)  # type: ignore[operator]
    assert ops(network) == ["relu", "sigmoid"]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.of("sub", b.k(0.0), x),
        lambda b, x: b.of("div", b.k(1.0), x),
        lambda b, x: b.of("add", x, b.k([[[0.0]]])),
        lambda b, x: b.of("add", x, b.k([0.0, 1.0, 0.0, 0.0])),
        lambda b, x: b.of("slice", x, step=(-1,), axes=(1,)),
        lambda b, x: b.of("transpose", b.of("reshape", x, shape=(4, N)), perm=(1, 0)),
    ],
)
def test_what_only_looks_like_an_identity_stays(make: object) -> None:
    b = Net()
    network = b.done(make(b, b.x(4)))  # type: ignore[operator]
    assert IDENTITY.run(network) is None


def test_an_output_keeps_its_name_when_its_layer_goes() -> None:
    b = Net()
    x = b.x(4)
    y = b.of("relu", x)
    network = rewritten(b.done(b.of("identity", y), b.of("neg", y), b.of("identity", x)), IDENTITY)
    assert [t.name for t in network.outputs] == ["y", "y1", "y2"]
    assert ops(network) == ["relu", "neg", "identity"]


def test_algebra_merges_runs() -> None:
    b = Net()
    x = b.x(2, 3)
    t = b.of("transpose", b.of("transpose", x, perm=(0, 2, 1)), perm=(1, 0, 2))
    r = b.of("reshape", b.of("flatten", b.of("unsqueeze", x, axes=(1,))), shape=(N, 3, 2))
    network = rewritten(b.done(t, r), ALGEBRA, DEAD)
    assert ops(network) == ["transpose", "reshape"]
    assert network.layers[0].attrs["perm"] == (2, 0, 1)


def test_algebra_cancels() -> None:
    b = Net()
    x = b.x(4)
    y = b.of("neg", b.of("neg", x))
    y = b.of("relu", b.of("relu", y))
    y = b.of("squeeze", b.of("unsqueeze", y, axes=(1,)), axes=(1,))
    y = b.of("clip", b.of("clip", y, min=-1.0, max=6.0), min=0.0)
    network = rewritten(b.done(y), ALGEBRA, DEAD)
    assert ops(network) == ["relu", "clip"]
    assert dict(network.layers[1].attrs) == {"min": 0.0, "max": 6.0}


def test_algebra_divides_by_powers_of_two_only() -> None:
    b = Net()
    x = b.x(4)
    network = rewritten(b.done(b.of("div", x, b.k(8.0)), b.of("div", x, b.k(3.0)), b.of("pow", x, b.k(2.0))), ALGEBRA)
    assert ops(network) == ["mul", "div", "mul"]


def test_algebra_takes_extremes_without_the_stack() -> None:
    b = Net()
    x = b.x(4)
    y = b.of("abs", x)
    rows = [b.of("unsqueeze", t, axes=(2,)) for t in (x, y, b.of("neg", x))]
    stack = b.of("concat", *rows, axis=2)
    made = b.of("reduce_max", stack, axes=(2,)), b.of("reduce_min", stack, axes=(2,))
    network = rewritten(b.done(*made), ALGEBRA, DEAD)
    assert sorted(ops(network)) == ["abs", "max", "min", "neg"]
    kept = b.of("reduce_max", stack, axes=(2,), keepdims=True), b.of("reduce_max", stack, axes=(1,))
    other = b.of("reduce_max", b.of("concat", x, y, axis=1), axes=(1,))
    assert "max" not in ops(rewritten(b.done(*kept, other), ALGEBRA, DEAD))


def test_algebra_flattens_concats() -> None:
    b = Net()
    x = b.x(4)
    inner, shared = b.of("concat", x, b.of("neg", x), axis=1), b.of("concat", x, x, axis=1)
    network = rewritten(b.done(b.of("concat", inner, shared, axis=1), b.of("neg", shared)), ALGEBRA, DEAD)
    assert sorted(ops(network)) == ["concat", "concat", "neg", "neg"]
    assert max(len(layer.inputs) for layer in network.layers) == 3


@pytest.mark.parametrize(
    ("first", "second", "merged"), [(F64, F32, True), (F16, F32, False), (F64, I32, False), (F64, F16, True)]
)
def test_casts_merge_where_nothing_is_lost(first: DType, second: DType, merged: bool) -> None:
    b = Net()
    network = rewritten(b.done(b.of("cast", b.of("cast", b.x(4), to=first), to=second)), ALGEBRA, DEAD)
    assert ops(network).count("cast") == (1 if merged else 2)


def test_represents_agrees_with_every_value_of_small_dtypes() -> None:
    small = [d for d in ALL if d.bits <= 8 or d is BOOL]
    for held in small:
        count = 2 if held is BOOL else 1 << held.bits
        raw = np.arange(count, dtype=np.uint8)
        if held is BOOL or held.bits == 4:
            values = (raw.astype(np.int8) - (8 if held.name == "i4" else 0)).astype(held.numpy)
        else:
            values = raw.view(held.numpy)
        wide = values.astype(np.float64)
        finite = np.isfinite(wide)
        for holder in ALL:
            if not represents(holder, held) or holder is held:
                continue
            with np.errstate(invalid="ignore"):
                there = values[finite].astype(np.float32).astype(holder.numpy).astype(np.float64)
            np.testing.assert_array_equal(there, wide[finite], err_msg=f"{held} in {holder}")
    assert represents(BY_NAME["f32"], BY_NAME["i16"]) and not represents(BY_NAME["f16"], BY_NAME["i16"])
    assert not represents(BY_NAME["u8"], BY_NAME["i8"]) and not represents(F16, BY_NAME["bf16"])


def test_cse_merges_equal_layers_over_equal_constants() -> None:
    b = Net()
    x = b.x(4)
    left, right = b.of("add", x, b.k([1.0, 2, 3, 4])), b.of("add", x, b.k([1.0, 2, 3, 4]))
    other = b.of("add", x, b.k([1.0, 2, 3, 5]))
    network = rewritten(b.done(b.of("mul", left, right), other), CSE)
    assert ops(network) == ["add", "add", "mul"]


def test_cse_of_two_outputs_keeps_both() -> None:
    b = Net()
    x = b.x(4)
    network = rewritten(b.done(b.of("exp", x), b.of("exp", x)), CSE)
    assert ops(network) == ["exp", "identity"]


def test_dead_layers_go_and_unread_inputs_stay() -> None:
    b = Net()
    x = b.x(4)
    b.x(3, name="unread")
    b.of("exp", b.of("neg", x))
    network = rewritten(b.done(b.of("relu", x)), DEAD)
    assert ops(network) == ["relu"]
    assert [t.name for t in network.inputs] == ["x", "unread"]


def test_a_layer_stays_where_its_size_is_needed() -> None:
    b = Net()
    x = b.x(4)
    found = b.layer("nonzero", x, name="found", data_dims=["K"])[0]
    network = rewritten(b.done(b.of("dims", values=(found.shape[1],))), DEAD)
    assert ops(network) == ["nonzero", "dims"]


def test_products_with_constant_matrices_become_linear() -> None:
    b = Net()
    x = b.x(3, 4)
    network = rewritten(
        b.done(b.of("matmul", x, b.c(4, 2)), b.of("matmul", b.c(2, 3), x), b.of("matmul", x, b.c(1, 4, 2))),
        LOWER,
        rtol=1e-6,
    )
    assert ops(network) == ["linear", "matmul", "matmul"]


def test_i64_is_not_lowered() -> None:
    b = Net()
    x = b.x(3, dtype=I64)
    assert LOWER.run(b.done(b.of("matmul", x, b.k(np.ones((3, 2)), np.int64)))) is None


@pytest.mark.parametrize(("axis", "index"), [(1, 0), (1, -1), (2, 2), (3, -4), (-1, 3)])
def test_one_slice_is_a_view(axis: int, index: int) -> None:
    b = Net()
    y = b.of("gather", b.x(2, 3, 4), b.k(index, np.int64), axis=axis)
    network = rewritten(b.done(b.of("relu", y)), SELECT)
    assert ops(network) == ["slice", "squeeze", "relu"]


def test_a_gather_that_may_fail_or_takes_several_stays() -> None:
    b = Net()
    x = b.x(2, 3)
    several = b.of("gather", x, b.k([0], np.int64), axis=0)
    assert ops(rewritten(b.done(several), SELECT)) == ["gather"]
    b = Net()
    unknown = b.of("gather", b.x(N, 3), b.k(0, np.int64), axis=0)
    assert ops(rewritten(b.done(unknown), SELECT)) == ["gather"]
