"""The LSTM over 8-bit weights that ONNX Runtime's quantiser makes: dynamic_quantize_lstm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Shape
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.linear import exact_product
from trtn.dsl.ops.quantization import dynamic_levels
from trtn.dsl.ops.recurrent import ATTRS, Lstm, Product

__all__ = ["DynamicQuantizeLstm"]


@dataclass(frozen=True, slots=True)
class _Quantized:
    """Levels [D, I, 4*H] with scales and zero points [D] or [D, 4*H]; without D where one direction was taken."""

    levels: Any
    scale: Any
    zero: Any

    def __getitem__(self, direction: int) -> _Quantized:
        return _Quantized(self.levels[direction], self.scale[direction], self.zero[direction])


class DynamicQuantizeLstm(Lstm):
    """An lstm whose products are made of 8-bit integers: x is rounded by its range, h at each step by its own,
    as dynamic_quantize_linear does it, and so their products with w and r are exact sums times two scales.

    w is [D, I, 4*H] and r [D, H, 4*H], transposed against lstm's; the value of a level is (level - zero) *
    scale, with a scale and a zero point for each direction [D] or for each of its columns [D, 4*H].
    Everything else is as in lstm. com.microsoft DynamicQuantizeLSTM of ONNX Runtime, which on processors
    without VNNI instructions saturates sums of two products at 16 bits.
    """

    signature = (
        "dynamic_quantize_lstm(x: f32, w: T, r: T, w_scale: f32, w_zero: T, r_scale: f32, r_zero: T,"
        " bias: f32?, lengths: i32?, h0: f32?, c0: f32?, peephole: f32?, *,"
        f" {ATTRS}, input_forget: bool = false) -> (y: f32, h: f32, c: f32)"
    )
    where = {"T": (BY_NAME["i8"], BY_NAME["u8"])}
    steps = True

    def _weight_shapes(self, i: Infer, directions: int, features: Dim) -> list[Shape]:
        columns = self.gates * i["hidden"]
        scales = [(directions, columns) if len(i.shape(n)) == 2 else (directions,) for n in (3, 4, 5, 6)]
        return [(directions, features, columns), (directions, i["hidden"], columns), *scales]

    def evaluate(
        self,
        xp: Any,
        x: Any,
        w: Any,
        r: Any,
        w_scale: Any,
        w_zero: Any,
        r_scale: Any,
        r_zero: Any,
        *rest: Any,
        **attrs: Any,
    ) -> Any:
        return self._forward(xp, x, _Quantized(w, w_scale, w_zero), _Quantized(r, r_scale, r_zero), *rest, **attrs)

    def _product(self, xp: Any, weights: _Quantized) -> Product:
        columns = weights.levels.astype(xp.float32)
        columns -= weights.zero

        def product(rows: Any, out: Any) -> None:
            levels, scale, zero = dynamic_levels(xp, rows)
            levels -= zero
            xp.multiply(
                exact_product(xp, levels, columns).astype(xp.float32, copy=False), scale * weights.scale, out=out
            )

        return product
