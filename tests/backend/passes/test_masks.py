"""Constant masks of attention: which ones go, which become `causal`, which stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.passes.nets import Net, only, rewritten
from trtn.backend.passes.masks import HIDDEN, PASS
from trtn.dsl.network import Network

LEAST = float(np.finfo(np.float32).min)


def attention(mask: Any, queries: int, keys: int, causal: bool = False) -> Network:
    """Of two heads of width 4."""
    b = Net()
    q, k, v = b.x(2, queries, 4, name="q"), b.x(2, keys, 4, name="k"), b.x(2, keys, 4, name="v")
    return b.done(b.of("attention", q, k, v, b.k(mask, np.asarray(mask).dtype), causal=causal))


def lower(queries: int, keys: int, hidden: float = LEAST) -> Any:
    return np.where(np.tri(queries, keys, keys - queries, dtype=bool), np.float32(0), np.float32(hidden))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((1, 1, 5, 5), np.float32),
        np.zeros((5, 1), np.float32),
        np.zeros(5, np.float32),
        np.ones((2, 5, 5), bool),
    ],
)
def test_a_mask_that_hides_nothing_goes(mask: Any, causal: bool) -> None:
    layer = only(rewritten(attention(mask, 5, 5, causal), PASS), "attention")
    assert len(layer.inputs) == 3
    assert layer.attrs["causal"] is causal


@pytest.mark.parametrize(
    ("mask", "keys"),
    [
        (lower(5, 5), 5),
        (lower(5, 5, -np.inf), 5),
        (lower(5, 5, HIDDEN)[None, None], 5),
        (lower(5, 7), 7),
        (np.tri(5, dtype=bool), 5),
        (np.broadcast_to(np.tri(5, dtype=bool), (2, 5, 5)), 5),
    ],
)
def test_a_mask_of_what_comes_after_becomes_causal(mask: Any, keys: int) -> None:
    layer = only(rewritten(attention(np.ascontiguousarray(mask), 5, keys), PASS), "attention")
    assert len(layer.inputs) == 3
    assert layer.attrs["causal"] is True


@pytest.mark.parametrize(
    ("mask", "keys"),
    [
        (lower(5, 5, -1.0), 5),  # lessens, hides nothing
        (np.ones((5, 5), np.float32), 5),
        (np.eye(5, dtype=bool), 5),
        (np.tri(5, 5, 1, dtype=bool), 5),
        (np.tri(5, 7, dtype=bool), 7),  # the last query sees five of seven
        (np.tri(5, 3, -2, dtype=bool), 3),  # causal, and the first queries see nothing
        (np.stack([np.tri(5, dtype=bool), np.ones((5, 5), bool)]), 5),
        (np.array([True] * 4 + [False]), 5),
    ],
)
def test_other_masks_stay(mask: Any, keys: int) -> None:
    assert PASS.run(attention(mask, 5, keys)) is None
