"""Groups of a few layers with arrays in any memory order, and what their kernels are to give: the same for GPU and
emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trtn.backend.evaluate import resolve_attr
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.providers.codegen.family import Operand, Plan
from trtn.backend.providers.codegen.kernel import operand_of
from trtn.backend.providers.codegen.provider import families
from trtn.dsl.builder import Builder
from trtn.dsl.dims import Range, evaluate
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer, Tensor

__all__ = ["Array", "Case", "base_of", "check", "place", "reference"]

Array = np.ndarray[Any, Any]
EPS = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
"""Half a unit in the last place, relative."""
GPU = "cuda:sm_90"
GUARD = 64
"""Bytes around each array that no kernel may write."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network that is one group beside views; `make` adds inputs and layers and gives the outputs."""

    name: str
    make: Callable[[Builder], Sequence[Tensor]]
    sizes: Mapping[str, int] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    """By tensor name: `last` (channels last), `inside` (heads inside of rows), `slice` (a part of a larger tensor),
    `odd` (an address of no alignment)."""
    accumulated: float = 4.0
    """How many f32 roundings of the largest intermediate value the result may be off, beside the rounding to its
    dtype."""
    loose: Mapping[str, float] = field(default_factory=dict)
    """The same for single results, by name."""
    stepwise: bool = False
    """Whether the reference rounds after each layer, for layers that jump."""
    family: str = ""
    tactic: str = ""
    beside: str = ""
    """A kind of groups that the network has beside the one that counts."""
    data: Callable[[str, DType, tuple[int, ...], np.random.Generator], Array | None] = lambda *a: None

    @cached_property
    def group(self) -> Group:
        b = Builder("net", dims={n: Range(1, 1 << 20) for n in self.sizes})
        outputs = self.make(b)
        network = b.finish([(t.name, t) for t in outputs])
        found = partition(network, device=GPU)
        groups = [g for g in found if g.kind not in ("view", self.beside)] or list(found)
        assert len(groups) == 1, groups
        return groups[0]

    @property
    def tactics(self) -> list[tuple[str, str]]:
        """(family, tactic) of each way to run it."""
        found = [(f.name, t.name) for f in families() if not f.refusal(self.group) for t in f.tactics(self.group)]
        return [(f, t) for f, t in found if self.family in ("", f) and self.tactic in ("", t)]

    @cached_property
    def inputs(self) -> list[Array]:
        rng = np.random.default_rng(len(self.name))
        return [place(_values(self, t, rng), self.layouts.get(t.name, "")) for t in self.group.inputs]

    def outputs(self) -> list[Array]:
        """Arrays for the results, full of what must not stay."""
        return [place(_poison(t, _shape(t, self.sizes)), self.layouts.get(t.name, "")) for t in self.group.outputs]

    @property
    def few_tactics(self) -> list[tuple[str, str]]:
        """The first and the last of them, for runs that take long."""
        return list(dict.fromkeys([*self.tactics[:1], *self.tactics[-1:]]))

    def plan(self, family: str, tactic: str, arrays: Sequence[Array]) -> Plan:
        tensors = (*self.group.inputs, *self.group.outputs)
        operands = [_operand(t, a) for t, a in zip(tensors, arrays, strict=True)]
        count = len(self.group.inputs)
        found = next(f for f in families() if f.name == family)
        return found.plan(self.group, tactic, self.sizes, operands[:count], operands[count:])

    @cached_property
    def expected(self) -> list[Array]:
        return reference(self.group, self.inputs, self.sizes, self.stepwise)


def _operand(tensor: Tensor, array: Array) -> Operand:
    return operand_of(tensor, array.shape, array.strides, array.ctypes.data)


def _shape(tensor: Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in tensor.shape)


def _values(case: Case, tensor: Tensor, rng: np.random.Generator) -> Array:
    if tensor.weight is not None:
        return np.asarray(tensor.weight.load())
    shape = _shape(tensor, case.sizes)
    given = case.data(tensor.name, tensor.dtype, shape, rng)
    if given is not None:
        return given.astype(tensor.dtype.numpy)
    if tensor.dtype.is_float:
        return rng.standard_normal(shape).astype(np.float32).astype(tensor.dtype.numpy)
    if tensor.dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if tensor.dtype.kind == "u" else -5, 6, shape).astype(tensor.dtype.numpy)


def _poison(tensor: Tensor, shape: tuple[int, ...]) -> Array:
    raw = np.full((*shape, tensor.dtype.itemsize), 0x01 if tensor.dtype.kind == "b" else 0xFF, np.uint8)
    return raw.view(tensor.dtype.numpy).reshape(shape)


