"""An engine's inputs and outputs as its users see them, and the fitting of feeds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtn.backend.demands import check_asserts, check_guards, refuse, sizes_text
from trtn.backend.devices import Device
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import DimError, evaluate
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Network, Profile, Tensor
from trtn.dsl.records import record

__all__ = ["IOTensor", "check_sizes", "fit_feeds", "pick_profile", "refuse", "sizes_of"]


@record()
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


def fit_feeds(network: Network, feeds: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """Feeds as C-contiguous arrays of the declared dtypes and ranks, NumPy's or the device's. Raises ShapeError."""
    if (found := _fitting(network, feeds)) is not None:
        return found
    if not isinstance(feeds, Mapping):
        raise refuse("E0705", f"feeds are arrays by input name, not {type(feeds).__name__}")
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
        given = np.asarray(given) if isinstance(given, np.generic) else device.adopt(given)
        if hasattr(given, "dtype") and hasattr(given, "shape"):
            array = given
        else:
            array = _from_list(name, given, t)
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
        if not (device.owns(array) or isinstance(array, np.ndarray)):
            raise refuse(
                "E0705",
                f"the feed of `{name}` is a {type(array).__module__}.{type(array).__name__}; the engine runs on {device.name}",
                cure="give a NumPy array" if device.name == "cpu" else "give a NumPy or a CuPy array",
            )
        contiguous = (device.xp if device.owns(array) else np).ascontiguousarray(array)
        arrays[name] = contiguous.reshape(array.shape)
    return arrays


def _fitting(network: Network, feeds: object) -> dict[str, Any] | None:
    """The feeds where nothing has to be done about them; the rest of `fit_feeds` takes as long as a small model."""
    if type(feeds) is not dict or len(feeds) != len(network.inputs):
        return None
    found = {}
    for t in network.inputs:
        array = feeds.get(t.name)
        if type(array) is not np.ndarray or array.dtype != t.dtype.numpy or array.ndim != len(t.shape):
            return None
        if not array.flags.c_contiguous:
            return None
        found[t.name] = array
    return found


def _from_list(name: str, given: Any, tensor: Tensor) -> Any:
    """Numbers and nested lists of them as an array. What would lose a fraction or become a truth value is refused."""
    try:
        found = np.asarray(given)
        if found.size and _KINDS.index(found.dtype.kind) > _KINDS.index(_kind(tensor)):
            raise ValueError(f"it holds {found.dtype} values")
        return np.asarray(given, dtype=tensor.dtype.numpy)
    except (ValueError, TypeError, OverflowError) as e:
        raise refuse("E0705", f"the feed of `{name}` can't be made {tensor.type}: {e}") from None


_KINDS = "buif"
"""NumPy's kinds of numbers, each of which goes into those after it."""


def _kind(tensor: Tensor) -> str:
    return "f" if tensor.dtype.is_float else "b" if tensor.dtype is BOOL else "i"


def sizes_of(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The dims' values from the inputs' shapes. Raises ShapeError where a shape does not fit its declaration."""
    sizes = solve_dims((t.shape, shapes[t.name]) for t in network.inputs)
    for t in network.inputs:
        for axis, (dim, actual) in enumerate(zip(t.shape, shapes[t.name], strict=True)):
            try:
                expected = evaluate(dim, sizes)
            except DimError as e:
                raise refuse("E0705", f"input `{t.name}` is {t.type}, which has no such sizes: {e}") from None
            if expected != actual:
                why = f"`{dim}` is {expected} for {sizes_text(sizes)}" if not isinstance(dim, int) else f"it is {dim}"
                raise refuse(
                    "E0705",
                    f"input `{t.name}` is {t.type}, the feed has shape {list(shapes[t.name])}: dim {axis} is {actual}, but {why}",
                )
    return sizes


def pick_profile(
    profiles: Sequence[Profile], sizes: Mapping[str, int], arrays: Mapping[str, Any], wanted: str | None
) -> Profile:
    """The profile to run in: the wanted one, or the first whose box holds the sizes and, for inputs that are read as
    shapes, the
    values. Raises ShapeError with each one's reason."""
    reasons = []
    for p in profiles:
        if wanted is not None and p.name != wanted:
            continue
        misses = [*_dims_outside(p, sizes), *_values_outside(p, arrays)]
        if not misses:
            return p
        reasons.append(f"{', '.join(misses)} of profile `{p.name}`")
    few = reasons if len(reasons) <= 3 else [*reasons[:3], f"and so on for {len(reasons)} profiles"]
    raise refuse(
        "E0706",
        f"no profile serves {sizes_text(sizes)}: {'; '.join(few)}",
        cure="widen a profile in the spec and build again",
    )


def _dims_outside(profile: Profile, sizes: Mapping[str, int]) -> list[str]:
    return [
        f"`{n}` is {sizes[n]}, outside {r.minimum}..{r.maximum}"
        for n, r in profile.dims.items()
        if not r.minimum <= sizes[n] <= r.maximum
    ]


def _values_outside(profile: Profile, arrays: Mapping[str, Any]) -> list[str]:
    misses = []
    for name, ranges in profile.values.items():
        values = arrays[name].reshape(-1).tolist()
        if len(values) != len(ranges):
            misses.append(f"`{name}` has {len(values)} elements, not the {len(ranges)}")
            continue
        misses += [
            f"element {n} of `{name}` is {value}, outside {r.minimum}..{r.maximum}"
            for n, (value, r) in enumerate(zip(values, ranges, strict=True))
            if not r.minimum <= value <= r.maximum
        ]
    return misses


def check_sizes(network: Network, sizes: Mapping[str, int]) -> None:
    """Ranges, steps, asserts and guards for known values of the dims. Raises ShapeError."""
    for name, allowed in network.dims.items():
        if sizes[name] not in allowed:
            step = f" step {allowed.step}" if allowed.step > 1 else ""
            raise refuse(
                "E0706",
                f"`{name}` is {sizes[name]}; the network is defined for {allowed.low}..{allowed.high}{step}",
            )
    check_asserts(network.asserts, sizes)
    check_guards(network.guards, sizes)
