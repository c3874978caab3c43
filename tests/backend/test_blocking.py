"""Blocked orders of weights: what is packed comes back, and lies where kernels look for it."""

from __future__ import annotations

import random
from math import prod

import numpy as np
import pytest

from trtn.backend.blocking import Blocking, blocking_of
from trtn.backend.problem import dense_strides


def place(blocking: Blocking, index: tuple[int, ...]) -> int:
    """Where an element lies in the packed array, by the definition: blocks from the last one on, then the axes."""
    rest, offset, step = list(index), 0, 1
    for axis, size in reversed(blocking.blocks):
        offset += rest[axis] % size * step
        rest[axis] //= size
        step *= size
    for axis in reversed(blocking.order):
        offset += rest[axis] * step
        step *= -(-blocking.shape[axis] // prod(size for a, size in blocking.blocks if a == axis))
    return offset


def test_panels_are_what_they_are() -> None:
    blocking = blocking_of((2, 5), (5, 1), (1, 0), [(1, 4)])
    assert blocking is not None
    packed = blocking.pack(np.arange(10).reshape(2, 5))
    assert packed.tolist() == [[[0, 1, 2, 3], [5, 6, 7, 8]], [[4, 0, 0, 0], [9, 0, 0, 0]]]
    assert (blocking.counts, blocking.size) == ((2, 2, 4), 16)
    assert str(blocking) == "2x5/5x1>1x0;1:4"
    assert blocking.unpack(packed, (2, 5)).tolist() == np.arange(10).reshape(2, 5).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_every_element_has_its_place(seed: int) -> None:
    draw = random.Random(seed)
    shape = tuple(draw.randint(2, 9) for _ in range(draw.randint(1, 4)))
    turned = draw.sample(range(len(shape)), len(shape))  # the kernel sees the axes in another order
    strides = tuple(dense_strides(shape)[a] for a in turned)
    view = tuple(shape[a] for a in turned)
    order = draw.sample(range(len(shape)), len(shape))
    blocks = [(draw.randrange(len(shape)), draw.choice([2, 3, 4])) for _ in range(draw.randint(0, 3))]
    blocking = blocking_of(view, strides, order, blocks)
    assert blocking is not None
    plain = np.random.default_rng(seed).integers(1, 1000, shape)
    packed = blocking.pack(plain)
    assert packed.shape == blocking.counts
    assert np.array_equal(blocking.unpack(packed, shape), plain)
    flat, seen = packed.reshape(-1), plain.transpose(turned)
    for index in np.ndindex(*view):
        assert flat[place(blocking, index)] == seen[index]
    assert np.count_nonzero(flat) == plain.size, "the rest is zeros"


def test_axes_of_one_element_do_not_count() -> None:
    long = blocking_of((8, 3, 1, 1), (3, 1, 1, 1), (0, 1, 2, 3), [(0, 4)])
    assert long == blocking_of((8, 3), (3, 1), (0, 1), [(0, 4)])


@pytest.mark.parametrize(
    ("shape", "strides", "order", "blocks"),
    [
        ((4, 4), (4, 2), (0, 1), []),  # two elements at one place
        ((4, 4), (8, 1), (0, 1), []),  # gaps
        ((4, 4), (4, 0), (0, 1), []),
        ((4, 4), (-4, 1), (0, 1), []),
        ((4, 4), (4, 1), (0, 0), []),
        ((4, 4), (4, 1), (0,), []),
        ((4, 1), (1, 1), (0, 1), [(1, 16)]),  # an axis that is not there
    ],
)
def test_what_is_no_order_of_all_elements(
    shape: tuple[int, ...], strides: tuple[int, ...], order: tuple[int, ...], blocks: list[tuple[int, int]]
) -> None:
    assert blocking_of(shape, strides, order, blocks) is None
