"""Ops on shapes: other shapes, pieces, elements picked by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.dsl.convert.export_case import Case, Dimension, case, indices, real, truth, whole

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    yield from _shape()
    yield from _pieces()
    yield from _picked()


def _shape() -> Iterator[Case]:
    x = real(2, 6, 4)
    yield case("reshape", x, shape=[2, 24])
    yield case("reshape", x, shape=[Dimension("N"), Dimension("S"), 2, 2], shapes=["N, S, 4"], name="heads")
    yield case("reshape", x, shape=[Dimension("N*S"), 4], shapes=["N, S, 4"], name="rows")
    yield case("reshape", x, shape=[Dimension("S"), Dimension("N"), 4], shapes=["N, S, 4"], name="turned")
    yield case("reshape", x, shape=[Dimension("N"), Dimension("S"), 8], shapes=["N, 2*S, 4"], name="doubled")
    yield case("reshape", x, indices(4, 12), name="tensor")
    yield case("flatten", x, axis=2, shapes=["N, S, 4"])
    yield case("squeeze", real(2, 1, 3), axes=[1])
    yield case("squeeze", real(2, 3), name="nothing")
    yield case("unsqueeze", x, axes=[0, 2])
    yield case("transpose", x, perm=[2, 0, 1], shapes=["N, S, 4"])
    yield case("expand", real(2, 1), shape=[3, 2, 4])
    yield case("expand", real(2, 1), shape=[Dimension("N"), Dimension("N + 1")], shapes=["N, 1"], name="dims")
    yield case("expand", real(2, 1), indices(2, 3), name="tensor")
    yield case("tile", x, times=[1, 2, 1])
    yield case("tile", real(2, 3), indices(2, 2), name="tensor")
    for text in (
        "N", "N*S", "S - 1", "S // N", "S % N", "min(N, S)", "max(N, S - 9)", "(S - 9) // 4", "ceildiv(S, 4)",
        "2*N*S - 3*S + 7", "3 - N",
    ):  # fmt: skip
        sizes = [Dimension(text), 3, 4, Dimension("N")]
        yield case("dims", x, values=sizes, dtype="i32", shapes=["N, S, 4"], used=0, name=text)
    yield case("dims", x, values=[Dimension("N")], scalar=True, shapes=["N, S, 4"], used=0, name="scalar")
    solved = [Dimension("M"), Dimension("K"), Dimension("L")]
    yield case("dims", real(3), real(6, 7), values=solved, shapes=["L", "2*M, K + L"], used=0, name="solved")
    yield case("range", end=7)
    yield case("range", indices(1.5, dtype=np.float32), indices(4.0, dtype=np.float32), indices(0.5, dtype=np.float32))
    yield case("fill", shape=[2, 3], value=1.5)
    yield case("fill", indices(2, 3), value=4.0, dtype="u8", name="tensor")
    yield case("eye_like", real(3, 4), k=1)
    yield case("eye_like", whole(3, 4, dtype=np.int8), k=-1)
    yield case("trilu", real(2, 3, 4))
    yield case("trilu", whole(3, 4, dtype=np.int8), upper=False, k=1)
    for mode in ("dcr", "crd"):
        yield case("depth_to_space", real(1, 8, 2, 3), block=2, mode=mode, name=mode)
        yield case("space_to_depth", real(1, 2, 4, 6), block=2, mode=mode, name=mode)
        yield case("depth_to_space", whole(1, 8, 2, 3), block=2, mode=mode, shapes=["N, 8, H, W"], name=mode)
    yield case("space_to_depth", whole(1, 2, 4, 6), block=2)
    yield case("one_hot", indices(0, 2, -1, 7), None, indices(0, 5, dtype=np.float32), size=4)
    yield case("one_hot", indices([0, 2]), indices(3), indices(1, 5, dtype=np.int16), axis=0, name="depth")
    yield case("nonzero", whole(3, 4, low=0, high=2, dtype=np.float64))
    yield case("nonzero", truth(3, 4))


def _pieces() -> Iterator[Case]:
    x = real(2, 6, 4)
    named = ["N, S, 4"]
    yield case("concat", x, real(2, 3, 4), axis=1, shapes=["N, S, 4", "N, L, 4"])
    yield case("split", x, axis=1, sizes=[2, 4])
    yield case("split", x, axis=1, parts=3, name="parts")
    yield case("split", x, axis=1, sizes=[Dimension("S - 2"), 2], shapes=named, name="dims")
    yield case("slice", x, start=[1], axes=[1], shapes=named)
    yield case("slice", x, start=[-2, 0], end=[-1, Dimension("S - 1")], axes=[2, 1], shapes=named, name="dims")
    yield case("slice", x, axes=[1], step=[-2], name="back")
    yield case("slice", x, start=[4], end=[1], axes=[1], step=[-1], name="back_part")
    yield case("slice", x, indices(1, 0, dtype=np.int32), indices(5, 3, dtype=np.int32), name="tensors")
    yield case("flip", x, axes=[0, 2])
    yield case("roll", x, shifts=[1, -2], axes=[0, 1])
    yield case("roll", x, shifts=[5], axes=[1], shapes=named, name="dims")
    yield case("roll", x, shifts=[12], axes=[1], name="whole")
    lengths = indices(2, 3, dtype=np.int32)
    yield case("reverse_sequence", real(4, 2, 3), lengths)
    yield case("reverse_sequence", real(3, 2, 4), lengths, time_axis=2, batch_axis=1, name="last")
    yield case("pad", x, pads=[0, 1, 2, 0, 3, 1], fill=1.5)
    yield case("pad", x, pads=[-1, 2], axes=[1], name="axes")
    yield case("pad", x, pads=[0, Dimension("S")], axes=[1], shapes=named, name="dims")
    yield case("pad", x, indices(1, 2), indices(0.5, dtype=np.float32), axes=[2], name="tensors")
    for mode in ("reflect", "edge", "wrap"):
        yield case("pad", x, pads=[3, 2], mode=mode, axes=[1], name=mode)
    yield case("pad", x, pads=[-1, 2], mode="reflect", axes=[1], name="cut")
    yield case("pad", whole(2, 3, dtype=np.int16), pads=[1], fill=-3.0)


def _picked() -> Iterator[Case]:
    x = real(3, 4, 5)
    yield case("gather", x, indices([0, -1], [2, 1]), axis=1)
    yield case("embedding", indices(0, 2, dtype=np.int32), real(3, 4))
    yield case("gather_elements", x, whole(3, 2, 5, low=-4, high=4), axis=1)
    yield case("gather_nd", x, indices([0, 1], [2, -1]))
    yield case("gather_nd", x, whole(3, 2, 1, low=0, high=4), batch_dims=1, name="batch")
    yield case("compress", x, indices(1, 0, 1, dtype=bool), axis=1)
    yield case("compress", real(2, 3), truth(5), name="flat")
    places = np.argsort(real(3, 4, 5), axis=1)[:, :2].copy()  # no place twice
    for reduction, since in (("none", 17), ("add", 17), ("mul", 17), ("max", 18), ("min", 18)):
        rest: dict[str, Any] = {"reduction": reduction, "since": since, "name": reduction}
        yield case("scatter_elements", x, places, real(3, 2, 5), axis=1, **rest)
        yield case("scatter_nd", x, indices([0, 1], [2, -1]), real(2, 5), **rest)
