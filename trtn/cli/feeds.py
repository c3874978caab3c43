"""Feeds from the command line: `--input x=a.npy`, `--shape x=1,3,224,224`, `--random SEED`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trtn.cli.failures import usage_error
from trtn.cli.made_up import make_up, shapes_for
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network, Profile, Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FeedPlan", "read_shapes"]

_RANDOM = re.compile(r"random(:(\d+))?")
_SHAPE = re.compile(r"\d+([,x]\d+)*|")
_SIZE_LIMIT = 2**40
"""Elements of an array that is made up."""


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """What the user said about feeds: files and seeds by input, shapes by input, a seed for all other inputs."""

    inputs: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    seed: int | None = None
    profile: str | None = None

    @classmethod
    def parse(
        cls,
        inputs: Iterable[str] | None,
        shapes: Iterable[str] | None,
        seed: int | None = None,
        profile: str | None = None,
    ) -> FeedPlan:
        return cls(_pairs(inputs, "--input"), read_shapes(shapes), seed, profile)

    def arrays(self, network: Network, profiles: Sequence[Profile]) -> dict[str, np.ndarray[Any, Any]]:
        """An array for every input. Raises ShapeError for what can't be read, does not exist or is missing."""
        self._check_names(network)
        feeds = {}
        for t in network.inputs:
            source = self.inputs.get(t.name)
            if source is not None and not _RANDOM.fullmatch(source):
                feeds[t.name] = _read(t, source, self.shapes.get(t.name))
        known = {**self.shapes, **{name: array.shape for name, array in feeds.items()}}
        shapes = shapes_for(network, profiles, known, self.profile)
        sizes = solve_dims((t.shape, shapes[t.name]) for t in network.inputs if len(t.shape) == len(shapes[t.name]))
        values = _optimum_values(profiles, self.profile)
        for t in network.inputs:
            if t.name not in feeds:
                shape = shapes[t.name]
                if math.prod(shape) > _SIZE_LIMIT:
                    _refuse(f"input `{t.name}` of shape {list(shape)} is too large to be made up")
                feeds[t.name] = make_up(network, t, shape, seed=self._seed(t.name), sizes=sizes, values=values)
        return feeds

    def _check_names(self, network: Network) -> None:
        names = [t.name for t in network.inputs]
        for name in [*self.inputs, *self.shapes]:
            if name not in names:
                listed = ", ".join(f"`{n}`" for n in names)
                _refuse(f"the engine has no input `{name}`", did_you_mean(name, names) or f"inputs: {listed}")
        missing = [t for t in network.inputs if t.name not in self.inputs]
        if missing and self.seed is None:
            listed = ", ".join(f"`{t.name}` ({t.type})" for t in missing)
            cure = f"give `--input {missing[0].name}=FILE`, or let `--random SEED` make up all that is missing"
            _refuse(f"no feed for {'input' if len(missing) == 1 else 'inputs'} {listed}", cure)

    def _seed(self, name: str) -> int:
        match = _RANDOM.fullmatch(self.inputs.get(name, ""))
        if match is not None and match[2] is not None:
            return int(match[2])
        return self.seed or 0


def read_shapes(texts: Iterable[str] | None) -> dict[str, tuple[int, ...]]:
    """Shapes by input, from `x=1,3,224,224` or `x=1x3x224x224`; `x=` is a scalar."""
    shapes = {}
    for name, text in _pairs(texts, "--shape").items():
        if not _SHAPE.fullmatch(text):
            raise usage_error(f"`{name}={text}`: a shape is written like `{name}=1,3,224,224`", "--shape")
        shapes[name] = tuple(int(n) for n in re.split("[,x]", text) if n)
    return shapes