def place(values: Array, layout: str) -> Array:
    """A copy of an array in guarded memory, in another order where the layout says so."""
    shape = list(values.shape)
    rank = len(shape)
    order = [0, *range(2, rank), 1] if layout.startswith("last") else list(range(rank))
    if layout.startswith("inside"):
        order = [*range(rank - 3), rank - 2, rank - 3, rank - 1]
    room = list(shape)
    if "slice" in layout:
        room[1 if rank > 1 else 0] += 16
    size = values.dtype.itemsize
    shift = size if "odd" in layout else 0
    raw = np.full(int(np.prod(room)) * size + 2 * GUARD + 80, 0x5A, np.uint8)
    start = GUARD + -(raw.ctypes.data + GUARD) % 16 + shift
    flat = raw[start : start + int(np.prod(room)) * size].view(values.dtype)
    whole = flat.reshape([room[a] for a in order]).transpose(np.argsort(order))
    array = whole[(*(slice(d) for d in shape), ...)]
    array[...] = values
    return array


def base_of(array: Array) -> Array:
    """The bytes that an array made by `place` lies in, guards included."""
    raw = array
    while raw.base is not None:
        raw = raw.base
    return raw


def guards_of(array: Array) -> Array:
    """The bytes around an array's own, which hold 0x5A still where nothing wrote them."""
    raw = base_of(array)
    mask = np.ones(raw.shape, bool)
    start = array.ctypes.data - raw.ctypes.data
    places = np.full(array.shape, start, np.int64)
    for axis, stride in enumerate(array.strides):
        places += (np.arange(array.shape[axis]) * stride).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    for byte in range(array.itemsize):
        mask[places + byte] = False
    return raw[mask]


def reference(group: Group, inputs: Sequence[Array], sizes: Mapping[str, int], stepwise: bool = False) -> list[Array]:
    """The group's results by the ops' own evaluation in f64; casts round."""
    table = {id(t): _wide(a) for t, a in zip(group.inputs, inputs, strict=True)}
    for layer in group.layers:
        arrays = [None if t is None else table[id(t)] for t in layer.inputs]
        results = _evaluate(layer, arrays, sizes)
        for t, result in zip(layer.outputs, results, strict=True):
            table[id(t)] = result if t.dtype.is_float and not stepwise else _wide(result.astype(t.dtype.numpy))
    return [table[id(t)] for t in group.outputs]


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.name == "bfloat16" else np.asarray(array)


def _evaluate(layer: Layer, arrays: list[Array | None], sizes: Mapping[str, int]) -> Sequence[Array]:
    attrs = {k: resolve_attr(v, sizes) for k, v in layer.attrs.items()}
    if layer.op.name == "cast" and layer.output.dtype.is_float:
        assert arrays[0] is not None
        with np.errstate(over="ignore"):
            return [arrays[0].astype(layer.output.dtype.numpy).astype(np.float64)]
    spec = layer.op.spec.inputs
    padding = [] if spec and spec[-1].variadic else [None] * (len(spec) - len(arrays))
    with np.errstate(all="ignore"):
        results = layer.op.evaluate(np, *arrays, *padding, **attrs)
    return results if isinstance(results, tuple) else (results,)


def check(case: Case, outputs: Sequence[Array]) -> None:
    """Each result within its rounding, plus a few roundings of f32 arithmetic; nothing written beside the results."""
    for t, found, expected in zip(case.group.outputs, outputs, case.expected, strict=True):
        assert (guards_of(found) == 0x5A).all(), f"{case.name}: {t.name}: memory beside the result was written"
        if not t.dtype.is_float:
            np.testing.assert_array_equal(found, expected, err_msg=f"{case.name}: {t.name}")
            continue
        eps = EPS[t.dtype.name]
        work = EPS["f64" if t.dtype.name == "f64" else "f32"]
        with np.errstate(all="ignore"):
            rounded = expected.astype(t.dtype.numpy).astype(np.float64)
            wide = found.astype(np.float64)
            finite = np.isfinite(rounded)
            scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
            tiny = float(np.finfo(np.float16).smallest_subnormal) if t.dtype.name == "f16" else 1e-38
            allowed = (
                1.01 * eps * np.abs(expected)
                + case.loose.get(t.name, case.accumulated) * work * np.maximum(np.abs(expected), scale)
                + tiny
            )
            off = np.abs(wide - expected)
        np.testing.assert_array_equal(wide[~finite], rounded[~finite], err_msg=f"{case.name}: {t.name}")
        worst = np.argmax(np.where(finite, off - allowed, -np.inf)) if off.size else 0
        ok = off.size == 0 or (not (off[finite] > allowed[finite]).any() and np.isfinite(wide[finite]).all())
        assert ok, (
            f"{case.name}: {t.name}: {wide.flat[worst]} for {expected.flat[worst]} at {np.unravel_index(worst, off.shape)}"
        )
