"""Spectra. The inverse of half a spectrum is made from the whole one, which older opsets can turn back."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import I64, Site
from trtn.dsl.convert.export.values import Value, elem_type
from trtn.dsl.dims import Dim

__all__: list[str] = []


@writes("dft")
def _dft(s: Site) -> None:
    if s["inverse"] and s["onesided"] and not (s.given(1) or s.given(2)):
        _real_inverse(s)
        return
    length = s.cast(s.x(1), I64, "count") if s.given(1) else _stated_length(s)
    if length is not None and s.given(1) and s.rank(1):
        length = s.emit("Reshape", length, s.ints([]), part="length")
    _transform(s, s.x(0), length, onesided=s["onesided"])


def _stated_length(s: Site) -> Value | None:
    return s.sizes.scalar(s["length"]) if s["length"] is not None else None


def _transform(s: Site, x: Value, length: Value | None, *, onesided: bool = False, part: str = "") -> Value:
    flags: dict[str, Any] = {"inverse": int(s["inverse"]), "onesided": int(onesided)}
    if s.has("DFT", "axis"):
        return s.emit("DFT", x, length, part=part, axis=_axis(s), **flags)
    if s.given(2):
        axis = s.emit("Reshape", s.x(2), s.ints([]), part="axis") if s.rank(2) else s.x(2)
    else:
        axis = s.sizes.scalar(s["axis"])
    return s.emit("DFT", x, length, axis, part=part, **flags)


def _axis(s: Site) -> int:
    """The axis, which must be known before."""
    known = (s["axis"],) if not s.given(2) else s.tensor(2).value
    if known is None or not isinstance(known[0], int):
        refuse("an axis that is computed is of opset 20 and later")
    return known[0] % s.rank(0)


def _real_inverse(s: Site) -> None:
    """bins 0 .. n // 2, then the conjugates of those before the middle in reverse, and of the result the real part."""
    axis = _axis(s)
    source = s.shape(0)[axis]
    n: Dim = s["length"] if s["length"] is not None else 2 * (source - 1)
    bins = n // 2 + 1
    x = s.x(0)
    if source != bins:
        # A negative amount takes away what is more than half a spectrum.
        amounts: list[Dim] = [0] * (2 * s.rank(0))
        amounts[s.rank(0) + axis] = bins - source
        x = s.emit("Pad", x, s.sizes.vector(amounts), part="half", mode="constant")
    first, end = s.sizes.vector([n - bins]), s.ints([0])
    turned = s.slice(x, first, end, [axis], [-1], part="turned")
    signs = s.constant([1, -1][: _parts(s)], x.dtype)
    whole = s.emit("Concat", x, s.emit("Mul", turned, signs, part="conjugates"), part="whole", axis=axis)
    back = _transform(s, whole, None, part="back")
    s.slice(back, s.ints([0]), s.ints([1]), [-1], [1])


def _parts(s: Site) -> int:
    parts = s.shape(0)[-1]
    return 2 if parts == 2 else 1


@writes("stft")
def _stft(s: Site) -> None:
    step = s.x(1) if s.given(1) else s.sizes.scalar(s["step"])
    length = s.x(3) if s.given(3) else _stated_length(s)
    if length is None and not s.given(2):
        length = s.sizes.scalar(s.shape(0)[1])
    step = s.cast(step, I64, "hop")
    length = None if length is None else s.cast(length, I64, "count")
    s.emit("STFT", s.x(0), step, s.maybe(2), length, onesided=int(s["onesided"]))


@writes("mel_weights")
def _mel_weights(s: Site) -> None:
    inputs = [s.cast(s.x(n), I64, s.layer.op.spec.inputs[n].name) for n in range(3)]
    inputs += [s.x(n) for n in (3, 4)]
    for n, value in enumerate(inputs):
        if s.rank(n):
            name = s.layer.op.spec.inputs[n].name
            inputs[n] = s.emit("Reshape", value, s.ints([]), part=f"{name}_scalar")
    s.emit("MelWeightMatrix", *inputs, output_datatype=elem_type(s["dtype"]))
