"""The same elements under another shape, and tensors made from sizes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import F32, I64, Site
from trtn.dsl.convert.export.values import Value, elem_type, raw_buffer
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Shape

__all__: list[str] = []


@writes("reshape")
def _reshape(s: Site) -> None:
    if s.given(1):  # a computed shape: 0 is a size, and -1 is left to ONNX
        s.emit("Reshape", s.x(0), s.cast(s.x(1), I64, "shape"), allowzero=_literal(s))
    else:
        s.reshape(s.x(0), s.shape(0), s["shape"])


def _literal(s: Site) -> int | None:
    """`allowzero`, unless the shape is known to have no 0; ONNX does not have it together with -1."""
    known = s.tensor(1).value
    return None if known is not None and any(d == -1 for d in known) else 1


@writes("flatten")
def _flatten(s: Site) -> None:
    s.emit("Flatten", s.x(0), axis=s["axis"])


@writes("squeeze", "unsqueeze")
def _squeeze(s: Site) -> None:
    if s["axes"]:
        s.fold_axes(s.x(0), s["axes"], s.layer.op.name.capitalize())
    else:
        s.emit("Identity", s.x(0))


@writes("transpose")
def _transpose(s: Site) -> None:
    s.transpose(s.x(0), s["perm"])


@writes("expand")
def _expand(s: Site) -> None:
    if s.given(1):
        s.emit("Expand", s.x(0), s.cast(s.x(1), I64, "shape"))
        return
    sizes: Shape = s["shape"]
    missing = s.rank(0) - len(sizes)
    # A dim that x has already is kept by 1: it need not be computed.
    own: list[Dim] = [
        1 if missing + n >= 0 and s.shape(0)[missing + n] == d and not isinstance(d, int) else d
        for n, d in enumerate(sizes)
    ]
    s.emit("Expand", s.x(0), s.sizes.vector(own))


@writes("tile")
def _tile(s: Site) -> None:
    s.emit("Tile", s.x(0), s.x(1) if s.given(1) else s.sizes.vector(s["times"]))


@writes("dims")
def _dims(s: Site) -> None:
    if s["scalar"]:
        s.cast_out(s.sizes.scalar(s["values"][0]))
    else:
        s.cast_out(s.sizes.vector(s["values"]))


@writes("range")
def _range(s: Site) -> None:
    if s.given(0):
        bounds = [s.x(n) for n in range(3)]
        for n, bound in enumerate(bounds):
            if s.rank(n):
                bounds[n] = s.emit("Reshape", bound, s.ints([]), part=("start", "limit", "delta")[n])
        s.emit("Range", *bounds)
        return
    bounds = [s.sizes.scalar(s[name]) for name in ("first", "end", "step")]
    if s["dtype"] is I64:
        s.emit("Range", *bounds)
    else:
        s.cast_out(s.emit("Range", *bounds, part="numbers"))


@writes("fill")
def _fill(s: Site) -> None:
    shape = s.x(0) if s.given(0) else s.sizes.vector(s["shape"])
    _filled(s, shape, s["value"], s["dtype"])


def _filled(s: Site, shape: Value, number: float, dtype: DType) -> None:
    s.writer.check_dtype(dtype)
    plain = dtype.name in ("f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool")
    made = dtype if plain else F32  # what every opset's op makes
    array = np.asarray([number]).astype(made.numpy)
    value = TensorProto(data_type=elem_type(made), dims=[1], raw_data=raw_buffer(array, made).tobytes())
    if plain:
        s.emit("ConstantOfShape", shape, value=value)
    else:
        s.cast_out(s.emit("ConstantOfShape", shape, part="numbers", made=made, value=value))


@writes("eye_like")
def _eye_like(s: Site) -> None:
    """Ones where the column's number is the row's plus k: ONNX Runtime's op has few dtypes."""
    rows, columns = s.out.shape
    k = s["k"]
    if s.dtype(0).name in ("f32", "f64", "i32", "i64") and s.out.dtype.name in ("f32", "f64", "i32", "i64"):
        s.emit("EyeLike", s.x(0), dtype=elem_type(s.out.dtype), k=k)
        return
    zero, one = s.sizes.scalar(0), s.sizes.scalar(1)
    across = s.emit("Range", zero, s.sizes.scalar(columns), one, part="columns")
    down = s.emit("Range", s.sizes.scalar(k), s.sizes.scalar(rows + k), one, part="rows")
    equal = s.emit("Equal", across, s.fold_axes(down, [1], "Unsqueeze", part="row_column"), part="diagonal")
    s.cast_out(equal)


@writes("trilu")
def _trilu(s: Site) -> None:
    k = s.writer.constant(np.asarray(s["k"], np.int64)) if s["k"] else None
    s.emit("Trilu", s.x(0), k, upper=int(s["upper"]))


@writes("depth_to_space")
def _depth_to_space(s: Site) -> None:
    if s.dtype(0).is_float:
        s.emit("DepthToSpace", s.x(0), blocksize=s["block"], mode=s["mode"].upper())
        return
    # ONNX Runtime has kernels for floats.
    n, c, h, w = s.shape(0)
    b = s["block"]
    depth = c // (b * b)
    if s["mode"] == "dcr":
        split, perm = (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3)
    apart = s.transpose(s.reshape(s.x(0), s.shape(0), split, part="apart"), perm, part="turned")
    s.reshape(apart, tuple(split[p] for p in perm), s.out.shape)


@writes("space_to_depth")
def _space_to_depth(s: Site) -> None:
    if s.dtype(0).is_float and (s["mode"] == "dcr" or s.has("SpaceToDepth", "mode")):
        s.emit("SpaceToDepth", s.x(0), blocksize=s["block"], mode=None if s["mode"] == "dcr" else "CRD")
        return
    n, c, h, w = s.shape(0)
    b = s["block"]
    split = (n, c, h // b, b, w // b, b)
    perm = (0, 3, 5, 1, 2, 4) if s["mode"] == "dcr" else (0, 1, 3, 5, 2, 4)
    apart = s.transpose(s.reshape(s.x(0), s.shape(0), split, part="apart"), perm, part="turned")
    s.reshape(apart, tuple(split[p] for p in perm), s.out.shape)
