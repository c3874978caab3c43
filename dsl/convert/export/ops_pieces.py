"""Pieces of tensors, tensors put together, elements in another order, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import I64, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dims import Dim

__all__: list[str] = []

_FAR: Final = (1 << 63) - 1


@writes("concat")
def _concat(s: Site) -> None:
    s.emit("Concat", *s.xs(), axis=s["axis"])


@writes("split")
def _split(s: Site) -> None:
    s.emit_all("Split", s.x(0), s.sizes.vector(s["sizes"]), results=range(len(s["sizes"])), axis=s["axis"])


@writes("slice")
def _slice(s: Site) -> None:
    axes, steps = s["axes"], s["step"]
    if not axes:
        s.emit("Identity", s.x(0))
        return
    count = len(axes)
    known = s.tensor(3).value if s.given(3) else steps
    back = [known is not None and isinstance(step, int) and step < 0 for step in known or (1,) * count]
    starts = _bounds(s, 1, "start", [_FAR if b else 0 for b in back])
    ends = _bounds(s, 2, "end", [-_FAR if b else _FAR for b in back])
    if s.given(3):
        s.emit("Slice", s.x(0), starts, ends, s.ints(axes), s.cast(s.x(3), I64, "steps"))
    else:
        s.slice(s.x(0), starts, ends, axes, steps)


def _bounds(s: Site, index: int, name: str, default: Sequence[int]) -> Value:
    if s.given(index):
        return s.cast(s.x(index), I64, f"{name}s")
    return s.sizes.vector(s[name]) if s[name] is not None else s.ints(default)


@writes("flip")
def _flip(s: Site) -> None:
    axes = s["axes"]
    if not axes:
        s.emit("Identity", s.x(0))
        return
    count = len(axes)
    s.slice(s.x(0), s.ints([-1] * count), s.ints([-_FAR] * count), axes, [-1] * count)


@writes("roll")
def _roll(s: Site) -> None:
    """Along each axis the last elements come first; where there may be fewer than the shift, by computed places."""
    moves = [(axis, shift) for axis, shift in zip(s["axes"], s["shifts"], strict=True) if shift]
    x = s.x(0)
    for number, (axis, shift) in enumerate(moves, 1):
        part = "" if number == len(moves) else f"rolled{number}"
        size = s.shape(0)[axis]
        if isinstance(size, int) and size:
            shift %= size
        if isinstance(size, int) or s.sizes.at_least(size) >= abs(shift):
            tail = s.slice(x, s.ints([-shift]), s.ints([_FAR]), [axis], [1], part=f"tail{number}")
            head = s.slice(x, s.ints([0]), s.ints([-shift]), [axis], [1], part=f"head{number}")
            if shift % max(size if isinstance(size, int) else 1 << 62, 1) == 0:
                x = s.emit("Identity", x, part=part)
            else:
                x = s.emit("Concat", tail, head, part=part, axis=axis)
        else:
            x = s.emit("Gather", x, _around(s, axis, -shift, size - shift), part=part, axis=axis)
    if not moves:
        s.emit("Identity", x)


def _around(s: Site, axis: int, first: Dim, end: Dim) -> Value:
    """The places first, first + 1, .. up to `end`, each modulo the axis's size."""
    one = s.sizes.scalar(1)
    places = s.emit("Range", s.sizes.scalar(first), s.sizes.scalar(end), one, part=f"places{axis}")
    return s.emit("Mod", places, s.sizes.scalar(s.shape(0)[axis]), part=f"around{axis}")


@writes("reverse_sequence")
def _reverse_sequence(s: Site) -> None:
    """ONNX's has time and batch as the first two axes."""
    x, lengths = s.x(0), s.cast(s.x(1), I64, "lengths")
    time, batch = s["time_axis"], s["batch_axis"]
    if {time, batch} == {0, 1}:
        s.emit("ReverseSequence", x, lengths, time_axis=time, batch_axis=batch)
        return
    perm = [time, batch, *(n for n in range(s.rank(0)) if n not in (time, batch))]
    turned = s.transpose(x, perm, part="turned")
    reverse = s.emit("ReverseSequence", turned, lengths, part="reversed", time_axis=0, batch_axis=1)
    s.transpose(reverse, np.argsort(perm).tolist())


# --- padding ---


@writes("pad")
def _pad(s: Site) -> None:
    mode, axes = s["mode"], s["axes"]
    pads: Sequence[Dim] | None = s["pads"]
    if mode == "wrap" and not s.opset >= 19:
        _wrapped(s)
        return
    x = s.x(0)
    if pads is not None and mode != "constant":
        x, pads = _cut(s, x, pads)
    amounts = s.sizes.vector(pads) if pads is not None else s.x(1)
    fill = _fill(s, x) if mode == "constant" else None
    if axes == tuple(range(s.rank(0))):
        s.emit("Pad", x, amounts, fill, mode=mode)
    elif s.opset >= 18:
        s.emit("Pad", x, amounts, fill, s.ints(axes), mode=mode)
    else:
        s.emit("Pad", x, _for_all_axes(s, amounts), fill, mode=mode)


def _fill(s: Site, x: Value) -> Value | None:
    if s.given(2):
        return s.emit("Reshape", s.x(2), s.ints([]), part="fill") if s.rank(2) else s.x(2)
    return s.like(x, s["fill"]) if s["fill"] else None


def _for_all_axes(s: Site, amounts: Value) -> Value:
    """Amounts for some axes as amounts for all, as opsets before 18 take them."""
    axes, rank = list(s["axes"]), s.rank(0)
    none = 2 * len(axes)
    picks = [axes.index(n) + end * len(axes) if n in axes else none for end in (0, 1) for n in range(rank)]
    with_zero = s.emit("Concat", amounts, s.ints([0]), part="amounts_and_none", axis=0)
    return s.emit("Gather", with_zero, s.ints(picks), part="amounts", axis=0)


def _cut(s: Site, x: Value, pads: Sequence[Dim]) -> tuple[Value, Sequence[Dim]]:
    """What negative amounts take away is taken away first: the rest is mirrored or repeated."""
    axes = s["axes"]
    count = len(axes)
    if not any(isinstance(p, int) and p < 0 for p in pads):
        return x, pads
    taken = [min(p, 0) if isinstance(p, int) else 0 for p in pads]
    ends = [p if p else _FAR for p in taken[count:]]
    x = s.slice(x, s.ints([-p for p in taken[:count]]), s.ints(ends), axes, [1] * count, part="cut")
    return x, [p if not isinstance(p, int) else max(p, 0) for p in pads]


def _wrapped(s: Site) -> None:
    """Elements picked by places that go round and round."""
    x, axes, pads = s.x(0), s["axes"], s["pads"]
    count = len(axes)
    amounts = None if pads is not None else s.x(1)
    for n, axis in enumerate(axes):
        size = s.shape(0)[axis]
        if pads is not None:
            around = _around(s, axis, -pads[n], size + pads[n + count])
        else:
            before, after = (
                s.emit("Gather", amounts, s.sizes.scalar(k), part=f"amount{k}", axis=0) for k in (n, n + count)
            )
            length = s.sizes.scalar(size)
            first = s.emit("Neg", before, part=f"first{axis}")
            end = s.emit("Add", length, after, part=f"end{axis}")
            places = s.emit("Range", first, end, s.sizes.scalar(1), part=f"places{axis}")
            around = s.emit("Mod", places, length, part=f"around{axis}")
        x = s.emit("Gather", x, around, part="" if n == count - 1 else f"wrapped{axis}", axis=axis)
    if not axes:
        s.emit("Identity", x)
