"""Tuned points: the sizes for which tactics are decided. Other shapes take what was decided for the nearest one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, prod

from trtn.dsl.dims import Expr
from trtn.dsl.network import Network, Profile, least_sizes

__all__ = ["likely_sizes", "nearest", "tuned_points"]

Sizes = Mapping[str, int]
IMAGE = 224
LENGTH = 128
SHAPE = 0.25
"""How much the dims' own factors count beside their product's."""
WIDE = 4
"""A profile's min and max are points of their own where the product of its dims there is so many times off opt's."""


def tuned_points(profiles: Sequence[Profile]) -> tuple[list[Sizes], list[Sizes]]:
    """The points of profiles, each once: opt of each, and those of min and max that are far from it."""
    optima: list[Sizes] = []
    corners: list[Sizes] = []
    for profile in profiles:
        optimum = profile.corner("optimum")
        optima += [optimum] if optimum not in optima else []
        for corner in (profile.corner("minimum"), profile.corner("maximum")):
            ratio = _volume(corner) / _volume(optimum)
            if (ratio >= WIDE or ratio <= 1 / WIDE) and corner not in corners:
                corners.append(corner)
    return optima, [c for c in corners if c not in optima]


def likely_sizes(network: Network) -> dict[str, int]:
    """What the dims of a network without profiles probably are: one sample (inputs' first axes), images (rank 4) of 224,
    any other length 128; the least that the asserts allow where they or a guard forbid that."""
    wanted: dict[str, int] = {}
    for t in network.inputs:
        for axis, dim in enumerate(t.shape):
            if isinstance(dim, Expr):
                size = 1 if axis == 0 else IMAGE if len(t.shape) == 4 else LENGTH
                for name in sorted(dim.symbols):
                    wanted.setdefault(name, size)
    least = least_sizes(network.dims, network.asserts)
    likely = {n: r.clamp(wanted[n]) if n in wanted else least[n] for n, r in network.dims.items()}
    conditions = (*(a.relation for a in network.asserts), *(g.relation for g in network.guards))
    allowed = all(r.holds(likely) for r in conditions if r.symbols <= likely.keys())
    return likely if allowed else least


def nearest(points: Sequence[Sizes], sizes: Sizes) -> int:
    """The number of the point nearest to sizes: that with the most similar amount of work, which goes by the dims'
    product; between such ones, the one whose dims differ by the smallest factors."""
    return min(range(len(points)), key=lambda n: _distance(points[n], sizes))


def _volume(sizes: Sizes) -> int:
    return prod(max(v, 1) for v in sizes.values())


def _distance(point: Sizes, sizes: Sizes) -> float:
    factors = [log(max(sizes.get(name, v), 1) / max(v, 1)) for name, v in point.items()]
    return abs(sum(factors)) + SHAPE * sum(map(abs, factors))
