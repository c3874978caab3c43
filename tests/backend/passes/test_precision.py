"""The precision policy: where casts go, what keeps its dtype."""

from __future__ import annotations

import numpy as np

from tests.backend.passes.nets import F16, F32, F64, I64, Net, assert_same, only, ops
from trtn.backend.passes import PrecisionPass, discover, run_passes
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Network, Origin, Precision

LOOSE = {"rtol": 2e-2, "atol": 2e-2}


def _lowered(network: Network, default: DType | None = F16, **keep: DType) -> Network:
    result = run_passes(network, precision=Precision(default, keep), verify=True)
    assert_same(network, result, **LOOSE)
    return result


def _mlp(b: Net, **origin: object) -> Network:
    h = b.of("softmax", b.of("linear", b.x(4), b.c(4, 6), b.c(6)), **origin)
    return b.done(b.of("linear", h, b.c(6, 3)))


def test_layers_compute_in_the_default_and_the_interface_stays() -> None:
    network = _lowered(_mlp(Net()))
    assert ops(network) == ["cast", "linear", "softmax", "linear", "cast"]
    assert [layer.output.dtype for layer in network.layers] == [F16, F16, F16, F16, F32]
    assert [t.dtype for t in network.weights] == [F16] * 3
    assert network.outputs[0].name == "y"


def test_kept_ops_and_annotated_layers_compute_in_theirs() -> None:
    for network in (_lowered(_mlp(Net()), softmax=F32), _lowered(_mlp(Net(), origin=Origin(precision=F32)))):
        assert ops(network) == ["cast", "linear", "cast", "softmax", "cast", "linear", "cast"]
        assert only(network, "softmax").output.dtype is F32


def test_annotations_count_without_a_default() -> None:
    network = _lowered(_mlp(Net(), origin=Origin(precision=F64)), None)
    assert only(network, "softmax").output.dtype is F64
    assert [layer.output.dtype for layer in network.layers if layer.op.name == "linear"] == [F32, F32]


def test_no_policy_changes_nothing() -> None:
    network = run_passes(_mlp(Net()))
    assert run_passes(network, precision=Precision()) is network
    assert run_passes(network, precision=Precision(F32)) is network


def test_movers_take_what_they_are_given() -> None:
    b = Net()
    y = b.of("transpose", b.of("linear", b.x(3, 4), b.c(4, 4)), perm=(0, 2, 1))
    moved = b.of("reshape", b.x(4, 3, name="z"), shape=y.shape)
    network = _lowered(b.done(b.of("concat", y, moved, axis=1)))
    assert only(network, "transpose").output.dtype is F16
    assert only(network, "concat").output.dtype is F16
    assert ops(network).count("cast") == 3  # x, z, and the output


def test_tables_are_stored_in_the_default() -> None:
    b = Net()
    ids = b.input("ids", I64, (3,))
    network = run_passes(b.done(b.of("embedding", ids, b.c(10, 4))), precision=Precision(F16), verify=True)
    assert [t.dtype for t in network.weights] == [F16]


def test_what_was_written_in_another_dtype_keeps_it() -> None:
    b = Net()
    wide = b.of("exp", b.of("cast", b.x(4), to=F64))
    network = _lowered(b.done(b.of("cast", wide, to=F32)))
    assert only(network, "exp").output.dtype is F64


def test_an_output_that_others_read() -> None:
    b = Net()
    h = b.of("sigmoid", b.x(4))
    network = _lowered(b.done(h, b.of("exp", h)))
    assert [t.name for t in network.outputs] == ["y", "y1"]
    assert only(network, "exp").inputs[0] is only(network, "sigmoid").output


def test_counting_stays_exact() -> None:
    b = Net()
    count = b.of("range", b.k(0.0), b.of("reduce_max", b.x(4), axes=(0, 1)), b.k(1.0))
    network = run_passes(b.done(count), precision=Precision(F16), verify=True)
    assert only(network, "range").output.dtype is F32


def test_bf16() -> None:
    bf16 = BY_NAME["bf16"]
    network = _lowered(_mlp(Net()), bf16)
    assert {t.dtype for t in network.weights} == {bf16}
    assert np.asarray(network.weights[0].weight.load()).dtype == bf16.numpy  # type: ignore[union-attr]


def test_the_pass_can_be_run_with_the_others() -> None:
    network = run_passes(_mlp(Net()), (*discover(), PrecisionPass(F16)), verify=True)
    assert only(network, "softmax").output.dtype is F16
