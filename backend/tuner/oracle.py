"""What a problem's results have to be: arrays to run it on, and the ops' own evaluation of them in f32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.evaluate import bind_layer, resolve_attr
from trtn.backend.problem import ArrayLayout, Problem
from trtn.dsl.network import Tensor

__all__ = ["Oracle", "allocate", "fill", "poison"]

TOLERANCE = {"f16": 5e-3, "bf16": 4e-2, "f32": 1e-4, "f64": 1e-4}
"""Relative L2 error of a result of each dtype. For the 16-bit ones ten times the rounding of inputs and result (2^-11,
2^-8); for the others what sums of 10^5 terms in another order may lose in f32."""
STEPPED = 5e-3
"""The same for ops that round to 8 bits inside and go on from there: where two orders of a sum round to neighbours, one
of some hundred terms differs by a 255th of its range."""
REDUCED = 5e-3
"""The same for tactics that compute f32 in lower precision (TF32 has the mantissa of f16)."""
DIFFERENT = 1e-3
"""The share of a whole-number result's elements that may differ: rounding decides between neighbours."""


class Oracle:
    """The expected results of a problem on given inputs."""

    def __init__(self, problem: Problem, inputs: Sequence[Any], device: Device) -> None:
        self._problem = problem
        self._xp = device.xp
        self._expected = _evaluate_wide(problem, inputs, device.xp)

    def objection(self, outputs: Sequence[Any], numerics: str) -> str:
        """Why results are wrong, "" where they are right."""
        group = self._problem.group
        for tensor, found, expected in zip(group.outputs, outputs, self._expected, strict=True):
            if tensor.dtype.is_float:
                distance = self._distance(found, expected.astype(tensor.dtype.numpy))
                allowed = TOLERANCE.get(tensor.dtype.name, TOLERANCE["bf16"])
                allowed = max(allowed, REDUCED) if numerics == "reduced" else allowed
                allowed = max(allowed, STEPPED) if any(layer.op.steps for layer in group.layers) else allowed
                what = f"differs from the reference by {distance:.1e} (relative L2), {allowed:.0e} is allowed"
            else:
                distance = float(self._xp.count_nonzero(found != expected)) / max(expected.size, 1)
                allowed = DIFFERENT
                what = f"differs from the reference in {distance:.1%} of its elements"
            if not distance <= allowed:
                return f"`{tensor.name}` {what}"
        return ""

    def _distance(self, found: Any, expected: Any) -> float:
        """||found - expected|| / ||expected|| over the finite elements; infinite where others are finite than
        should be."""
        xp = self._xp
        found, expected = found.astype(xp.float32), expected.astype(xp.float32)
        finite = xp.isfinite(expected)
        if not bool((finite == xp.isfinite(found)).all()):
            return float("inf")
        found, expected = xp.where(finite, found, 0), xp.where(finite, expected, 0)
        error, norm = xp.linalg.norm((found - expected).ravel()), xp.linalg.norm(expected.ravel())
        return float(error) / max(float(norm), 1e-20)


def _evaluate_wide(problem: Problem, inputs: Sequence[Any], xp: Any) -> list[Any]:
    """The group's results with every float kept in f32 from layer to layer."""
    group = problem.group
    table = {id(t): _wide(t, a, xp) for t, a in zip(group.inputs, inputs, strict=True)}
    for layer in group.layers:
        if layer.regions:
            results = bind_layer(layer, problem.sizes, xp)(table, dict(problem.sizes))
            table.update((id(t), _wide(t, r, xp)) for t, r in zip(layer.outputs, results, strict=True))
            continue
        spec = layer.op.spec.inputs
        padding = [] if spec and spec[-1].variadic else [None] * (len(spec) - len(layer.inputs))
        arrays = [None if t is None else table[id(t)] for t in layer.inputs]
        attrs = {k: resolve_attr(v, problem.sizes) for k, v in layer.attrs.items()}
        results = layer.op.evaluate(xp, *arrays, *padding, **attrs)
        listed = results if isinstance(results, tuple) else (results,)
        table.update((id(t), _wide(t, r, xp)) for t, r in zip(layer.outputs, listed, strict=True))
    return [table[id(t)] for t in group.outputs]


def _wide(tensor: Tensor, array: Any, xp: Any) -> Any:
    return array.astype(xp.float32) if tensor.dtype.is_float else array.astype(tensor.dtype.numpy)


def allocate(layout: ArrayLayout, device: Device) -> Any:
    """An array that lies as the layout says, at an address of no greater alignment than it states."""
    size = layout.dtype.itemsize
    steps = [(d - 1) * s for d, s in zip(layout.shape, layout.strides, strict=True) if d]
    low, high = sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps)
    shift = layout.align if layout.align < 16 else 0
    raw = device.arena((high - low + 1) * size + shift)
    start = shift - low * size
    flat = raw[start : start + (high + 1) * size].view(layout.dtype.numpy)
    return device.xp.lib.stride_tricks.as_strided(flat, layout.shape, tuple(s * size for s in layout.strides))


def fill(array: Any, tensor: Tensor, device: Device, seed: int) -> None:
    """Give an array what a run would: a weight's values, else normal numbers, or whole numbers that are good as
    indices of anything."""
    import numpy as np

    rng = np.random.default_rng(seed)
    if tensor.weight is not None:
        values = tensor.weight.load()
    elif tensor.dtype.is_float:
        values = rng.standard_normal(array.shape, np.float32).astype(tensor.dtype.numpy)
    elif tensor.dtype.kind == "b":
        values = rng.integers(0, 2, array.shape).astype(bool)
    else:
        values = np.zeros(array.shape, tensor.dtype.numpy)
    array[...] = device.upload(values)


def poison(array: Any, tensor: Tensor) -> None:
    """Fill a result with what must not stay."""
    array[...] = float("nan") if tensor.dtype.is_float else 1
