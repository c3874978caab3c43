"""Shapes that are likely to come: what they need is made when an engine is built, not when they come."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import exp, log

from trtn.backend.runtime.io import check_sizes
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network

__all__ = ["scattered_sizes"]

SHAPES = 24
"""Shapes of a profile."""
GOLDEN = 1.22074408460575947536
"""The root of x^4 = x + 1: multiples of its powers' inverses, modulo 1, fill a cube evenly (M. Roberts, "The Unreasonable
Effectiveness of Quasirandom Sequences", 2018)."""


def scattered_sizes(network: Network) -> list[Mapping[str, int]]:
    """Sizes all over the profiles' ranges, as many between 1 and 2 as between 16 and 32; the same ones each time. Those
    that the network's asserts forbid are left out."""
    found: dict[tuple[int, ...], Mapping[str, int]] = {}
    for profile in network.profiles:
        if all(r.minimum == r.maximum for r in profile.dims.values()):
            continue
        for n in range(SHAPES):
            sizes = {}
            for axis, (name, r) in enumerate(profile.dims.items()):
                low, high = log(max(r.minimum, 1)), log(max(r.maximum, 1))
                part = (0.5 + n / GOLDEN ** (axis + 1)) % 1
                sizes[name] = network.dims[name].clamp(round(exp(low + part * (high - low))))
            with suppress(ShapeError):
                check_sizes(network, sizes)
                found.setdefault(tuple(sizes.values()), sizes)
    return list(found.values())
