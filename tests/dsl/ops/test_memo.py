"""Layers that are alike share what was inferred; layers that only look alike do not."""

from __future__ import annotations

from typing import Any

import pytest

from trtn.dsl.dims import Dim, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import catalogue, find_op
from trtn.dsl.ops.homes import HOMES
from trtn.dsl.ops.infer import InferFailure, Inferred
from trtn.dsl.ops.memo import InferenceMemo

N = symbol("N")


def _x(*shape: Dim, dtype: str = "f32", value: tuple[Dim, ...] | None = None) -> Tensor:
    return Tensor("x", BY_NAME[dtype], shape, value=value)


def _infer(memo: InferenceMemo, name: str, *inputs: Tensor | None, **attrs: Any) -> Inferred:
    op = find_op(name)
    assert op is not None
    drawn = iter(range(100))
    found = memo.find(op, inputs, attrs)
    return found or memo.infer(op, inputs, attrs, fresh=lambda low, high: symbol(f"K{next(drawn)}"))


def test_layers_that_are_alike() -> None:
    memo = InferenceMemo()
    first = _infer(memo, "softmax", _x(N, 3), axis=-1)
    assert _infer(memo, "softmax", _x(N, 3), axis=-1) is first
    assert first.attrs["axis"] == 1


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("softmax", ([_x(N, 3)], {"axis": 1}), ([_x(N, 4)], {"axis": 1})),
        ("softmax", ([_x(N, 3)], {"axis": 1}), ([_x(N, 3)], {"axis": 0})),
        ("softmax", ([_x(N, 3)], {"axis": 1}), ([_x(N, 3, dtype="f16")], {"axis": 1})),
        ("leaky_relu", ([_x(N)], {"alpha": 0.0}), ([_x(N)], {"alpha": -0.0})),
        ("concat", ([_x(N), _x(N)], {"axis": 0}), ([_x(N), _x(N), _x(N)], {"axis": 0})),
        ("add", ([_x(2, dtype="i64", value=(1, 2))] * 2, {}), ([_x(2, dtype="i64", value=(1, 3))] * 2, {})),
    ],
)
def test_layers_that_differ(name: str, first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
    memo = InferenceMemo()
    for inputs, attrs in (first, second, first):
        found, alone = _infer(memo, name, *inputs, **attrs), _infer(InferenceMemo(), name, *inputs, **attrs)
        assert (found.types, found.value, repr(found.attrs)) == (alone.types, alone.value, repr(alone.attrs))


@pytest.mark.parametrize("wrong", [1.0, True, "1", [1], object()])
def test_a_value_of_another_kind_is_refused_though_an_equal_one_was_fine(wrong: Any) -> None:
    memo = InferenceMemo()
    _infer(memo, "softmax", _x(N, 3), axis=1)
    for _ in range(2):  # a failure is not remembered as anything else
        with pytest.raises(InferFailure):
            _infer(memo, "softmax", _x(N, 3), axis=wrong)


def test_sizes_that_the_data_decides_are_drawn_each_time() -> None:
    memo = InferenceMemo()
    drawn: list[Dim] = []

    def fresh(low: Dim, high: Dim) -> Dim:
        drawn.append(symbol(f"K{len(drawn)}"))
        return drawn[-1]

    op = catalogue()["nonzero"]
    shapes = []
    for _ in range(2):
        assert memo.find(op, [_x(N)], {}) is None
        shapes.append(memo.infer(op, [_x(N)], {}, fresh=fresh).types[0].shape)
    assert shapes == [(1, drawn[0]), (1, drawn[1])] and drawn[0] != drawn[1]


def test_every_op_is_found_where_it_is_declared() -> None:
    """`homes.py` lists each op under the module that declares it: add a new op there."""
    assert {name: type(op).__module__.rpartition(".")[2] for name, op in catalogue().items()} == HOMES
