"""Matrix products with their epilogues: by inner_product, or as a convolution over an image of one column, where a
constant matrix multiplies rows; else by matmul."""

from __future__ import annotations

from math import prod

from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.epilogue import read_epilogue
from trtn.backend.providers.onednn.memory import MemoryDesc, dims
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit, Value
from trtn.dsl.network import Layer, Tensor

__all__ = ["plan_inner_product", "plan_matmul", "plan_pixels"]

ROWS = 32
BLOCK = 16
"""The least rows, and columns in a block of the packed weight, for which convolutions are guessed to be faster: with
AVX2 by up to 15 %, more on two threads. With narrower blocks they take three times as long."""


def plan_inner_product(program: Program) -> None:
    """x[.., K] by a constant [K, N]: all rows at once, the weight packed as the primitive likes it."""
    _plan_rows(program, as_image=False)


def plan_pixels(program: Program) -> None:
    """The same as a convolution of one pixel's reach, the rows as pixels."""
    primitive = _plan_rows(program, as_image=True)
    wide = primitive.memory_desc(Arg.WEIGHTS).block >= BLOCK and prod(program.problem.outputs[0].shape[:-1]) >= ROWS
    program.is_favourite = wide and primitive.implementation.endswith("avx2")


def _plan_rows(program: Program, *, as_image: bool) -> Primitive:
    group = program.problem.group
    x, weight, bias = _operands(group.layers[0])
    if weight.weight is None or weight.rank != 2:
        raise Unfit("the right side is not a constant matrix")
    source, matrix, target = program.value(x), program.value(weight), program.value(group.outputs[0])
    inner, outer = matrix.desc.shape
    rows = prod(source.desc.shape[:-1])
    assert matrix.desc.strides is not None
    turned = matrix.seen_as(
        MemoryDesc.strided(
            (outer, inner, *_pixel(as_image)), matrix.desc.dtype, (*matrix.desc.strides[::-1], *_pixel(as_image))
        )
    )
    flat = _rows(rows, outer, target.desc.dtype, as_image=as_image)
    result = MemoryDesc.dense(target.desc.shape, target.desc.dtype)
    epilogue = read_epilogue(group)

    def joined(desc: MemoryDesc) -> MemoryDesc:
        """An operand's rows: all of them, or the one that every row takes."""
        whole = desc.shape == result.shape
        return _rows(rows if whole else 1, desc.shape[-1], desc.dtype, as_image=as_image)

    attributes, operands = epilogue.attributes(program, result, joined)
    biases = program.value(bias) if bias is not None else None
    given = _rows(rows, inner, source.desc.dtype, as_image=as_image)
    primitive = Primitive(
        "convolution_forward" if as_image else "inner_product_forward",
        *(int(Prop.FORWARD_INFERENCE), *((int(Alg.CONV_DIRECT),) if as_image else ())),
        given,
        MemoryDesc.any((outer, inner, *_pixel(as_image)), matrix.desc.dtype),
        biases.desc if biases is not None else None,
        flat,
        *((dims([1]), dims([0]), dims([0]), dims([0])) if as_image else ()),
        attributes=attributes,
    )
    dense = program.arranged(source, MemoryDesc.dense(source.desc.shape, source.desc.dtype))
    operands[Arg.SRC] = dense.seen_as(given)
    operands[Arg.WEIGHTS] = program.arranged(turned, primitive.memory_desc(Arg.WEIGHTS))
    if biases is not None:
        operands[Arg.BIAS] = biases
    into = target if target.desc == result else program.scratch(result)
    program.step(primitive, {**operands, Arg.DST: into.seen_as(flat)})
    if into is not target:
        program.copy(into, target)
    epilogue.finish(program)
    return primitive


def _pixel(as_image: bool) -> tuple[int, ...]:
    """The shape of a kernel of one pixel, and its strides."""
    return (1,) if as_image else ()


def _rows(count: int, width: int, dtype: str, *, as_image: bool) -> MemoryDesc:
    """Rows that lie dense, [count, width], or the same as pixels of an image, [1, width, count]."""
    if as_image:
        return MemoryDesc.channels_last((1, width, count), dtype)
    return MemoryDesc.dense((count, width), dtype)


def plan_matmul(program: Program) -> None:
    """a[.., M, K] @ b[.., K, N] with strides as they are; leading axes broadcast."""
    group = program.problem.group
    a, b, bias = _operands(group.layers[0])
    left, right, target = program.value(a), program.value(b), program.value(group.outputs[0])
    rank = max(a.rank, b.rank, 2)
    left, right = _padded(left, rank), _padded(right, rank)
    if b.rank == 1:
        right = right.seen_as(_swapped(right.desc))
    wide = _with_axes(target, rank, a.rank == 1, b.rank == 1)
    epilogue = read_epilogue(group)
    attributes, operands = epilogue.attributes(program, wide.desc)
    biases = _padded(program.value(bias), rank) if bias is not None else None
    primitive = Primitive(
        "matmul", left.desc, right.desc, biases.desc if biases is not None else None, wide.desc, attributes=attributes
    )
    if biases is not None:
        operands[Arg.BIAS] = biases
    program.step(primitive, {**operands, Arg.SRC: left, Arg.WEIGHTS: right, Arg.DST: wide})
    epilogue.finish(program)


def _operands(layer: Layer) -> tuple[Tensor, Tensor, Tensor | None]:
    a, b = layer.inputs[:2]
    assert a is not None and b is not None
    return a, b, layer.inputs[2] if len(layer.inputs) > 2 else None


def _padded(value: Value, rank: int) -> Value:
    """With axes of size 1 in front."""
    shape, strides = value.desc.shape, value.desc.strides
    assert strides is not None
    missing = rank - len(shape)
    return value.seen_as(MemoryDesc.matrices((1,) * missing + shape, value.desc.dtype, (1,) * missing + strides))


def _swapped(desc: MemoryDesc) -> MemoryDesc:
    assert desc.strides is not None
    order = [*range(len(desc.shape) - 2), len(desc.shape) - 1, len(desc.shape) - 2]
    return MemoryDesc.matrices([desc.shape[n] for n in order], desc.dtype, [desc.strides[n] for n in order])


def _with_axes(value: Value, rank: int, row: bool, column: bool) -> Value:
    """The result of a product of vectors with the axes that they leave out."""
    shape, strides = list(value.desc.shape), list(value.desc.strides or ())
    if column and not (row and len(shape) == 1):  # a scalar has an axis of one element already
        shape, strides = [*shape, 1], [*strides, 1]
    if row:
        shape, strides = [*shape[:-1], 1, *shape[-1:]], [*strides[:-1], 1, *strides[-1:]]
    missing = rank - len(shape)
    return value.seen_as(MemoryDesc.matrices([1] * missing + shape, value.desc.dtype, [1] * missing + strides))
