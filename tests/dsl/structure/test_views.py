"""Chains of transposes and reshapes: the fewest steps that do the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtn.dsl.dims import symbol
from trtn.dsl.structure.views import Step, shortest

B, S = symbol("B"), symbol("S")


def run(x: np.ndarray[Any, Any], steps: list[Step]) -> np.ndarray[Any, Any]:
    for kind, argument in steps:
        x = (
            x.transpose([int(str(a)) for a in argument])
            if kind == "transpose"
            else x.reshape([int(str(a)) for a in argument])
        )
    return x


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Step]]:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    current, steps = shape, []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(current)))))
            steps.append(("transpose", perm))
            current = tuple(current[p] for p in perm)
        else:
            size = int(np.prod(current))
            parts = []
            while size > 1 and len(parts) < 4:
                part = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
                parts.append(part)
                size //= part
            current = (*parts, size)
            steps.append(("reshape", current))
    return shape, steps


@given(chains())
@settings(max_examples=300, deadline=None)
def test_the_steps_do_the_same(case: tuple[tuple[int, ...], list[Step]]) -> None:
    shape, steps = case
    found = shortest(shape, steps)
    if found is None:
        return
    x = np.arange(int(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(run(x, found), run(x, steps))
    assert len(found) <= 3


@pytest.mark.parametrize(
    ("shape", "steps", "expected"),
    [
        ((B, S), [("transpose", (1, 0)), ("transpose", (1, 0))], []),
        ((B, S, 8), [("reshape", (B * S, 8)), ("reshape", (B, S, 8))], []),
        (
            (B, 2, S, 4),
            [("reshape", (2 * B, S, 4)), ("transpose", (0, 2, 1)), ("reshape", (B, 2, 4, S))],
            [("transpose", (0, 1, 3, 2))],
        ),
        (
            (B, S, 8),
            [("transpose", (1, 0, 2)), ("reshape", (S, 2 * B, 4)), ("transpose", (1, 0, 2)), ("reshape", (B, 2, S, 4))],
            [("reshape", (B, S, 2, 4)), ("transpose", (0, 2, 1, 3))],
        ),
        (
            (B, 2, S, 4),
            [("transpose", (0, 2, 1, 3)), ("reshape", (B, S, 8))],
            [("transpose", (0, 2, 1, 3)), ("reshape", (B, S, 8))],
        ),
        ((B, 1, S), [("reshape", (B, S)), ("transpose", (1, 0)), ("reshape", (1, S, B))], [("transpose", (1, 2, 0))]),
        ((B, 6), [("reshape", (B * 2, 3)), ("reshape", (B, 2, 3))], [("reshape", (B, 2, 3))]),
    ],
)
def test_steps(shape: Any, steps: list[Step], expected: list[Step]) -> None:
    assert shortest(shape, steps) == expected


def test_a_reshape_across_the_axes_is_left_alone() -> None:
    assert shortest((S, 6), [("transpose", (1, 0)), ("reshape", (S, 6))]) is None
