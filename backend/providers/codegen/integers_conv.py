"""conv_integer: each pixel's window is written out as a row of levels, then filters and rows are multiplied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.tile_product import Matrix, tile_product_call
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "IntegersConvFamily", "WindowsSpec"]

THREADS = 256
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class WindowsSpec:
    """Rows of levels [images * pixels, channels * taps]. What lies beside an image is the zero point, 0 without one."""

    dtype: str
    axes: int
    """Spatial ones."""
    zero: bool

    def source(self) -> str:
        level, axes = C_TYPES[self.dtype], range(self.axes)
        sizes = ["count", "terms", "pixels", "x_image", "x_channel"]
        sizes += [f"{n}{a}" for a in axes for n in ("size", "out", "taps", "step", "apart", "before", "x_")]
        parameters = [
            f"const {level}* __restrict__ x",
            *([f"const {level}* __restrict__ zero"] if self.zero else []),
            f"{level}* __restrict__ y",
            *(f"const int {n}" for n in sizes),
        ]
        lines = []
        for a in reversed(axes):
            lines += [
                f"  const int at{a} = place % out{a} * step{a} - before{a} + tap % taps{a} * apart{a};",
                f"  place /= out{a}; tap /= taps{a};",
                f"  const bool in{a} = at{a} >= 0 && at{a} < size{a};",
            ]
        offset = " + ".join(f"(i64)at{a} * x_{a}" for a in axes)
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const int i = blockIdx.x * {THREADS} + threadIdx.x, row = i / terms;",
                "  int tap = i % terms, place = row % pixels;",
                *lines,
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  const {level} outside = {'*zero' if self.zero else '0'};",
                f"  const bool inside = {' && '.join(f'in{a}' for a in axes)};",
                f"  const i64 from = (i64)(row / pixels) * x_image + (i64)tap * x_channel + {offset};",
                "  y[i] = inside ? x[from] : outside;",
                "}",
                "",
            ]
        )


class IntegersConvFamily:
    """Convolutions of 8-bit integers in one group of channels, whose filters lie dense."""

    name = "integers_conv"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if layer.op.name != "conv_integer" or len(group.layers) > 1:
            return "it is not a convolution of integers"
        return "groups of channels" if layer.attrs["groups"] != 1 else ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic("windows")]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        (y,) = outputs
        if y.size == 0:
            return Plan(())
        layer = group.layers[0]
        number = {id(t): n for n, t in enumerate(group.inputs)}
        x_at, w_at, x_zero, w_zero = [None if t is None else number[id(t)] for t in (*layer.inputs, None, None)][:4]
        assert x_at is not None and w_at is not None
        x, weight = inputs[x_at], inputs[w_at]
        if not y.is_dense or not weight.is_dense:
            raise TacticError("a result or filters that don't lie dense")
        images, channels = y.shape[:2]
        pixels, terms = prod(y.shape[2:]), prod(weight.shape[1:])
        rows = Slot(len(inputs) + 1)
        calls = [_windows(layer.attrs, x, weight, y, Slot(x_at), None if x_zero is None else Slot(x_zero), rows)]
        by_filter = 0 if w_zero is None or inputs[w_zero].size == 1 else inputs[w_zero].strides[0]
        calls.append(
            tile_product_call(
                (weight.dtype.name, x.dtype.name),
                (images, channels, channels, terms, pixels),
                Matrix(Slot(w_at), 0, (0, terms, 1)),
                Matrix(rows, pixels * terms, (1, terms)),
                Slot(len(inputs)),
                None if w_zero is None else Matrix(Slot(w_zero), 0, (by_filter,)),
                None if x_zero is None else Matrix(Slot(x_zero), 0, (0,)),
            )
        )
        return Plan(tuple(calls), (images * pixels * terms,))


def _windows(
    attrs: Mapping[str, Any], x: Operand, weight: Operand, y: Operand, source: Slot, zero: Slot | None, rows: Slot
) -> Call:
    """The launch that writes the windows out. Raises TacticError where they are more than 2 GB."""
    import numpy as np

    taps, out = weight.shape[2:], y.shape[2:]
    strides, dilations = attrs["strides"], attrs["dilations"]
    pads = actual_pads(x.shape[2:], taps, strides, attrs["pads"], dilations, attrs["auto_pad"])
    terms, pixels = prod(weight.shape[1:]), prod(out)
    count = y.shape[0] * pixels * terms
    numbers = [count, terms, pixels, *x.strides[:2]]
    for axis, size in enumerate(x.shape[2:]):
        numbers += [size, out[axis], taps[axis], strides[axis], dilations[axis], pads[axis], x.strides[2 + axis]]
    if count == 0 or max(map(abs, numbers)) > _MOST:
        raise TacticError("windows without elements, or with more than 2 GB of them")
    slots = (source, *([] if zero is None else [zero]), rows)
    spec = WindowsSpec(x.dtype.name, len(taps), zero is not None)
    return Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (*slots, *map(np.int32, numbers)))


FAMILY = IntegersConvFamily()
