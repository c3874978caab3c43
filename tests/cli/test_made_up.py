"""Shapes and values for feeds that nobody gave."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.conftest import SPEC
from trtn.cli.made_up import make_up, shapes_for
from trtn.dsl.builder import Builder
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.load import load_text
from trtn.dsl.network import Network, Tensor

NETWORK = load_text(SPEC)
B = symbol("B")


def _network(dtype: str) -> Network:
    """Ids that are reshaped before they choose rows of a table of five, and once more of one of nine."""
    b = Builder("net", dims={"B": Range(1, 8)})
    ids = b.input("ids", BY_NAME[dtype], (B, 2))
    (flat,) = b.layer("reshape", ids, name="flat", shape=(2 * B,))
    outputs: list[Tensor] = []
    for rows in (9, 5):
        table = b.constant(np.zeros((rows, 3), np.float32), f"table{rows}")
        outputs += b.layer("embedding", flat, table, name=f"y{rows}")
    return b.finish([(t.name, t) for t in outputs])


@pytest.mark.parametrize("dtype", ["i64", "i32"])
def test_ids_stay_inside_the_smallest_table(dtype: str) -> None:
    network = _network(dtype)
    array = make_up(network, network.inputs[0], (500, 2), sizes={"B": 500})
    assert array.dtype == BY_NAME[dtype].numpy
    assert (array.min(), array.max()) == (0, 4)


def test_a_one_hot_code_made_by_comparing() -> None:
    b = Builder("net")
    ids = b.input("ids", BY_NAME["i64"], (500, 1))
    network = b.finish([("y", b.layer("equal", ids, b.constant(np.arange(20)), name="y")[0])])
    array = make_up(network, network.inputs[0], (500, 1), sizes={})
    assert (array.min(), array.max()) == (0, 19)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("u8", 0, 255), ("i8", -128, 127), ("i64", 0, 1), ("u4", 0, 15), ("i4", -8, 7)]
)
def test_integers_of_no_known_use(dtype: str, low: int, high: int) -> None:
    b = Builder("net")
    x = b.input("x", BY_NAME[dtype], (4000,))
    network = b.finish([("y", x)])
    array = make_up(network, network.inputs[0], (4000,), sizes={}).astype(np.int64)
    assert (array.min(), array.max()) == (low, high)


def test_masks_are_mostly_true() -> None:
    b = Builder("net")
    network = b.finish([("y", b.input("x", BY_NAME["bool"], (4000,)))])
    assert 0.8 < make_up(network, network.inputs[0], (4000,), sizes={}).mean() < 1


def test_the_seed_and_the_name_decide() -> None:
    x = NETWORK.inputs[0]
    first, second = (make_up(NETWORK, x, (2, 4), seed=s, sizes={"B": 2}) for s in (1, 2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, make_up(NETWORK, x, (2, 4), seed=1, sizes={"B": 2}))
    assert first.dtype == np.float32


def test_stated_values_are_taken() -> None:
    ids = NETWORK.inputs[1]
    array = make_up(NETWORK, ids, (2,), sizes={"B": 2}, values={"ids": (7, 9)})
    assert array.tolist() == [7, 9]


def test_shapes() -> None:
    def shapes(known: dict[str, tuple[int, ...]], wanted: str | None = None) -> dict[str, tuple[int, ...]]:
        return shapes_for(NETWORK, NETWORK.profiles, known, wanted)

    assert shapes({}) == {"x": (2, 4), "ids": (2,)}
    assert shapes({}, "large") == {"x": (4, 4), "ids": (4,)}
    assert shapes({"ids": (3,)}) == {"x": (3, 4), "ids": (3,)}
    assert shapes({"x": (5, 5, 5)}) == {"x": (5, 5, 5), "ids": (2,)}
