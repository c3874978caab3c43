"""The same bits, read as another dtype."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dtypes import DType
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__: list[str] = []


class BitCast(Op):
    """The bits of each element read as an element of `to`, which has as many. ONNX BitCast."""

    signature = "bit_cast(x: any, *, to: dtype) -> to"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        if i.dtype(0).bits != i["to"].bits:
            i.fail(
                "E0302",
                f"`bit_cast` of {i.dtype(0)} to {i['to']}: {i.dtype(0).bits} and {i['to'].bits} bits",
                inputs=[0],
            )
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, *, to: DType) -> Any:
        return x.view(to.numpy)
