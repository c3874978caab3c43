"""One-layer networks, at least one for each op of the catalogue, with feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trtn.dsl.builder import Builder
from trtn.dsl.dims import Dim, Expr, Range, parse_dim
from trtn.dsl.dtypes import BY_NAME, from_numpy
from trtn.dsl.network import Graph, Network, Tensor, TensorType

__all__ = ["CASES", "Array", "Case"]

Array = np.ndarray[Any, Any]
_RNG = np.random.default_rng(7)
_RANGE = Range(1, 64)


@dataclass(frozen=True)
class Case:
    """An op with inputs (None: absent) and attributes. `shapes` are the declared ones, where they are not the arrays'.

    `regions` makes the bodies of control flow. `since` is the first opset that has it.
    """

    op: str
    arrays: Sequence[Array | None]
    attrs: dict[str, Any]
    shapes: Sequence[str | None] = ()
    regions: Callable[[Builder, Sequence[Tensor | None]], list[Graph]] | None = None
    used: int | None = None
    """How many of the arrays the layer takes; the others are inputs of the network alone. None: all."""
    since: int = 17
    rtol: float = 1e-5
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        dtype = next((a.dtype.name for a in self.arrays if a is not None), "none")
        return f"{self.op}-{dtype}{f'-{self.name}' if self.name else ''}"

    def network(self) -> Network:
        inputs: list[Tensor | None] = []
        shapes: list[tuple[Dim, ...]] = []
        for n, array in enumerate(self.arrays):
            text = self.shapes[n] if n < len(self.shapes) else None
            if text is not None:
                shapes.append(tuple(parse_dim(part) for part in text.split(",")))
            else:
                shapes.append(array.shape if array is not None else ())
        names = sorted({s for shape in shapes for d in shape if isinstance(d, Expr) for s in d.symbols})
        b = Builder("case", dims=dict.fromkeys(names, _RANGE))
        for n, (array, shape) in enumerate(zip(self.arrays, shapes, strict=True)):
            dtype = from_numpy(array.dtype) if array is not None else None
            inputs.append(b.input(f"x{n}", dtype, shape) if dtype is not None else None)
        attrs = {k: _dims(v) for k, v in self.attrs.items()}
        regions = self.regions(b, inputs) if self.regions is not None else ()
        results = b.layer(self.op, *inputs[: self.used], name="layer", regions=regions, **attrs)
        return b.finish([(f"y{n}", t) for n, t in enumerate(results)])

    def feeds(self) -> dict[str, Array]:
        return {f"x{n}": a for n, a in enumerate(self.arrays) if a is not None}


def _dims(value: Any) -> Any:
    """Texts in lists are dims."""
    if isinstance(value, Dimension):
        return parse_dim(value)
    return [_dims(v) for v in value] if isinstance(value, list) else value


class Dimension(str):
    """A dim expression as an attribute."""


def real(*shape: int, dtype: Any = np.float32, low: float = -2, high: float = 2) -> Array:
    return np.asarray(_RNG.uniform(low, high, shape)).astype(dtype)


def whole(*shape: int, dtype: Any = np.int64, low: int = -9, high: int = 9) -> Array:
    if np.dtype(dtype).kind == "u":
        low = max(low, 0)
    return np.asarray(_RNG.integers(low, high, shape)).astype(dtype)


def truth(*shape: int) -> Array:
    return np.asarray(_RNG.integers(0, 2, shape)).astype(bool)


def indices(*values: Any, dtype: Any = np.int64) -> Array:
    return np.asarray(values, dtype)


def case(op: str, *arrays: Array | None, **rest: Any) -> Case:
    own = {k: rest.pop(k) for k in ("shapes", "regions", "since", "rtol", "name", "used") if k in rest}
    return Case(op, arrays, rest, **own)


def cases() -> Iterator[Case]:
    yield from _pointwise()
    yield from _arithmetic()
    yield from _reductions()
    yield from _normalisation()
    yield from _linear()
    yield from _shape()
    yield from _pieces()
    yield from _picked()
    yield from _windows()
    yield from _recurrent()
    yield from _quantized()
    yield from _control()
    yield from _special()


def _pointwise() -> Iterator[Case]:
    x = real(2, 3)
    for op in (
        "neg", "abs", "sign", "exp", "floor", "ceil", "round", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh",
        "asinh", "erf", "identity", "relu", "sigmoid", "silu", "softplus", "softsign", "hard_sigmoid", "hard_swish",
        "mish", "elu", "selu", "celu", "leaky_relu", "thresholded_relu", "shrink", "gelu", "isnan", "isinf", "swish",
    ):  # fmt: skip
        yield case(op, x, shapes=["N, 3"])
    for op, low, high in (
        ("log", 0.1, 4), ("sqrt", 0, 4), ("rsqrt", 0.1, 4), ("reciprocal", 0.2, 3), ("asin", -1, 1), ("acos", -1, 1),
        ("acosh", 1, 4), ("atanh", -0.9, 0.9),
    ):  # fmt: skip
        yield case(op, real(2, 3, low=low, high=high))
    for op in ("neg", "abs", "sign", "relu", "shrink"):
        yield case(op, whole(2, 3, dtype=np.int32))
    yield case("gelu", x, approximate="tanh", name="tanh")
    yield case("swish", x, alpha=1.5, name="alpha")
    yield case("elu", x, alpha=0.7, name="alpha")
    yield case("celu", real(5, dtype=np.float64), alpha=0.7)
    yield case("isinf", indices(np.inf, -np.inf, 1, dtype=np.float32), negative=False)
    yield case("not", truth(4))
    yield case("bitwise_not", whole(5, dtype=np.int8))
    yield case("clip", x, min=-1.0, max=0.5)
    yield case("clip", x, max=0.5, name="max")
    yield case("clip", x, name="none")
    yield case("clip", whole(5, dtype=np.int16), min=-2.5, max=1e9)
    yield case("prelu", x, real(3))
    yield case("prelu", whole(2, 3, dtype=np.int32), whole(3, dtype=np.int32))
    points = indices(1, 1, -1, -1, 0, 1, -1, 0, dtype=np.float32)
    yield case("atan2", points, points[::-1].copy())
    yield case("cast", x, to="i32")
    yield case("cast", whole(5, dtype=np.int64, high=500), to="u8")
    yield case("cast", whole(5, low=0, high=2), to="bool", name="bool")
    yield case("cast", x, to="f16", name="f16")


def _arithmetic() -> Iterator[Case]:
    x, y = real(2, 3), real(3, low=0.5, high=2)
    for op in (
        "add", "sub", "mul", "div", "floor_div", "mod", "max", "min", "equal", "not_equal", "less", "less_equal",
        "greater", "greater_equal",
    ):  # fmt: skip
        yield case(op, x, y, shapes=["N, 3"])
        for dtype in (np.int32, np.int8, np.uint16):
            yield case(op, whole(2, 3, dtype=dtype), whole(2, 1, dtype=dtype, low=1, high=5))
    yield case("mod", x, -y, name="negative")
    yield case("mod", x, y, fmod=True, name="fmod")
    yield case("floor_div", whole(20, dtype=np.int64), np.full(20, -4))
    yield case("mod", whole(20, dtype=np.int64), np.full(20, -4), name="negative")
    yield case("pow", real(2, 3, low=0.1), y)
    yield case("pow", whole(5, dtype=np.int16), indices(2, dtype=np.int64))
    yield case("max", x, y, real(2, 1), name="three")
    for op in ("and", "or", "xor"):
        yield case(op, truth(2, 3), truth(3))
    for op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        for dtype in (np.int64, np.int32, np.int8, np.uint8, np.uint32, np.uint64):
            yield case(op, whole(2, 9, dtype=dtype, low=-100, high=100), whole(9, dtype=dtype, low=-100, high=100))
    for op in ("shift_left", "shift_right"):
        for dtype in (np.uint8, np.uint32, np.int32, np.int64):
            bits = np.dtype(dtype).itemsize * 8
            count = indices(0, 1, 3, bits - 2, bits - 1, bits, dtype=dtype)
            yield case(op, whole(4, 6, dtype=dtype, low=-100, high=100), count)
    yield case("where", truth(2, 3), x, y)
    yield case("where", truth(3), truth(2, 3), truth(3), name="bool")


def _reductions() -> Iterator[Case]:
    x = real(2, 3, 4, low=0.1)
    for op in (
        "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1", "reduce_l2",
        "reduce_log_sum", "reduce_log_sum_exp", "reduce_sum_square",
    ):  # fmt: skip
        yield case(op, x, axes=[1], shapes=["N, S, 4"])
        yield case(op, x, axes=[0, -1], keepdims=True, name="keepdims")
        yield case(op, x, name="all")
        yield case(op, x, axes=[], name="none")
        yield case(op, whole(2, 3, dtype=np.int32, low=1), axes=[1])
    yield case("reduce_max", truth(2, 3), axes=[1])
    yield case("reduce_sum", whole(2, 3, dtype=np.uint8), axes=[0])
    yield case("reduce_mean", real(), name="scalar")
    for op in ("arg_max", "arg_min"):
        yield case(op, x, axis=1)
        yield case(op, indices(1, 3, 3, 1), axis=0, keepdims=True, last=True)
    yield case("cumsum", x, axis=1, shapes=["N, S, 4"])
    yield case("cumsum", whole(5, dtype=np.int8), axis=0, exclusive=True, reverse=True)
    yield case("top_k", x, k=2, axis=1)
    yield case("top_k", real(2, 6), k=Dimension("S - 2"), shapes=["N, S"], name="dim")
    yield case("top_k", real(2, 6), indices(3), largest=False, name="count")
    yield case("masked_mean", x, truth(2, 3), axis=1, shapes=["N, S, 4", "N, S"])
    yield case("masked_mean", real(2, 3), np.zeros((2, 3), bool), axis=1, name="nothing")


def _normalisation() -> Iterator[Case]:
    x = real(2, 6, 4, 4)
    for op in ("softmax", "log_softmax", "hardmax"):
        yield case(op, x, axis=1, shapes=["N, 6, H, H"])
    yield case("lp_norm", x, axis=1)
    yield case("lp_norm", x, axis=1, p=1, name="1")
    statistics = [real(6), real(6), real(6), real(6, low=0.1)]
    yield case("batch_norm", x, *statistics, eps=1e-3, shapes=["N, 6, H, W"])
    yield case("instance_norm", x, *statistics[:2], eps=1e-3)
    yield case("group_norm", x, *statistics[:2], groups=3, shapes=["N, 6, H, W"])
    rows = real(2, 3, 8)
    yield case("layer_norm", rows, real(8), real(8), shapes=["N, S, 8"])
    yield case("layer_norm", rows, name="plain")
    yield case("layer_norm", rows, None, real(1), axis=1, name="bias")
    yield case("layer_norm", rows, shapes=["N, S, D"], name="open")
    yield case("layer_norm", real(2, 8, dtype=np.float64), real(8, dtype=np.float64))
    yield case("rms_norm", rows, real(8), shapes=["N, S, 8"])
    yield case("rms_norm", rows, axis=1, name="plain")
    yield case("lrn", x, size=3, alpha=0.1)
    yield case("lrn", x, size=4, alpha=0.1, bias=2.0, shapes=["N, 6, H, W"], name="even")


def _linear() -> Iterator[Case]:
    yield case("matmul", real(2, 3, 4), real(4, 5), shapes=["N, S, 4"])
    yield case("matmul", real(4), real(2, 4, 3), name="row")
    yield case("matmul", whole(3, 4, dtype=np.int8), whole(4, 2, dtype=np.int8))
    yield case("linear", real(3, 4), real(4, 5), real(5), shapes=["N, 4"])
    yield case("linear", real(2, 3, 4), real(4, 5), real(5), name="rows")
    yield case("linear", real(2, 3, 4), real(4, 5), name="plain")
    yield case("einsum", real(2, 3, 4), real(2, 5, 4), equation="bsd,bld->bsl")
    yield case("einsum", whole(3, 3, dtype=np.int32), equation="ii")
    a, b = whole(3, 4, dtype=np.uint8), whole(4, 5, dtype=np.int8)
    yield case("matmul_integer", a, b)
    yield case("matmul_integer", a, b, indices(3, dtype=np.uint8).reshape(()), whole(5, dtype=np.int8), name="zeros")
    yield case("matmul_integer", a, b, whole(3, dtype=np.uint8), name="rows")
    q, k, v = real(2, 4, 3, 8), real(2, 4, 5, 8), real(2, 4, 5, 6)
    named = ["B, 4, S, 8", "B, 4, L, 8", "B, 4, L, 6"]
    yield case("attention", q, k, v, shapes=named)
    yield case("attention", q, k, v, truth(2, 1, 3, 5), scale=0.3, shapes=[*named, "B, 1, S, L"], name="mask")
    yield case("attention", q, k, v, real(3, 5), name="added")
    yield case("attention", q, k, v, np.full((3, 5), -np.inf, np.float32), name="blind")
    yield case("attention", q, k, v, causal=True, shapes=[*named], name="causal")
    yield case("attention", k, k, k, causal=True, name="square")
    yield case("attention", q, k[:, :2], v[:, :2], causal=True, shapes=["B, 4, S, 8"], name="grouped")
    yield case("attention", q[0], k[0], v[0], np.zeros((3, 5), bool), name="rank3")


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
        yield case("depth_to_space", whole(1, 8, 2, 3), block=2, mode=mode, shapes=["N, 8, H, W"], name=mode)
    yield case("space_to_depth", real(1, 2, 4, 6), block=2)
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
    places = np.stack([_RNG.permutation(4)[:2] for _ in range(15)]).T.reshape(2, 3, 5).transpose(1, 0, 2).copy()
    for reduction, since in (("none", 17), ("add", 17), ("mul", 17), ("max", 18), ("min", 18)):
        rest: dict[str, Any] = {"reduction": reduction, "since": since, "name": reduction}
        yield case("scatter_elements", x, places, real(3, 2, 5), axis=1, **rest)
        yield case("scatter_nd", x, indices([0, 1], [2, -1]), real(2, 5), **rest)


def _windows() -> Iterator[Case]:
    x, w = real(2, 4, 9, 8), real(6, 4, 3, 3)
    named = ["N, 4, H, W"]
    yield case("conv", x, w, real(6), strides=[2, 1], pads=[1, 0, 2, 1], shapes=named, rtol=2e-5)
    yield case("conv", x, real(4, 1, 3, 3), groups=4, dilations=2, name="depthwise")
    for auto_pad in ("same_upper", "same_lower"):
        yield case("conv", x, w, strides=2, auto_pad=auto_pad, shapes=named, name=auto_pad, rtol=2e-5)
        yield case("avg_pool", x, kernel=[3, 2], strides=2, auto_pad=auto_pad, shapes=named, name=auto_pad)
        yield case("max_pool", x, kernel=[3, 2], strides=2, auto_pad=auto_pad, shapes=named, name=auto_pad)
        yield case("deconv", x, real(4, 2, 3, 3), strides=2, auto_pad=auto_pad, name=auto_pad, rtol=2e-5)
    yield case("conv", real(1, 3, 7), real(2, 3, 3), name="1d")
    yield case("deconv", x, real(4, 2, 3, 3), real(2), strides=2, pads=1, output_pads=1, shapes=named, rtol=2e-5)
    yield case("deconv", x, real(4, 2, 3, 3), strides=2, output_shape=[18, 17], name="shape", rtol=2e-5)
    xi, wi = whole(1, 4, 6, 5, dtype=np.uint8, high=99), whole(2, 4, 3, 3, dtype=np.int8, low=-99, high=99)
    scalar = indices(7, dtype=np.uint8)
    yield case("conv_integer", xi, wi, pads=1)
    yield case("conv_integer", xi, wi, scalar, indices(3, dtype=np.int8), pads=1, name="zeros")
    yield case("conv_integer", xi, wi, scalar, whole(2, dtype=np.int8), pads=1, name="channels")
    yield case("max_pool", x, kernel=3, strides=2, pads=1, shapes=named)
    yield case("max_pool", x, kernel=3, strides=2, ceil_mode=True, dilations=2, shapes=named, name="ceil")
    yield case("max_pool", whole(1, 2, 7, 7, dtype=np.int64), kernel=3, strides=2, pads=1, shapes=["N, 2, H, W"])
    yield case("max_pool", whole(1, 2, 7, dtype=np.uint8), kernel=2)
    yield case("max_pool_with_indices", x, kernel=2, strides=2, ceil_mode=True)
    for padded in (False, True):
        rest = {"count_include_pad": padded, "name": f"pad{padded:d}"}
        yield case("avg_pool", x, kernel=3, strides=2, pads=1, shapes=named, **rest)
        rest["name"] += "_ceil"
        yield case("avg_pool", x, kernel=3, strides=3, pads=1, ceil_mode=True, shapes=named, **rest)
    yield case("avg_pool", x, kernel=2, dilations=3, name="dilated")
    yield case("lp_pool", x, kernel=3, strides=2, pads=1)
    yield case("lp_pool", x, kernel=3, strides=2, ceil_mode=True, p=3, shapes=named, name="ceil")
    yield case("global_avg_pool", x, shapes=named)
    yield case("global_max_pool", x)
    yield case("global_avg_pool", real(2, 4), name="flat")
    for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        yield case("resize", x, scales=[1, 1, 2, 1.5], mode="linear", coordinates=coordinates, name=coordinates)
    yield case("resize", x, scales=[1, 1, 2, 2], shapes=named, name="nearest")
    yield case(
        "resize", x, sizes=[Dimension("N"), 4, Dimension("2*H"), 5], mode="cubic", shapes=named, name="cubic", rtol=5e-5
    )
    yield case("resize", x, indices(2, 4, 5, 5), mode="linear", name="tensor")
    yield case("resize", x, sizes=[2, 4, 5, 5], mode="linear", antialias=True, since=18, name="antialias")
    yield case("resize", x, scales=[1, 1, 2, 3], mode="linear", coordinates="half_pixel_symmetric", name="symmetric")
    symmetric: dict[str, Any] = {"coordinates": "half_pixel_symmetric", "mode": "linear", "since": 19}
    yield case("resize", x, scales=[1, 1, 0.7, 0.6], name="symmetric_part", **symmetric)


def _recurrent() -> Iterator[Case]:
    hidden, features = 3, 4
    x = real(5, 2, features)
    named = ["S, B, 4"]
    lengths = indices(3, 5, dtype=np.int32)
    for op, gates, states in (("lstm", 4, 2), ("gru", 3, 1), ("rnn", 1, 1)):

        def weights(d: int, gates: int = gates) -> list[Array]:
            return [real(d, gates * hidden, features), real(d, gates * hidden, hidden), real(d, 2 * gates * hidden)]

        first = [real(1, 2, hidden) for _ in range(states)]
        yield case(op, x, *weights(1), hidden=hidden, shapes=named)
        yield case(op, x, *weights(1), lengths, *first, hidden=hidden, name="states")
        yield case(op, x, *weights(2), lengths, hidden=hidden, direction="bidirectional", name="both")
        turned = [np.ascontiguousarray(s.transpose(1, 0, 2)) for s in first]
        x_turned = np.ascontiguousarray(x.transpose(1, 0, 2))
        rest: dict[str, Any] = {"direction": "reverse", "batch_first": True, "name": "batch_first"}
        yield case(op, x_turned, *weights(1), None, *turned, hidden=hidden, **rest)
    peephole = [*_lstm(hidden, features), None, None, None, real(1, 3 * hidden)]
    functions = ["hard_sigmoid", "tanh", "leaky_relu"]
    yield case("lstm", x, *peephole, hidden=hidden, clip=0.5, activations=functions, alpha=[0.3], name="peephole")
    yield case("lstm", x, *_lstm(hidden, features), hidden=hidden, input_forget=True, name="input_forget")
    weights_of_gru = [real(1, 9, 4), real(1, 9, 3), real(1, 18)]
    yield case("gru", x, *weights_of_gru, hidden=3, linear_before_reset=True, name="linear_before_reset")


def _lstm(hidden: int, features: int) -> list[Array]:
    return [real(1, 4 * hidden, features), real(1, 4 * hidden, hidden), real(1, 8 * hidden)]


def _quantized() -> Iterator[Case]:
    x = real(2, 6, 4)
    one, many = indices(0.1, dtype=np.float32).reshape(()), real(6, low=0.05, high=0.2)
    yield case("quantize_linear", x, one)
    yield case("quantize_linear", x, many, whole(6, dtype=np.int8), dtype="i8", name="channels")
    yield case("quantize_linear", x, one, dtype="i16", name="i16")
    yield case("quantize_linear", x, real(2, 3, 4, low=0.05, high=0.2), block=2, dtype="i8", name="block")
    yield case("quantize_linear", x.astype(np.float16), many.astype(np.float16), name="f16")
    yield case("quantize_linear", whole(5, dtype=np.int32), indices(2, dtype=np.int32).reshape(()))
    yield case("quantize_linear", real(3, dtype=np.float64), np.asarray(0.1))
    q = whole(2, 6, 4, dtype=np.uint8, high=200)
    yield case("dequantize_linear", q, one, indices(100, dtype=np.uint8).reshape(()))
    yield case("dequantize_linear", q, many, whole(6, dtype=np.uint8), name="channels")
    yield case("dequantize_linear", q, real(2, 3, 4), whole(2, 3, 4, dtype=np.uint8), block=2, name="block")
    yield case("dequantize_linear", q, real(2, 2, 4), block=4, name="cut", shapes=["N, 6, 4", "N, 2, 4"])
    yield case("dequantize_linear", whole(2, 6, 4, dtype=np.int32), many, whole(6, dtype=np.int32))
    yield case("dequantize_linear", whole(2, 6, 4, dtype=np.int16), many, whole(6, dtype=np.int16))
    yield case("dynamic_quantize_linear", x)


def _control() -> Iterator[Case]:
    f32, i64 = BY_NAME["f32"], BY_NAME["i64"]
    x = real(3, 4)

    def branches(b: Builder, inputs: Sequence[Tensor | None]) -> list[Graph]:
        graphs = []
        for op in ("relu", "neg"):
            with b.region([]) as r:
                (y,) = b.layer(op, inputs[1], name="inner")
                graphs.append(r.finish([y, y]))
        return graphs

    def passed(b: Builder, inputs: Sequence[Tensor | None]) -> list[Graph]:
        """Branches that yield what is outside of them."""
        graphs = []
        for _ in range(2):
            with b.region([]) as r:
                assert inputs[1] is not None
                graphs.append(r.finish([inputs[1]]))
        return graphs

    for condition in (True, False):
        rest: dict[str, Any] = {"regions": branches, "used": 1, "name": str(condition)}
        yield case("if", np.asarray(condition), x, **rest)
    yield case("if", np.asarray(True), x, regions=passed, used=1, name="passed")

    def step(b: Builder, inputs: Sequence[Tensor | None]) -> list[Graph]:
        with b.region([("h", TensorType(f32, (4,))), ("x_t", TensorType(f32, (4,)))]) as r:
            (y,) = b.layer("add", r.inputs[0], r.inputs[1], name="sum")
            (z,) = b.layer("mul", y, y, name="square")
            return [r.finish([y, z])]

    yield case("scan", real(4), x, carried=1, regions=step, shapes=[None, "S, 4"])
    back = {"axes": [1], "reverse": [True], "out_axes": [1], "out_reverse": [True]}
    yield case("scan", real(4), x.T.copy(), carried=1, regions=step, name="turned", **back)

    def count(b: Builder, inputs: Sequence[Tensor | None]) -> list[Graph]:
        """Goes on while the total is below 5; reads the size of an outer tensor."""
        with b.region([("i", TensorType(i64, ())), ("total", TensorType(f32, ()))]) as r:
            (number,) = b.layer("cast", r.inputs[0], name="number", to="f32")
            (total,) = b.layer("add", r.inputs[1], number, name="grown")
            (go,) = b.layer("less", total, b.constant(np.asarray(5, np.float32)), name="go")
            (row,) = b.layer("expand", total, name="row", shape=[parse_dim("S")])
            return [r.finish([go, total, row])]

    zero, yes = np.zeros((), np.float32), np.asarray(True)
    shared: dict[str, Any] = {"regions": count, "used": 3, "shapes": [None, None, None, "S"]}
    yield case("loop", None, yes, zero, real(3), maximum=9, name="while", **shared)
    yield case("loop", np.asarray(7), None, zero, real(3), maximum=9, name="for", **shared)
    yield case("loop", np.asarray(30), yes, zero, real(3), maximum=2, name="both", **shared)


def _special() -> Iterator[Case]:
    x = real(1, 2, 5, 4)
    grid = real(1, 3, 3, 2, low=-1.2, high=1.2)
    for mode in ("linear", "nearest", "cubic"):
        yield case("grid_sample", x, grid, mode=mode, name=mode)
    for padding in ("border", "reflection"):
        yield case("grid_sample", x, grid, padding=padding, align_corners=True, name=padding)
    theta = real(2, 2, 3)
    yield case("affine_grid", theta, shape=[2, 1, 3, 4])
    yield case("affine_grid", theta, indices(2, 1, 3, 4), align_corners=True, name="corners")
    offset, weight = real(1, 18, 3, 2, low=-0.5, high=0.5), real(3, 2, 3, 3)
    yield case("deform_conv", x, weight, offset, real(3), real(1, 9, 3, 2), since=19, rtol=5e-5)
    rois = indices([0, 0, 3, 4], [1, 0, 3, 3], dtype=np.float32)
    yield case("roi_align", x, rois, indices(0, 0), height=2, width=2, sampling=2)
    boxes = np.sort(real(1, 6, 4, low=0, high=5).reshape(1, 6, 2, 2), axis=2).reshape(1, 6, 4)
    limits = [indices(3), indices(0.3, dtype=np.float32), indices(0.2, dtype=np.float32)]
    yield case("non_max_suppression", boxes, real(1, 2, 6, low=0, high=1), *limits)
    yield case("col2im", real(1, 8, 9), image=[4, 4], block=[2, 2], since=18)
    places = indices(0, 3, 9, 14).reshape(1, 1, 2, 2)
    yield case("max_unpool", real(1, 1, 2, 2), places, kernel=2, strides=2)
    yield case("max_unpool", real(1, 1, 2, 2), places, kernel=2, strides=2, shape=[1, 1, 5, 6], name="shape")
    yield case("max_unpool", whole(1, 1, 2, 2), places, kernel=2, strides=2)
    yield case("det", real(2, 3, 3))
    yield case("bit_cast", whole(5, dtype=np.int8), to="u8")
    yield case("bit_cast", real(5), to="i32", since=26)
    for exclusive in (False, True):
        for reverse in (False, True):
            flags: dict[str, Any] = {"exclusive": exclusive, "reverse": reverse, "name": f"{exclusive:d}{reverse:d}"}
            yield case("cumprod", real(2, 3, 4), axis=1, shapes=["N, S, 4"], **flags)
    yield case("cumsum", real(2, 3), indices(1, dtype=np.int32), name="along")
    for function in ("sum", "log_sum_exp"):
        since = 17 if function == "sum" else 18
        yield case("reduce_by", real(2, 3, 3, low=0.1), indices(1), function=function, since=since, name=function)
    yield case("unique", indices(3, 1, 3, 2, 1, dtype=np.int32), axis=None)
    yield case("unique", indices([3, 1], [3, 1], [0, 2], dtype=np.float32), axis=0, sorted=False, name="axis")
    pool: dict[str, Any] = {
        "pool": [2, 3, 5, 4, 5, 6],
        "starts": [0, 2],
        "columns": [0, 1, 2, 3],
        "longest": 2,
        "skips": 1,
    }
    for mode in ("tf", "idf", "tfidf"):
        ids = indices([2, 5, 4, 3, 5, 6], [5, 4, 2, 2, 3, 3])
        yield case("tf_idf", ids, **pool, weights=[0.5, 2.0, 3.0, 4.0], mode=mode, name=mode)
    signal = real(2, 8, 1)
    yield case("dft", signal, axis=1, onesided=True)
    yield case("dft", real(2, 8, 2), axis=1, length=6, inverse=True, name="inverse")
    yield case("dft", real(2, 5, 2), inverse=True, onesided=True, axis=1, name="real_inverse")
    yield case("dft", real(2, 5, 2), inverse=True, onesided=True, axis=1, length=7, name="odd_inverse")
    yield case("stft", signal, None, real(4), step=2)
    yield case("stft", signal, indices(3, dtype=np.int32).reshape(()), length=4, name="hop")
    bands = [np.asarray(n) for n in (4, 16, 8000)]
    yield case("mel_weights", *bands, np.asarray(0, np.float32), np.asarray(4000, np.float32))


CASES = tuple(cases())
