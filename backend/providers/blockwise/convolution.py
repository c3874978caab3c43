"""Convolutions of images whose channels lie last: the windows of some pixels are gathered as the rows of a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.devices.workers import Workers
from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.blockwise.blocks import Block, Unfit, cut, matrix, pixels, row_stride, spans, threads_for
from trtn.backend.providers.blockwise.chain import Call, Chain
from trtn.backend.providers.blockwise.products import multiplied
from trtn.dsl.ops.windows import actual_pads
from trtn.dsl.records import record

__all__ = ["ConvolutionKernel", "Window", "read_window"]

SHORT = 8
"""Channels of an image that are few."""
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

    def reach(self, tap: int, places: slice) -> tuple[slice, slice]:
        """Of some places of the result those whose window has this tap inside of the image, counted from the first of
        them, and the elements of the image there."""
        shift = tap * self.dilation - self.before
        first = max(places.start, -(shift // self.stride) if shift < 0 else 0)
        end = min(places.stop, (self.size - 1 - shift) // self.stride + 1)
        if end <= first:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + shift
        stop = (end - 1) * self.stride + shift + 1
        return slice(first - places.start, end - places.start), slice(start, stop, self.stride)


@record()
class Window:
    """The two axes of a convolution, and its groups."""

    rows: Axis
    columns: Axis
    groups: int

    @property
    def taps(self) -> Iterator[tuple[int, int]]:
        return ((i, j) for i in range(self.rows.kernel) for j in range(self.columns.kernel))

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
        # Short runs of channels are slow to gather: then lines of pixels are, and the matrix is the other way round.
        self._by_lines = self._gathers and (not is_last or self._channels < SHORT)
        lines, width = self._batch * window.rows.out, window.columns.out
        outputs = problem.outputs[0].shape[1]
        threads = threads_for(lines * width * outputs * self._depth, workers.count)
        blocks = cut(lines * width, outputs, threads)
        self._by_channels = len(blocks) > 1 and blocks[0].rows == slice(0, lines * width)
        if self._gathers:
            if self._by_channels:
                self._bands = spans(lines, threads)
            else:
                most = max(1, NEAR // (4 * self._depth * width))
                pieces = -(-lines // most)
                self._bands = spans(lines, min(lines, pieces + -pieces % threads))
                blocks = [Block(slice(b.start * width, b.stop * width), slice(0, outputs)) for b in self._bands]
        self._blocks = blocks
        self._room = 0
        if self._gathers:
            longest = lines if self._by_channels else max(b.stop - b.start for b in self._bands)
            self._room = longest * width * self._depth
        self.workspace = 4 * self._room * (1 if self._by_channels else min(workers.count, len(blocks)))

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        arrays = dict(zip(map(id, self._group.inputs), inputs, strict=True))
        x, filters = (arrays[key] for key in self._keys)
        y, finish = matrix(pixels(outputs[0])), self._chain.bind(arrays)
        blocks, workers = self._blocks, self._workers
        weight = self._matrix_of(filters)
        if not self._gathers:
            whole = matrix(pixels(x))
            calls = [multiplied(whole, weight, y, where, finish) for where in blocks]
            return lambda: workers.run(calls)
        room = workspace[: self.workspace].view(np.float32)
        bands = self._bands
        if self._by_channels:
            gathered = self._windows(room, bands[-1].stop)

            gathers = [self._gathering(x, gathered, band, band.start) for band in bands]
            products = [multiplied(self._rows(gathered), weight, y, where, finish) for where in blocks]

            def launch() -> None:
                workers.run(gathers)
                workers.run(products)

            return launch

        @cache
        def calls_of(number: int, slot: int) -> Sequence[Call]:
            band, where = bands[number], blocks[number]
            gathered = self._windows(room[slot * self._room :], band.stop - band.start)
            block = y[where.rows]
            product = partial(np.matmul, self._rows(gathered), weight, block)
            return [*self._gathering(x, gathered, band, 0), product, *finish(block, where)]

        def work(number: int, slot: int) -> None:
            for call in calls_of(number, slot):
                call()

        return lambda: workers.share(work, len(blocks))

    def _matrix_of(self, filters: Any) -> Any:
        """The weights as [depth, outputs]. Where a window's channels are gathered together they lie so, too."""
        outputs = filters.shape[0]
        if self._by_lines or self._window.rows.kernel * self._window.columns.kernel == 1:
            return filters.reshape(outputs, -1).T
        return self._device.packed(
            filters, "blockwise:ohwi", lambda f: _copied(self._device, f.transpose(0, 2, 3, 1))
        ).T

    def _windows(self, room: Any, lines: int) -> Any:
        """[lines, width, taps, channels], or [channels, taps, lines, width], over scratch memory."""
        taps = self._window.rows.kernel * self._window.columns.kernel
        width = self._window.columns.out
        if self._by_lines:
            return room[: lines * width * self._depth].reshape(self._channels, taps, lines, width)
        return room[: lines * width * self._depth].reshape(lines, width, taps, self._channels)

    def _rows(self, gathered: Any) -> Any:
        """The windows as the rows of a matrix."""
        return gathered.reshape(self._depth, -1).T if self._by_lines else gathered.reshape(-1, self._depth)

    def _gathering(self, x: Any, gathered: Any, band: slice, start: int) -> list[Call]:
        """Copies of the windows of a band of lines, to be put from line `start` of `gathered` on. The lines of all images are
        counted one behind the other."""
        window = self._window
        height = window.rows.out
        line = band.start
        calls: list[Call] = []
        while line < band.stop:
            image, top = divmod(line, height)
            count = min(height - top, band.stop - line)
            at = start + line - band.start
            part = gathered[:, :, at : at + count] if self._by_lines else gathered[at : at + count]
            calls += self._gathering_image(x[image], part, slice(top, top + count))
            line += count
        return calls

    def _gathering_image(self, image: Any, part: Any, lines: slice) -> Iterator[Call]:
        window = self._window
        across = slice(0, window.columns.out)
        for tap, (i, j) in enumerate(window.taps):
            (down, from_rows), (right, from_columns) = window.rows.reach(i, lines), window.columns.reach(j, across)
            target = part[:, tap] if self._by_lines else part[:, :, tap].transpose(2, 0, 1)
            outside = (target[:, : down.start], target[:, down.stop :])
            beside = (target[:, down, : right.start], target[:, down, right.stop :])
            yield from (partial(border.fill, 0.0) for border in (*outside, *beside) if border.size)
            if right.stop > right.start and down.stop > down.start:
                yield partial(np.copyto, target[:, down, right], image[:, from_rows, from_columns])


def _copied(device: Device, view: Any) -> Any:
    """[outputs, depth] of weights seen as [outputs, *window]."""
    room = device.room(view.size * view.itemsize).view(view.dtype).reshape(view.shape)
    room[...] = view
    return room.reshape(len(room), -1)
