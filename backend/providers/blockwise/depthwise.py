"""Convolutions of each channel by itself, some lines of the result at a time, which stay in cache with all that they are
made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.devices.workers import Workers
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.blockwise.blocks import ELEMENTARY, Block, Unfit, pixels, spans, threads_for
from trtn.backend.providers.blockwise.chain import Call, Chain, Finish
from trtn.backend.providers.blockwise.convolution import read_window
from trtn.dsl.records import record

__all__ = ["DepthwiseKernel"]

NEAR = 1 << 18
"""Elements of a band of lines."""
Pair = tuple[Any, Any]


@record()
class _Views:
    """What a thread works on for a band of lines."""

    borders: Sequence[Any]
    """Padding."""
    copies: Sequence[Pair]
    """Into where, from where."""
    sums: Sequence[Pair]
    """For each phase what its taps read, [rows, columns, lines, width * channels], and their factors, of which the
    lines are not an axis."""
    target: Any
    term: Any
    rest: Sequence[Call]
    """What is done to the target then."""


class DepthwiseKernel:
    """The padded lines that a band reads are copied to scratch memory, their pixels sorted by their column modulo the
    stride: then what a tap reads for a line of the result lies in one piece, and so do the factors, which are repeated
    along the line."""

    def __init__(self, problem: Problem, workers: Workers, device: Device) -> None:
        """Raises Unfit."""
        layer = problem.group.layers[0]
        window = read_window(problem)
        x, weight = layer.inputs[:2]
        assert x is not None and weight is not None
        channels = problem.layout(x).shape[1]
        if not window.groups == channels == problem.layout(weight).shape[0] or channels == 1:
            raise Unfit("channels that are not each by itself")
        self._group, self._workers, self._device, self._window = problem.group, workers, device, window
        self._bias = layer.inputs[2] if len(layer.inputs) > 2 else None
        self._chain = Chain(problem, None, image=True)
        self._keys = id(x), id(weight)
        self._channels = channels
        rows, columns = window.rows, window.columns
        self._line = columns.out * channels
        batch = problem.layout(x).shape[0]
        pieces = -(-rows.out * self._line // NEAR)
        passes = ELEMENTARY * rows.kernel * columns.kernel
        self._threads = threads_for(batch * rows.out * self._line * passes, workers.count)
        bands = spans(rows.out, min(rows.out, pieces + -pieces % (self._threads if batch == 1 else 1)))
        self._bands = [(image, band) for image in range(batch) for band in bands]
        most = max(band.stop - band.start for band in bands)
        self._lines = (most - 1) * rows.stride + (rows.kernel - 1) * rows.dilation + 1
        self._phase_width = columns.out + (columns.kernel - 1) * columns.dilation // columns.stride
        self._phases = sorted({j * columns.dilation % columns.stride for j in range(columns.kernel)})
        self._copy_size = self._lines * self._phase_width * channels
        self._room = len(self._phases) * self._copy_size + most * self._line
        self.workspace = 4 * self._room * min(self._threads, len(self._bands))

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        arrays = dict(zip(map(id, self._group.inputs), inputs, strict=True))
        x, filters = (arrays[key] for key in self._keys)
        images, y, finish = pixels(x), pixels(outputs[0]), self._chain.bind(arrays)
        factors = self._device.packed(filters, f"blockwise:lines{self._window.columns.out}", self._along_lines)
        bias = None if self._bias is None else np.tile(arrays[id(self._bias)], self._window.columns.out)
        room = workspace[: self.workspace].view(np.float32)
        workers, bands = self._workers, self._bands

        @cache
        def views(number: int, slot: int) -> _Views:
            image, band = bands[number]
            scratch = room[slot * self._room : (slot + 1) * self._room]
            return self._views(images[image], y[image, band], number, scratch, factors, finish)

        def work(number: int, slot: int) -> None:
            seen = views(number, slot)
            for border in seen.borders:
                border.fill(0.0)
            for into, source in seen.copies:
                into[...] = source
            target, term = seen.target, seen.term
            for n, (windows, factors) in enumerate(seen.sums):
                np.einsum("abij,abj->ij", windows, factors, out=term if n else target)
                if n:
                    np.add(target, term, out=target)
            if bias is not None:
                np.add(target, bias, out=target)
            for call in seen.rest:
                call()

        return lambda: workers.share(work, len(bands), self._threads)

    def _views(self, image: Any, lines: Any, number: int, scratch: Any, factors: Any, finish: Finish) -> _Views:
        """`image` is [height, width, channels], `lines` the same of the result's band."""
        at, band = self._bands[number]
        height, width = self._window.rows.out, self._window.columns.out
        count = band.stop - band.start
        phases, borders, copies = self._copied(image, band, scratch)
        sums = [self._taps(phase, lines, count, factors) for phase, lines in phases.items()]
        start = (at * height + band.start) * width
        where = Block(slice(start, start + count * width), slice(0, self._channels))
        target = lines.reshape(count, self._line)
        term = scratch[-count * self._line :].reshape(count, self._line)
        return _Views(borders, copies, sums, target, term, finish(lines.reshape(count * width, -1), where))

    def _along_lines(self, filters: Any) -> Any:
        """[rows, columns, width * channels] of weights [channels, 1, rows, columns]."""
        taps = filters[:, 0].transpose(1, 2, 0)
        return np.ascontiguousarray(np.tile(taps, self._window.columns.out))

    def _copied(self, image: Any, band: slice, scratch: Any) -> tuple[dict[int, Any], list[Any], list[Pair]]:
        """The padded lines that a band reads, [lines, columns * channels] for each phase; which parts of them are
        padding, and which are copied from where."""
        rows, columns, channels = self._window.rows, self._window.columns, self._channels
        top = band.start * rows.stride - rows.before
        count = (band.stop - band.start - 1) * rows.stride + (rows.kernel - 1) * rows.dilation + 1
        inside = slice(max(0, -top), max(0, min(count, rows.size - top)))
        phases: dict[int, Any] = {}
        borders: list[Any] = []
        copies: list[Pair] = []
        for n, phase in enumerate(self._phases):
            whole = scratch[n * self._copy_size : (n + 1) * self._copy_size]
            phases[phase] = whole.reshape(self._lines, -1)[:count]
            copy = phases[phase].reshape(count, self._phase_width, channels)
            left = phase - columns.before
            first = -(left // columns.stride) if left < 0 else 0
            end = max(first, min(self._phase_width, (columns.size - 1 - left) // columns.stride + 1))
            borders += [copy[: inside.start], copy[inside.stop :], copy[inside, :first], copy[inside, end:]]
            if end > first and inside.stop > inside.start:
                across = slice(first * columns.stride + left, (end - 1) * columns.stride + left + 1, columns.stride)
                copies.append((copy[inside, first:end], image[top + inside.start : top + inside.stop, across]))
        return phases, [border for border in borders if border.size], copies

    def _taps(self, phase: int, lines: Any, count: int, factors: Any) -> Pair:
        """The taps of which all columns are in one phase: these lie at one distance. What they read for `count` lines
        of the result, and their factors."""
        rows, columns = self._window.rows, self._window.columns
        taps = [j for j in range(columns.kernel) if j * columns.dilation % columns.stride == phase]
        shifts = [j * columns.dilation // columns.stride * self._channels for j in taps]
        line, element = lines.strides
        step = (shifts[1] - shifts[0]) * element if len(shifts) > 1 else 0
        windows = np.lib.stride_tricks.as_strided(
            lines[:, shifts[0] :],
            (rows.kernel, len(taps), count, self._line),
            (rows.dilation * line, step, rows.stride * line, element),
        )
        return windows, factors[:, taps[0] :: taps[1] - taps[0] if len(taps) > 1 else columns.kernel]
