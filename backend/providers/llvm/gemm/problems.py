"""Which groups are products of rows and a constant matrix, and their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

from trtn.backend.blocking import Blocking, blocking_of
from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.emitter import Emitter
from trtn.backend.providers.llvm.family import Room, Unfit, Written
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue, Operand
from trtn.backend.providers.llvm.gemm.packing import pack_panels
from trtn.backend.providers.llvm.gemm.product import Product, write_product
from trtn.backend.providers.llvm.gemm.schedule import is_expected, schedule
from trtn.backend.providers.llvm.gemm.threads import cores, parallel_region
from trtn.backend.providers.llvm.gemm.tile import Tile, tile_for
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.windows import actual_pads

__all__ = ["write_pixels", "write_rows"]


def write_rows(problem: Problem) -> Written:
    """linear, or matmul by a constant matrix."""
    x, weight, bias = _operands(problem.group.layers[0])
    a, matrix, result = problem.layout(x), problem.layout(weight), problem.outputs[0]
    if len(a.shape) < 2 or len(matrix.shape) != 2 or result.shape != (*a.shape[:-1], matrix.shape[1]):
        raise Unfit("not the product of rows and a matrix")
    rows = merged(a.shape[:-1], a.strides[:-1])
    return _write(problem, rows, (x, weight, bias), axis=len(a.shape) - 1)


def write_pixels(problem: Problem) -> Written:
    """conv with a kernel of one pixel, channels last."""
    layer = problem.group.layers[0]
    x, weight, bias = _operands(layer)
    image, filters, result = problem.layout(x), problem.layout(weight), problem.outputs[0]
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    spatial, kernel, strides = image.shape[2:], filters.shape[2:], attrs["strides"]
    pads = actual_pads(spatial, kernel, strides, attrs["pads"], attrs["dilations"], attrs["auto_pad"])
    if layer.op.name != "conv" or attrs["groups"] != 1 or set(kernel) != {1} or any(pads):
        raise Unfit("not a convolution of one pixel's reach")
    pixels = tuple((n - 1) // s + 1 for n, s in zip(spatial, strides, strict=True))
    if result.shape != (image.shape[0], filters.shape[0], *pixels):
        raise Unfit("the epilogue has another shape")
    steps = tuple(n * s for n, s in zip(image.strides[2:], strides, strict=True))
    rows = merged((image.shape[0], *pixels), (image.strides[0], *steps))
    return _write(problem, rows, (x, weight, bias), axis=1)


def merged(shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes that are walked in order, as few as can be: counts and strides, outermost first, at least one."""
    counts, steps = [1], [0]
    for count, step in zip(shape, strides, strict=True):
        if count == 1:
            continue
        if counts[-1] == 1 or steps[-1] == count * step:
            counts[-1] *= count
            steps[-1] = step
        else:
            counts.append(count)
            steps.append(step)
    return tuple(counts), tuple(steps)


