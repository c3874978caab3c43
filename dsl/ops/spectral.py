"""Spectra: dft, stft, and the matrix of mel filters. Complex numbers are pairs in the last axis."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, product
from trtn.dsl.dtypes import FLOATS, NUMBERS, DType
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED

__all__: list[str] = []


def _number(i: Infer, index: int, attr: str, default: Dim | None) -> Dim | None:
    """A size by attribute, or by the scalar input `index` where its value is known; None where only data tells it."""
    if not i.has(index):
        return i[attr] if i[attr] is not None else default
    if i[attr] is not None:
        i.fail("E0207", f"`{i.op.name}` takes `{attr}` or the tensor `{i.input_name(index)}`, not both", attr=attr)
    i.require("==", product(i.shape(index)), 1, f"`{i.input_name(index)}` of `{i.op.name}` has one element")
    known = i.value(index)
    return known[0] if known is not None else None


def _complex(xp: Any, x: Any) -> Any:
    """Pairs, or single numbers, in the last axis as complex numbers."""
    wide = x.astype("float64" if x.dtype.name == "float64" else "float32", copy=False)
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]


def _pairs(xp: Any, z: Any, dtype: Any) -> Any:
    return xp.stack([z.real, z.imag], axis=-1).astype(dtype)


class Dft(Op):
    """The discrete Fourier transform of x [.., n, .., 1 or 2] along `axis` (or the scalar `along`), never the last one.

    x is cut or filled with zeros to `length` (or `count`). With `onesided` only the first length // 2 + 1 of a real x's
    values are given; of `inverse` they are what is taken, `length` real numbers [.., 1] are given, by default
    2 * (n - 1). `inverse` divides by the length. ONNX DFT.
    """

    signature = (
        "dft(x: T, count: i32|i64?, along: i64?, *, axis: int?, length: dim?, inverse: bool = false,"
        " onesided: bool = false) -> T"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=2)
        shape = list(i.shape(0))
        if shape[-1] not in (1, 2):
            i.fail("E0303", f"the last dim of `x` of `dft` is 1 or 2, not {shape[-1]}", inputs=[0])
        real = i["inverse"] and i["onesided"]
        shape[-1] = 1 if real else 2
        axis = self._axis(i, rank)
        if axis is None:
            if not i["onesided"] and not i.has(1) and i["length"] is None:
                return tuple(shape)
            return (*(i.fresh(0, UNBOUNDED) for _ in shape[:-1]), shape[-1])
        default = 2 * (shape[axis] - 1) if real else shape[axis]
        length = _number(i, 1, "length", default)
        if length is None:
            shape[axis] = i.fresh(0, UNBOUNDED)
        else:
            i.require(">=", length, 1, "the length of `dft`")
            shape[axis] = length // 2 + 1 if i["onesided"] and not i["inverse"] else length
        return tuple(shape)

    def _axis(self, i: Infer, rank: int) -> int | None:
        if not i.has(2) and i["axis"] is None:
            i.attrs["axis"] = rank - 2
        axis = _number(i, 2, "axis", None)
        if axis is None:
            return None
        place = i.axis(rank, "axis", value=int(str(axis)))
        if place == rank - 1:
            i.fail("E0304", "`axis` of `dft` is the last one, which holds the parts of a number", attr="axis")
        if not i.has(2):
            i.attrs["axis"] = place
        return place

    def evaluate(
        self,
        xp: Any,
        x: Any,
        count: Any,
        along: Any,
        *,
        axis: int | None,
        length: int | None,
        inverse: bool,
        onesided: bool,
    ) -> Any:
        at = int(along.reshape(())) % x.ndim if axis is None else axis
        size = int(count.reshape(())) if count is not None else length
        z = _complex(xp, x)
        if inverse and onesided:
            return xp.fft.irfft(z, n=size, axis=at)[..., None].astype(x.dtype)
        if inverse:
            return _pairs(xp, xp.fft.ifft(z, n=size, axis=at), x.dtype)
        spectrum = xp.fft.fft(z, n=size, axis=at)
        if onesided:
            spectrum = spectrum[(*(slice(None),) * at, slice(spectrum.shape[at] // 2 + 1))]
        return _pairs(xp, spectrum, x.dtype)


class Stft(Op):
    """The short-time Fourier transform of x [N, L, 1 or 2]: [N, frames, bins, 2].

    Frames of `length` (or `count`; by default the window's, else L) begin every `step` (or `hop`) elements, are
    multiplied by the `window` and transformed; with `onesided` the bins are the first length // 2 + 1. ONNX STFT.
    """

    signature = (
        "stft(x: T, hop: i32|i64?, window: T?, count: i32|i64?, *, step: dim?, length: dim?, onesided: bool = true)"
        " -> T"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 3)
        batch, signal, parts = i.shape(0)
        if parts not in (1, 2):
            i.fail("E0303", f"the last dim of `x` of `stft` is 1 or 2, not {parts}", inputs=[0])
        if i.has(2):
            i.rank(2, 1)
        if not i.has(1) and i["step"] is None:
            i.fail("E0207", "`stft` takes one of `step` and the tensor `hop`")
        step = _number(i, 1, "step", None)
        length = _number(i, 3, "length", i.shape(2)[0] if i.has(2) else signal)
        if length is None and i.has(2):
            length = i.shape(2)[0]
        elif length is not None and i.has(2):
            i.equal(length, i.shape(2)[0], "the length of `stft` and its `window` differ", inputs=[2])
        if length is None:
            return batch, i.fresh(0, signal), i.fresh(0, signal), 2
        i.require(">=", signal, length, "`x` of `stft` is shorter than a frame", inputs=[0])
        if step is not None:
            i.require(">=", step, 1, "the step of `stft`")
        frames = i.fresh(0, signal) if step is None else (signal - length) // step + 1
        return batch, frames, length // 2 + 1 if i["onesided"] else length, 2

    def evaluate(
        self,
        xp: Any,
        x: Any,
        hop: Any,
        window: Any,
        count: Any,
        *,
        step: int | None,
        length: int | None,
        onesided: bool,
    ) -> Any:
        every = int(hop.reshape(())) if hop is not None else step
        size = int(count.reshape(())) if count is not None else length
        if size is None:
            size = x.shape[1] if window is None else window.shape[0]
        assert every is not None
        z = _complex(xp, x)
        starts = xp.arange((x.shape[1] - size) // every + 1) * every
        frames = z[:, starts[:, None] + xp.arange(size)]
        if window is not None:
            frames = frames * window.astype(frames.real.dtype)
        spectrum = xp.fft.fft(frames, axis=-1)
        return _pairs(xp, spectrum[..., : size // 2 + 1] if onesided else spectrum, x.dtype)


class MelWeights(Op):
    """Triangular filters that turn a spectrum into mel bands: [length // 2 + 1, bands]. All five inputs are scalars.

    mel(f) = 2595 * log10(1 + f / 700); the edges lie evenly on that scale, rounded down to bins. ONNX MelWeightMatrix.
    """

    signature = "mel_weights(bands: U, length: U, rate: U, low: V, high: V, *, dtype: dtype = f32) -> dtype"
    where = {"U": NUMBERS, "V": FLOATS}

    def infer(self, i: Infer) -> Shape:
        for n in range(5):
            what = f"`{i.input_name(n)}` of `mel_weights` has one element"
            i.require("==", product(i.shape(n)), 1, what, inputs=[n])
        bands, length = i.value(0), i.value(1)
        bins = i.fresh(1, UNBOUNDED) if length is None else length[0] // 2 + 1
        return bins, i.fresh(0, UNBOUNDED) if bands is None else bands[0]

    def evaluate(self, xp: Any, bands: Any, length: Any, rate: Any, low: Any, high: Any, *, dtype: DType) -> Any:
        count, size, frequency = (int(t.reshape(())) for t in (bands, length, rate))
        ends = xp.asarray([float(low.reshape(())), float(high.reshape(()))], dtype="float64")
        first, last = 2595 * xp.log10(1 + ends / 700)
        hertz = 700 * (10 ** ((xp.arange(count + 2) * ((last - first) / (count + 2)) + first) / 2595) - 1)
        edges = ((size + 1) * hertz // frequency).astype("int64")
        left, middle, right = edges[:-2], edges[1:-1], edges[2:]
        bins = xp.arange(size // 2 + 1)[:, None]
        rising = xp.where(middle > left, (bins - left) / xp.maximum(middle - left, 1), bins == middle)
        falling = (right - bins) / xp.maximum(right - middle, 1)
        y = xp.where((bins >= left) & (bins <= middle), rising, 0.0)
        return xp.where((bins >= middle) & (bins < right), falling, y).astype(dtype.numpy)
