"""What follows a convolution, over images that lie channels last: pixels are rows, channels are columns."""

from __future__ import annotations

from typing import Any

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.emitter import I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Unfit
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue, Operand
from trtn.dsl.network import Tensor

__all__ = ["epilogue_of", "pixel_stride", "write_context"]


def epilogue_of(problem: Problem) -> Epilogue:
    """What follows the convolution of a conv group. Raises Unfit."""
    group = problem.group
    layer, *rest = group.layers
    number = {id(t): n for n, t in enumerate(group.inputs)}

    def operand(tensor: Tensor) -> Operand:
        layout = problem.layout(tensor)
        if layout.shape == problem.outputs[0].shape:
            return Operand(number[id(tensor)], pixel_stride(layout), True)
        return Operand(number[id(tensor)], 0, layout.size > 1)

    read = [t for other in rest for t in other.inputs if t is not None and id(t) in number]
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    return Epilogue(layer.output, None if bias is None else operand(bias), rest, {id(t): operand(t) for t in read})


def write_context(e: Emitter, epilogue: Epilogue) -> Any:
    """Into the body of a kernel: the addresses and strides that the epilogue reads. The strides are the kernel's next
    numbers."""
    context = e.table(2 * len(epilogue.operands))
    for n, operand in enumerate(epilogue.operands):
        e.store(e.pointers[operand.number], context, I64(2 * n), POINTER)
        e.store(e.given(operand.stride), context, I64(2 * n + 1), I64)
    return context


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
