"""Networks and feeds of the GPU's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trtn.dsl.dims import evaluate
from trtn.dsl.network import Network, Profile, ProfileRange

__all__ = ["SPECS", "assert_close", "fixed_at", "make_feeds"]

SPECS = Path(__file__).parent.parent.parent / "specs"


def fixed_at(network: Network, sizes: dict[str, int]) -> Network:
    """The network with one profile that serves these sizes alone: a build decides one tactic a problem."""
    return replace(network, profiles=(Profile("fixed", {n: ProfileRange(v, v, v) for n, v in sizes.items()}),))


def make_feeds(network: Network, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {}
    for t in network.inputs:
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        if t.dtype.is_float:
            feeds[t.name] = rng.standard_normal(shape).astype(t.dtype.numpy)
        else:
            feeds[t.name] = rng.integers(0, 2, shape).astype(t.dtype.numpy)
    return feeds


def assert_close(ours: dict[str, Any], reference: dict[str, Any], rtol: float) -> None:
    """Results are as far from the reference as `rtol` of its norm at most."""
    for name, expected in reference.items():
        found = ours[name]
        assert found.shape == expected.shape and found.dtype == expected.dtype
        norm = np.linalg.norm(expected.astype(np.float64)) or 1.0
        assert np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64)) <= rtol * norm, name
