"""Convolutions of images whose channels lie last: the windows of some pixels are gathered as the rows of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.devices.workers import Work, Workers
from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.blockwise.blocks import Block, Unfit, cut, matrix, pixels, row_stride, spans, threads_for
from trtn.backend.providers.blockwise.chain import Call, Chain
from trtn.backend.providers.blockwise.products import multiplied
from trtn.dsl.ops.windows import actual_pads
from trtn.dsl.records import record

__all__ = ["ConvolutionKernel", "Window", "read_window"]

NEAR = 4 << 20
"""Bytes of gathered windows for one product: they are read again from the last cache."""


@record()
class Axis:
    """A window along one axis of an image."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    dilation: int

    def span(self, places: int) -> int:
        """How many elements of the image, padding included, the windows of so many neighbouring places reach over."""
        return (places - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    @property
    def is_padded(self) -> bool:
        return self.before > 0 or self.span(self.out) > self.size

    def inside(self, first: int, count: int) -> tuple[slice, slice]:
        """Of what the windows of some places reach over, the part that is no padding, and which elements of the image
        these are."""
        start = first * self.stride - self.before
        begin = min(max(0, -start), self.span(count))
        end = max(begin, min(self.span(count), self.size - start))
        return slice(begin, end), slice(start + begin, start + end)


@record()
class Window:
    """The two axes of a convolution, and its groups."""

    rows: Axis
    columns: Axis
    groups: int

    @property
    def is_pixel(self) -> bool:
        """Whether each pixel is made of the one at its place."""
        return all(a.kernel == a.stride == 1 and a.before == 0 and a.size == a.out for a in (self.rows, self.columns))


def read_window(problem: Problem) -> Window:
    """Raises Unfit."""
    layer = problem.group.layers[0]
    if layer.op.name != "conv":
        raise Unfit(f"no kernel for `{layer.op.name}`")
    x, weight = layer.inputs[:2]
    assert x is not None and weight is not None
    source, filters, target = problem.layout(x), problem.layout(weight), problem.outputs[0]
    if len(source.shape) != 4 or not filters.constant or not filters.is_contiguous or not target.size:
        raise Unfit("no image, or no constant weights")
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    pads = actual_pads(
        source.shape[2:], filters.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"]
    )
    axes = [
        Axis(
            source.shape[2 + n],
            target.shape[2 + n],
            filters.shape[2 + n],
            attrs["strides"][n],
            pads[n],
            attrs["dilations"][n],
        )
        for n in range(2)
    ]
    shape, strides = ([values[a] for a in (0, 2, 3, 1)] for values in (target.shape, target.strides))
    if list(strides) != _dense(shape, strides):
        raise Unfit("a result whose channels don't lie last")
    return Window(axes[0], axes[1], attrs["groups"])


def _dense(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The strides that a dense array of this shape has; those of axes of one element as they are."""
    dense, step = [], 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        dense.append(stride if size == 1 else step)
        step *= size
    return dense[::-1]


class ConvolutionKernel:
    """A convolution of all channels, with its epilogue. Where there are many pixels, a block gathers the windows of its
    own; where there are few, all are gathered first, and blocks are channels."""

    def __init__(self, problem: Problem, workers: Workers, device: Device) -> None:
        """Raises Unfit."""
        layer = problem.group.layers[0]
        window = read_window(problem)
        if window.groups != 1:
            raise Unfit("groups of channels")
        x, weight = layer.inputs[:2]
        assert x is not None and weight is not None
        self._group, self._workers, self._device, self._window = problem.group, workers, device, window
        self._chain = Chain(problem, layer.inputs[2] if len(layer.inputs) > 2 else None, image=True)
        self._keys = id(x), id(weight)
        source = problem.layout(x)
        self._batch, self._channels = source.shape[:2]
        self._depth = prod(problem.layout(weight).shape[1:])
        shape, strides = ([values[a] for a in (0, 2, 3, 1)] for values in (source.shape, source.strides))
        is_last = strides[-1] == 1 or shape[-1] == 1
        self._gathers = not (window.is_pixel and is_last and row_stride(shape, strides) is not None)
        self._copies = not is_last or window.rows.is_padded or window.columns.is_padded
        self._by_planes = not is_last and window.columns.out > self._channels
        lines, width = self._batch * window.rows.out, window.columns.out
        outputs = problem.outputs[0].shape[1]
        self._threads = threads = threads_for(lines * width * outputs * self._depth, workers.count)
        blocks = cut(lines * width, outputs, threads)
        self._by_channels = len(blocks) > 1 and blocks[0].rows == slice(0, lines * width)
        self._bands: Sequence[slice] = ()
        if self._gathers:
            if self._by_channels:
                self._bands = spans(lines, threads)
            else:
                most = max(1, NEAR // (4 * self._depth * width))
                pieces = -(-lines // most)
                self._bands = spans(lines, min(lines, pieces + -pieces % threads))
                blocks = [Block(slice(b.start * width, b.stop * width), slice(0, outputs)) for b in self._bands]
        self._blocks = blocks
        longest = max((band.stop - band.start for band in self._bands), default=0)
        reach = window.rows.span(min(longest, window.rows.out)) * window.columns.span(width) * self._channels
        self._copy_size = reach if self._copies else 0
        self._windows_size = (lines if self._by_channels else longest) * width * self._depth
        slots = min(threads, len(self._bands))
        rooms = slots * self._copy_size + (1 if self._by_channels else slots) * self._windows_size
        self.workspace = 4 * rooms if self._gathers else 0

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        arrays = dict(zip(map(id, self._group.inputs), inputs, strict=True))
        x, filters = (arrays[key] for key in self._keys)
        y, finish = matrix(pixels(outputs[0])), self._chain.bind(arrays)
        blocks, bands, workers, threads = self._blocks, self._bands, self._workers, self._threads
        weight = self._matrix_of(filters)
        if not self._gathers:
            whole = matrix(pixels(x))
            calls = [multiplied(whole, weight, y, where, finish) for where in blocks]
            return lambda: workers.run(calls, threads)
        images, room = pixels(x), workspace[: self.workspace].view(np.float32)
        kernel = self._window.rows.kernel, self._window.columns.kernel

        def windows_of(slot: int) -> Any:
            """[lines, width, *kernel, channels]: a thread's own, or everybody's. In memory places lie next to each
            other where the image's do, since few channels make short copies; BLAS takes a matrix either way."""
            kept = room[len(room) - (1 if self._by_channels else slot + 1) * self._windows_size :][: self._windows_size]
            if self._by_planes:
                planes = kept.reshape(*kernel, self._channels, -1, self._window.columns.out)
                return np.moveaxis(planes, (3, 4), (0, 1))
            return kept.reshape(-1, self._window.columns.out, *kernel, self._channels)

        @cache
        def gathering(number: int, slot: int) -> Sequence[Call]:
            band = bands[number]
            start = band.start if self._by_channels else 0
            into = windows_of(slot)[start : start + band.stop - band.start]
            copy = room[slot * self._copy_size : (slot + 1) * self._copy_size]
            return list(self._gathering(images, into, copy, band))

        @cache
        def whole_block(number: int, slot: int) -> Sequence[Call]:
            block = y[blocks[number].rows]
            rows = windows_of(slot).reshape(-1, self._depth)[: len(block)]
            return [
                *gathering(number, slot),
                partial(np.matmul, rows, weight, block),
                *finish(block, blocks[number]),
            ]

        if not self._by_channels:
            work = _making(whole_block)
            return lambda: workers.share(work, len(blocks), threads)
        rows = windows_of(0).reshape(-1, self._depth)
        products = [multiplied(rows, weight, y, where, finish) for where in blocks]
        gather = _making(gathering)

        def launch() -> None:
            workers.share(gather, len(bands), threads)
            workers.run(products, threads)

        return launch

    def _matrix_of(self, filters: Any) -> Any:
        """The weights as [depth, outputs], a window's channels together."""
        if self._window.rows.kernel * self._window.columns.kernel == 1:
            return filters.reshape(len(filters), -1).T
        return self._device.packed(
            filters, "blockwise:ohwi", lambda f: _copied(self._device, f.transpose(0, 2, 3, 1))
        ).T

    def _gathering(self, images: Any, into: Any, copy: Any, band: slice) -> Iterator[Call]:
        """Copies of the windows of a band of lines. The lines of all images are counted one behind the other."""
        height = self._window.rows.out
        line = band.start
        while line < band.stop:
            image, top = divmod(line, height)
            count = min(height - top, band.stop - line)
            at = line - band.start
            yield from self._gathering_image(images[image], into[at : at + count], copy, top)
            line += count

    def _gathering_image(self, image: Any, into: Any, copy: Any, top: int) -> Iterator[Call]:
        """The windows of the lines of the result from `top` on. What they reach over is copied with its padding, so that
        they are views of it; then one copy takes them all."""
        rows, columns, count = self._window.rows, self._window.columns, len(into)
        (down, lines), (right, across) = rows.inside(top, count), columns.inside(0, columns.out)
        reached = image[lines, across]
        if self._copies:
            shape = rows.span(count), columns.span(columns.out), self._channels
            whole = copy[: prod(shape)]
            whole = np.moveaxis(whole.reshape(shape[2], *shape[:2]), 0, -1) if self._by_planes else whole.reshape(shape)
            if reached.shape != shape:
                yield partial(whole.fill, 0.0)
            yield partial(np.copyto, whole[down, right], reached)
            reached = whole
        line, pixel, channel = reached.strides
        taps = (rows.kernel, rows.dilation * line), (columns.kernel, columns.dilation * pixel)
        places = (count, rows.stride * line), (columns.out, columns.stride * pixel)
        counts, steps = zip(*places, *taps, (self._channels, channel), strict=True)
        yield partial(np.copyto, into, np.lib.stride_tricks.as_strided(reached, counts, steps))


def _making(calls_of: Callable[[int, int], Sequence[Call]]) -> Work:
    """Work that is calls, which depend on the thread that makes them."""

    def work(number: int, slot: int) -> None:
        for call in calls_of(number, slot):
            call()

    return work


def _copied(device: Device, view: Any) -> Any:
    """[outputs, depth] of weights seen as [outputs, *window]."""
    room = device.room(view.size * view.itemsize).view(view.dtype).reshape(view.shape)
    room[...] = view
    return room.reshape(len(room), -1)
