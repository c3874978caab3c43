"""Shapes that are likely to come: what they need is made when an engine is built, not when they come."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from trtn.backend.runtime.io import check_sizes
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network

__all__ = ["scattered_sizes"]

SHAPES = 64
"""Shapes of a profile."""
GOLDEN = 1.22074408460575947536
"""The root of x^4 = x + 1: multiples of its powers' inverses, modulo 1, fill a cube evenly (M. Roberts, "The Unreasonable
Effectiveness of Quasirandom Sequences", 2018)."""


def scattered_sizes(network: Network) -> list[Mapping[str, int]]:
    """Sizes all over the profiles' ranges, the same ones each time: half of them evenly, half with as many between 1 and
    2 as between 16 and 32. Those that the network's asserts forbid are left out."""
    found: dict[tuple[int, ...], Mapping[str, int]] = {}
    for profile in network.profiles:
        if all(r.minimum == r.maximum for r in profile.dims.values()):
            continue
        for n in range(SHAPES):
            sizes = {}
            for axis, (name, r) in enumerate(profile.dims.items()):
                part = (0.5 + n / GOLDEN ** (axis + 1)) % 1
                low, high = max(r.minimum, 1), max(r.maximum, 1)
                even, by_factors = low + part * (high - low), low * (high / low) ** part
                sizes[name] = network.dims[name].clamp(round(even if n % 2 else by_factors))
            with suppress(ShapeError):
                check_sizes(network, sizes)
                found.setdefault(tuple(sizes.values()), sizes)
    return list(found.values())
