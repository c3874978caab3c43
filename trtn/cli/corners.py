"""The shapes at which a spec is compared with its model: its profiles' corners, or small ones without profiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dims import evaluate, sample
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network

__all__ = ["Corner", "corners"]

_WORDS = {"minimum": "min", "optimum": "opt", "maximum": "max"}
_SMALL = 2
"""Points that are compared where a spec has no profile."""


@dataclass(frozen=True, slots=True)
class Corner:
    """Values of all dims, the inputs' shapes that follow, the elements of inputs that are read as shapes."""

    name: str
    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        sizes = ", ".join(f"{n} = {v:,}" for n, v in self.sizes.items())
        return f"{self.name}: {sizes}" if sizes else self.name


def corners(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> list[Corner]:
    """The shapes that are given, or min, opt and max of each profile, each once. Raises ShapeError where `shapes`
    don't fit.
    """
    if shapes:
        return [_given(network, shapes)]
    found: dict[tuple[object, ...], Corner] = {}
    for profile in network.profiles:
        for which, word in _WORDS.items():
            values = {name: tuple(getattr(r, which) for r in ranges) for name, ranges in profile.values.items()}
            corner = _corner(network, f"profile {profile.name} at {word}", profile.corner(which), values)
            found.setdefault((*corner.sizes.items(), *values.items()), corner)
    if found:
        return list(found.values())
    name = "small sizes" if network.dims else "the only shapes"
    return [_corner(network, name, sizes) for sizes in _small(network)]


def _corner(
    network: Network, name: str, sizes: Mapping[str, int], values: Mapping[str, tuple[int, ...]] | None = None
) -> Corner:
    shapes = {t.name: tuple(evaluate(d, sizes) for d in t.shape) for t in network.inputs}
    return Corner(name, sizes, shapes, values or {})


def _given(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> Corner:
    ranks = {t.name: len(t.shape) for t in network.inputs}
    for name, shape in shapes.items():
        if ranks.get(name) != len(shape):
            message = f"the network has no input `{name}` of rank {len(shape)}"
            raise ShapeError(
                message, [Diagnostic("E0705", message, help=f"inputs: {', '.join(map(repr, network.inputs))}")]
            )
    sizes = solve_dims((t.shape, shapes[t.name]) for t in network.inputs if t.name in shapes)
    missing = [n for n in network.dims if n not in sizes]
    if missing:
        message = f"the given shapes leave {', '.join(f'`{n}`' for n in missing)} open"
        raise ShapeError(message, [Diagnostic("E0705", message, help="give the shape of another input too")])
    corner = _corner(network, "the given shapes", sizes)
    return Corner(corner.name, sizes, {**corner.shapes, **shapes})


def _small(network: Network) -> Iterator[dict[str, int]]:
    """Small values of the dims, unequal where that can be, which asserts and guards allow."""
    if not network.dims:
        return iter([{}])
    unequal = {name: r.clamp(r.low + r.step * n) for n, (name, r) in enumerate(network.dims.items(), 1)}
    least = {name: r.low for name, r in network.dims.items()}
    others = sorted(sample(network.domain()), key=lambda sizes: math.prod(sizes.values()))
    relations = [a.relation for a in network.asserts] + [g.relation for g in network.guards]
    known = [r for r in relations if r.symbols <= network.dims.keys()]
    allowed = (
        {n: sizes[n] for n in network.dims} for sizes in (least, unequal, *others) if all(r.holds(sizes) for r in known)
    )
    unique = {tuple(s.items()): s for s in islice(allowed, len(others) + 2)}
    return islice(unique.values(), _SMALL)
