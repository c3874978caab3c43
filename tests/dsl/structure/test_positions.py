"""Positions, lookups, joins that grow: what they become, and when they stay."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.passes.nets import I64, N, Net, feeds_for, ops
from tests.interpreter import evaluate_network
from trtn.dsl.dims import Range, symbol
from trtn.dsl.network import Network
from trtn.dsl.structure import print_structured
from trtn.dsl.structure.recognise import recognise


def assert_same(network: Network, found: Network) -> None:
    feeds = feeds_for(network, 3)
    for name, array in evaluate_network(network, feeds).items():
        np.testing.assert_array_equal(evaluate_network(found, feeds)[name], array, err_msg=name)


def lookup(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]], high: int = 6) -> Network:
    """Word and position embeddings, positions taken from a constant table."""
    b = Net()
    b.dims["S"] = Range(1, high)
    s = symbol("S")
    words = b.input("words", b.c(1).dtype, (N, s, 4))
    places = b.of("slice", b.constant(table, "position_ids"), start=[0], end=[s], axes=[table.ndim - 1])
    return b.done(b.of("add", words, b.of("embedding", places, b.c(8, 4))))


def test_a_table_of_positions_is_a_range() -> None:
    network = lookup(np.arange(40)[None])
    found = recognise(network)
    assert ops(found) == ["range", "embedding", "add"]
    assert "range(end=S)" in print_structured(found)
    assert_same(network, found)


def test_a_table_that_may_be_too_short() -> None:
    network = lookup(np.arange(20), high=64)
    assert "range(end=min(S, 20))" in print_structured(recognise(network))


@pytest.mark.parametrize("table", [np.arange(1, 41), np.arange(40)[::-1].copy(), np.arange(80).reshape(2, 40) % 40])
def test_other_tables_stay(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    assert "slice" in ops(recognise(lookup(table)))


def test_an_axis_that_no_operand_has_stays() -> None:
    b = Net()
    x, y = (b.of("unsqueeze", b.x(4, name=name), axes=[0]) for name in "ab")
    network = b.done(b.of("add", x, y))
    found = recognise(network)
    assert found.outputs[0].shape == (1, N, 4)
    assert_same(network, found)


def test_rows_that_are_gathered_one_by_one() -> None:
    b = Net()
    mask = b.of("reshape", b.x(5), shape=[N * 5])
    batch = b.of("mul", b.of("reshape", b.of("range", end=N), shape=[N, 1, 1]), b.constant(np.asarray(5)))
    indices = b.of("add", batch, b.of("reshape", b.of("range", end=5), shape=[1, 1, 5]))
    network = b.done(b.of("gather", mask, indices))
    found = recognise(network)
    assert ops(found) == ["unsqueeze"] or ops(found) == ["reshape"]
    assert_same(network, found)


def test_rows_in_another_order_stay() -> None:
    b = Net()
    flat = b.of("reshape", b.x(5), shape=[N * 5])
    batch = b.of("reshape", b.of("range", end=N), shape=[1, N])
    places = b.of("mul", b.of("reshape", b.of("range", end=5), shape=[5, 1]), b.of("dims", values=[N]))
    rows = b.of("gather", flat, b.of("add", places, batch))
    columns = b.of(
        "add", b.of("mul", batch, b.constant(np.asarray(5))), b.of("reshape", b.of("range", end=5), shape=[5, 1])
    )
    assert ops(recognise(b.done(rows, b.of("gather", flat, columns)))).count("gather") == 1


def test_a_join_that_grows() -> None:
    b = Net()
    x = b.x(4)
    parts = [x]
    for _ in range(3):
        joined = b.of("concat", *parts, axis=1) if len(parts) > 1 else x
        parts.append(b.of("tanh", b.of("linear", joined, b.c(4 * len(parts), 4))))
    network = b.done(b.of("concat", *parts, axis=1))
    found = recognise(network)
    assert [len(layer.inputs) for layer in found.layers if layer.op.name == "concat"] == [2, 2, 2]
    assert_same(network, found)


def test_joins_along_other_axes_or_of_other_tensors_stay() -> None:
    b = Net()
    x, y, z = (b.x(4, name=name) for name in "abc")
    network = b.done(b.of("concat", x, y, axis=0), b.of("concat", x, y, z, axis=1), b.of("concat", y, x, z, axis=0))
    assert ops(recognise(network)) == ["concat"] * 3
    assert_same(network, recognise(network))


def test_padding_with_nothing_is_nothing() -> None:
    b = Net()
    none = b.of("pad", b.x(4), pads=[0, 0, 0, 0])
    assert ops(recognise(b.done(b.of("tanh", none)))) == ["tanh"]
    b = Net()
    assert ops(recognise(b.done(b.of("tanh", b.of("pad", b.x(4), pads=[0, 1, 0, 0]))))) == ["pad", "tanh"]


def test_indices_keep_their_dtype() -> None:
    network = recognise(lookup(np.arange(40)))
    assert next(layer for layer in network.layers if layer.op.name == "range").output.dtype is I64
