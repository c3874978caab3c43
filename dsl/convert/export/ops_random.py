"""Random numbers: the same distributions; no two runtimes draw the same ones."""

from __future__ import annotations

import math
import struct

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.values import elem_type
from trtn.dsl.dtypes import BY_NAME

__all__: list[str] = []

_F32 = BY_NAME["f32"]


@writes("random_uniform", "random_normal")
def _random(s: Site) -> None:
    """ONNX takes a constant shape or a tensor that has it; here it is always the latter."""
    shape = s.x(0) if s.given(0) else s.sizes.vector(s["shape"])
    like = s.emit("ConstantOfShape", shape, part="zeros", made=_F32)
    dtype = s["dtype"] if s["dtype"].name in ("f32", "f64") else _F32
    if s.layer.op.name == "random_uniform":
        op, first, second = "RandomUniformLike", ("low", s["low"]), ("high", s["high"])
    else:
        op, first, second = "RandomNormalLike", ("mean", s["mean"]), ("scale", s["std"])
    part = "" if dtype is s["dtype"] else "wide"
    y = s.emit(op, like, part=part, made=dtype, dtype=elem_type(dtype), seed=_seed(s), **dict([first, second]))
    if part:
        s.cast_out(y)


def _seed(s: Site) -> float | None:
    """A seed is a float there, whose bits are ours."""
    if s["seed"] is None:
        return None
    if not 0 <= s["seed"] < 1 << 32 or math.isnan(seed := struct.unpack(">f", s["seed"].to_bytes(4))[0]):
        refuse(f"the seed {s['seed']} is not the bits of an f32")
    return float(seed)