def _write(
    problem: Problem, rows: tuple[tuple[int, ...], tuple[int, ...]], tensors: Sequence[Tensor | None], axis: int
) -> Written:
    """The kernel for a group whose channels are axis `axis` of its result."""
    group, (x, weight, bias) = problem.group, tensors
    assert x is not None and weight is not None
    tile = tile_for(problem.outputs[0].shape[axis])
    if tile is None:
        raise Unfit("no fused multiply-adds over vectors here")
    if len(group.outputs) != 1 or weight.weight is None:
        raise Unfit("several results, or a matrix that is not constant")
    a, matrix, result = problem.layout(x), problem.layout(weight), problem.outputs[0]
    if any(each.dtype.name != "f32" for each in (a, matrix, result)):
        raise Unfit("other numbers than f32")
    if not (a.size and matrix.size and result.size) or min(a.strides) < 0:
        raise Unfit("no elements, or backwards")
    if a.strides[axis] != 1 or result.strides[axis] != 1:
        raise Unfit("the channels do not lie side by side")
    across = merged(*_without(result.shape, result.strides, axis))
    if len(across[0]) > 1:
        raise Unfit("the result's rows do not follow each other evenly")
    numbers = {id(t): n for n, t in enumerate(group.inputs)}
    operands = {
        id(t): _operand(numbers[id(t)], problem.layout(t), result, axis)
        for layer in group.layers[1:]
        for t in layer.inputs
        if t is not None and id(t) in numbers
    }
    columns = result.shape[axis]
    if bias is not None and (problem.layout(bias).shape, problem.layout(bias).strides) != ((columns,), (1,)):
        raise Unfit("a bias that is not a dense row")
    added = None if bias is None else Operand(numbers[id(bias)], 0, True)
    epilogue = Epilogue(group.layers[0].output, added, group.layers[1:], operands)
    count, terms = result.size // columns, a.shape[axis]
    inputs = len(group.inputs)
    plan = schedule(tile, count, terms, columns, cores())
    product = Product(
        *rows, terms, columns, across[1][0], numbers[id(x)], inputs + 1, inputs, epilogue, tile=tile, plan=plan
    )
    by_row = group.kind == "conv"
    form = _panels(matrix, tile, by_row=by_row)
    pack = partial(_pack, tile, by_row=by_row)

    def text() -> str:
        e = Emitter(inputs + 2)
        write_product(e, product)
        return e.text()

    return Written(
        text,
        [*product.numbers, parallel_region()],
        [(numbers[id(weight)], form, pack)],
        expected=is_expected(tile, count, terms, columns),
        recipe=product.recipe,
        shared=plan.across * plan.groups > 1,
        is_final=True,
    )


def _operands(layer: Layer) -> tuple[Tensor, Tensor, Tensor | None]:
    a, b = layer.inputs[:2]
    assert a is not None and b is not None
    return a, b, layer.inputs[2] if len(layer.inputs) > 2 else None


def _without(shape: Sequence[int], strides: Sequence[int], axis: int) -> tuple[list[int], list[int]]:
    """The axes but one."""
    kept = [n for n in range(len(shape)) if n != axis]
    return [shape[n] for n in kept], [strides[n] for n in kept]


def _operand(number: int, layout: ArrayLayout, result: ArrayLayout, axis: int) -> Operand:
    """How the epilogue walks an input that broadcasts to the result."""
    lead = len(result.shape) - len(layout.shape)
    if lead < 0:
        raise Unfit("an operand has more axes than the result")
    shape = (1,) * lead + layout.shape
    spread = [0] * lead + [0 if d == 1 else s for d, s in zip(layout.shape, layout.strides, strict=True)]
    if any(d not in (1, n) for d, n in zip(shape, result.shape, strict=True)):
        raise Unfit("an operand does not broadcast to the result")
    if spread[axis] not in (0, 1):
        raise Unfit("the channels of an operand do not lie side by side")
    counts, steps = merged(*_without(result.shape, spread, axis))
    if len(counts) > 1:
        raise Unfit("the rows of an operand do not follow each other evenly")
    return Operand(number, steps[0], spread[axis] == 1)


def _panels(matrix: ArrayLayout, tile: Tile, *, by_row: bool) -> Blocking | str:
    """What `_pack` makes of a matrix that lies in a given way."""
    axes, columns = len(matrix.shape), 0 if by_row else 1
    order = (columns, *(a for a in range(axes) if a != columns))
    form = blocking_of(matrix.shape, matrix.strides, order, [(columns, tile.columns)])
    return form or f"llvm:panels{tile.columns}:{matrix.shape}/{matrix.strides}".replace(" ", "")


def _pack(tile: Tile, weight: Any, *, room: Room, by_row: bool) -> Any:
    """[K, N], or the filters of a convolution, [N, K, 1, ..], as panels."""
    matrix = weight.reshape(weight.shape[0], prod(weight.shape[1:])).T if by_row else weight
    return pack_panels(matrix, tile, room)