def _pairs(texts: Iterable[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise usage_error(f"`{text}` is not NAME=VALUE", option)
        if name in pairs:
            raise usage_error(f"`{name}` is given twice", option)
        pairs[name] = value
    return pairs


def _optimum_values(profiles: Sequence[Profile], wanted: str | None) -> dict[str, list[int]]:
    chosen = next((p for p in profiles if wanted in (None, p.name)), None)
    return {n: [r.optimum for r in ranges] for n, ranges in chosen.values.items()} if chosen is not None else {}


# --- files ---------------------------------------------------------------------------------------------------------


def _read(tensor: Tensor, source: str, shape: tuple[int, ...] | None) -> np.ndarray[Any, Any]:
    """An input's array from a .npy file, a .npz file (`b.npz:key`), or a file of raw little-endian elements."""
    import numpy as np

    path, key = _split_key(source)
    try:
        if path.endswith(".npz"):
            array = _from_archive(tensor, path, key)
        elif path.endswith(".npy"):
            array = np.load(path, allow_pickle=False)
        else:
            return _raw(tensor, path, shape)
    except OSError as error:
        _refuse(f"`{path}` for input `{tensor.name}` can't be read: {error.strerror or error}", code="E0108")
    except (ValueError, EOFError, KeyError) as error:
        _refuse(f"`{path}` for input `{tensor.name}` can't be read: {error}")
    array = _of_dtype(array, tensor)
    if shape is not None and array.shape != shape:
        _refuse(f"`{path}` for input `{tensor.name}` has shape {list(array.shape)}; --shape says {list(shape)}")
    return array


def _split_key(source: str) -> tuple[str, str | None]:
    """`b.npz:key` in its parts; a colon elsewhere belongs to the path."""
    path, colon, key = source.rpartition(":")
    return (path, key) if colon and path.endswith(".npz") and not os.path.exists(source) else (source, None)


def _from_archive(tensor: Tensor, path: str, key: str | None) -> np.ndarray[Any, Any]:
    """An array of a .npz file: that of the key, of the input's name, or the only one."""
    import numpy as np

    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        raise ValueError("it is a .npy file")
    with loaded as archive:
        names = archive.files
        if key is None:
            key = tensor.name if tensor.name in names or len(names) != 1 else names[0]
        if key not in names:
            cure = did_you_mean(key, names) or f"it has {', '.join(f'`{n}`' for n in names[:20])}"
            _refuse(f"`{path}` has no array `{key}`", cure)
        array: np.ndarray[Any, Any] = archive[key]
        return array


def _of_dtype(array: np.ndarray[Any, Any], tensor: Tensor) -> np.ndarray[Any, Any]:
    """NumPy's formats lack bf16, 8-bit floats and 4-bit integers: such elements come as raw bytes, or in a wider
    dtype.
    """
    wanted = tensor.dtype.numpy
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        return array.view(wanted)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    if tensor.dtype.is_narrow and array.dtype.kind in ("f" if tensor.dtype.is_float else "iu"):
        return array.astype(wanted)
    return array


def _raw(tensor: Tensor, path: str, shape: tuple[int, ...] | None) -> np.ndarray[Any, Any]:
    import numpy as np

    if shape is None:
        static = tuple(d for d in tensor.shape if isinstance(d, int))
        if len(static) != len(tensor.shape):
            cure = f"add `--shape {tensor.name}=D,D,..`"
            _refuse(f"raw elements for input `{tensor.name}` ({tensor.type}) need a shape", cure)
        shape = static
    data = Path(path).read_bytes()
    need = math.prod(shape) * tensor.dtype.itemsize
    if len(data) != need:
        wanted = f"`{tensor.name}` of {tensor.dtype} and shape {list(shape)} takes {need:,}"
        _refuse(f"`{path}` has {len(data):,} bytes; {wanted}")
    return np.frombuffer(data, tensor.dtype.numpy).reshape(shape)


def _refuse(message: str, cure: str = "", code: str = "E0705") -> NoReturn:
    raise ShapeError(message, [Diagnostic(code, message, help=cure)])
