"""Windows, recurrences, quantisation, control flow, and what is rare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.dsl.convert.export_case import Array, Case, Dimension, case, indices, real, whole
from trtn.dsl.builder import Builder
from trtn.dsl.dims import parse_dim
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Graph, Tensor, TensorType

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    yield from _windows()
    yield from _recurrent()
    yield from _quantized()
    yield from _control()
    yield from _special()


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
    factors = indices(1, 1, 0.5, 1.7, dtype=np.float32)
    yield case("resize", x, None, factors, mode="linear", name="factors")
    for mode in ("nearest", "linear", "cubic"):
        yield case("resize", x, indices(2, 4, 5, 14), factors, mode=mode, name=f"both_{mode}", rtol=5e-5)
    yield case("resize", x, sizes=[2, 4, 5, 14], scales=[1, 1, 0.5, 1.7], coordinates="align_corners", name="corners")
    region = indices(0, 0, 0.2, 0.3, 1, 1, 0.7, 1.3, dtype=np.float32)
    crop: dict[str, Any] = {"mode": "linear", "coordinates": "crop", "extrapolation": 9.0}
    yield case("resize", x, None, None, region, sizes=[2, 4, 5, 6], name="crop", **crop)
    yield case("resize", x, None, factors, region, name="crop_factors", **crop)
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
    for name, levels, columns in (("columns", np.int8, (4 * hidden,)), ("u8", np.uint8, ())):
        # Levels to 60: sums of two products stay below 2^15, where ONNX Runtime saturates on some processors.
        eight_bit = [whole(2, n, 4 * hidden, dtype=levels, high=60) for n in (features, hidden)]
        steps = [real(2, *columns, low=0.005, high=0.02), np.zeros((2, *columns), levels)] * 2
        both: dict[str, Any] = {"hidden": hidden, "direction": "bidirectional", "name": name}
        yield case("dynamic_quantize_lstm", x, *eight_bit, *steps, real(2, 8 * hidden), shapes=named, **both)
    turned = [real(2, 1, hidden) for _ in range(2)]
    eight_bit = [whole(1, n, 4 * hidden, dtype=np.int8, high=60) for n in (features, hidden)]
    steps = [real(1, low=0.005, high=0.02), whole(1, dtype=np.int8)] * 2
    rest = {"hidden": hidden, "batch_first": True, "clip": 0.9, "name": "batch_first"}
    yield case("dynamic_quantize_lstm", x_turned, *eight_bit, *steps, None, None, *turned, **rest)
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
