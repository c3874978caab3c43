"""What follows a convolution, over images that lie channels last: pixels are rows, channels are columns."""

from __future__ import annotations

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.family import Unfit
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue, Operand

__all__ = ["epilogue_of", "pixel_stride"]


def epilogue_of(problem: Problem) -> Epilogue:
    """What follows the convolution, pixels as rows and channels as columns. Raises Unfit."""
    group = problem.group
    layer = group.layers[0]
    operands: dict[int, Operand] = {}
    for number, t in enumerate(group.inputs):
        if t is layer.inputs[0] or t is layer.inputs[1]:
            continue
        layout = problem.inputs[number]
        if layout.shape == problem.outputs[0].shape:
            operands[id(t)] = Operand(number, pixel_stride(layout), True)
        else:
            operands[id(t)] = Operand(number, 0, layout.size > 1)
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    own = operands.pop(id(bias)) if bias is not None else None
    return Epilogue(layer.outputs[0], own, group.layers[1:], operands)


def pixel_stride(layout: ArrayLayout) -> int:
    """From one pixel of an image channels last to the next, the same throughout. Raises Unfit."""
    axes = [n for n in (3, 2, 0) if layout.shape[n] > 1]
    step = layout.strides[axes[0]] if axes else layout.shape[1]
    wanted = step
    for n in axes:
        if layout.strides[n] != wanted:
            raise Unfit("pixels that don't lie at equal distances")
        wanted *= layout.shape[n]
    return step
