"""An engine's inputs and outputs as its users see them, and the fitting of feeds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.dsl.check import solve_dims
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import evaluate
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network, Profile, Tensor

__all__ = ["IOTensor", "check_sizes", "fit_feeds", "pick_profile", "refuse", "sizes_of"]


@dataclass(frozen=True, slots=True)
class IOTensor:
    """An input or output: dtype as the language writes it, dims as integers or, where symbolic, as text.

    `profiles` has the (min, opt, max) shapes by profile.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    profiles: Mapping[str, tuple[tuple[int | str, ...], ...]]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def describe_io(tensor: Tensor, profiles: Sequence[Profile]) -> IOTensor:
    boxes = {}
    for p in profiles:
        corners = (p.corner(which) for which in ("minimum", "optimum", "maximum"))
        boxes[p.name] = tuple(tuple(_at(d, c) for d in tensor.shape) for c in corners)
    shape = tuple(d if isinstance(d, int) else str(d) for d in tensor.shape)
    return IOTensor(tensor.name, tensor.dtype.name, shape, boxes)


def _at(dim: Any, corner: Mapping[str, int]) -> int | str:
    if isinstance(dim, int) or dim.symbols <= corner.keys():
        return evaluate(dim, corner)
    return str(dim)


def refuse(code: str, message: str, *, notes: Sequence[str] = (), cure: str = "") -> ShapeError:
    return ShapeError(message, [Diagnostic(code, message, notes=tuple(notes), help=cure)])


def fit_feeds(network: Network, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Feeds as C-contiguous arrays of the declared dtypes and ranks. Raises ShapeError."""
    import numpy as np

    declared = {t.name: t for t in network.inputs}
    for name in feeds:
        if name not in declared:
            near = did_you_mean(str(name), list(declared)) or f"inputs: {', '.join(f'`{n}`' for n in declared)}"
            raise refuse("E0705", f"the engine has no input `{name}`", cure=near)
    arrays: dict[str, Any] = {}
    for name, t in declared.items():
        if name not in feeds:
            raise refuse("E0705", f"no feed for input `{name}` ({t.type})")
        given = feeds[name]
        if hasattr(given, "dtype") and hasattr(given, "shape"):
            array = given
        else:
            try:
                array = np.asarray(given, dtype=t.dtype.numpy)
            except (ValueError, TypeError, OverflowError) as e:
                raise refuse("E0705", f"the feed of `{name}` can't be made {t.type}: {e}") from None
        if array.dtype != t.dtype.numpy:
            raise refuse(
                "E0705",
                f"input `{name}` is {t.dtype}, the feed is {array.dtype}",
                cure=f"convert it: `x.astype({t.dtype.numpy.name!r})`",
            )
        if array.ndim != len(t.shape):
            raise refuse(
                "E0705",
                f"input `{name}` is {t.type}, the feed has shape {list(array.shape)}: rank {array.ndim}, not {len(t.shape)}",
            )
        if hasattr(array, "__cuda_array_interface__"):
            raise refuse(
                "E0705",
                f"the feed of `{name}` lies on a GPU, the engine runs on the CPU",
                cure="copy it: `x.get()`",
            )
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


def sizes_of(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The dims' values from the inputs' shapes. Raises ShapeError where a shape does not fit its declaration."""
    sizes = solve_dims((t.shape, shapes[t.name]) for t in network.inputs)
    for t in network.inputs:
        for axis, (dim, actual) in enumerate(zip(t.shape, shapes[t.name], strict=True)):
            expected = evaluate(dim, sizes)
            if expected != actual:
                why = f"`{dim}` is {expected} for {_values(sizes)}" if not isinstance(dim, int) else f"it is {dim}"
                raise refuse(
                    "E0705",
                    f"input `{t.name}` is {t.type}, the feed has shape {list(shapes[t.name])}: dim {axis} is {actual}, but {why}",
                )
    return sizes


def pick_profile(profiles: Sequence[Profile], network: Network, sizes: Mapping[str, int], wanted: str | None) -> Profile:
    """The profile to run in: the wanted one, or the first whose box holds the sizes. Raises ShapeError with each one's reason."""
    reasons = []
    for p in profiles:
        if wanted is not None and p.name != wanted:
            continue
        misses = [
            f"`{n}` is {sizes[n]}, outside {r.minimum}..{r.maximum}"
            for n, r in p.dims.items()
            if not r.minimum <= sizes[n] <= r.maximum
        ]
        if not misses:
            return p
        reasons.append(f"profile `{p.name}`: {', '.join(misses)}")
    raise refuse(
        "E0706",
        f"no profile serves {_values(sizes)}",
        notes=reasons,
        cure="widen a profile in the spec and build again",
    )


def check_sizes(network: Network, sizes: Mapping[str, int]) -> None:
    """Ranges, steps, asserts and guards for known values of the dims. Raises ShapeError."""
    for name, allowed in network.dims.items():
        if sizes[name] not in allowed:
            step = f" step {allowed.step}" if allowed.step > 1 else ""
            raise refuse(
                "E0706",
                f"`{name}` is {sizes[name]}; the network is defined for {allowed.low}..{allowed.high}{step}",
            )
    for a in network.asserts:
        if a.relation.symbols <= sizes.keys() and not a.relation.holds(sizes):
            message = f" ({a.message})" if a.message else ""
            raise refuse("E0707", f"`assert {a.relation}`{message} does not hold for {_values(sizes)}")
    for g in network.guards:
        if g.relation.symbols <= sizes.keys() and not g.relation.holds(sizes):
            raise refuse(
                "E0707",
                f"layer `{g.layer}`: {g.message}",
                notes=[f"`{g.relation}` does not hold for {_values(sizes)}"],
            )


def _values(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{n} = {v}" for n, v in sorted(sizes.items())) or "these shapes"
