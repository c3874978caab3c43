"""Determinants."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dtypes import FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__: list[str] = []


class Det(Op):
    """The determinants of square matrices in the last two axes: [.., M, M] -> [..]. f16 is computed in f32."""

    signature = "det(x: T) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=2)
        *lead, rows, columns = i.shape(0)
        i.equal(rows, columns, "`x` of `det` holds no square matrices", inputs=[0])
        return tuple(lead)

    def evaluate(self, xp: Any, x: Any) -> Any:
        wide = x.astype("float32") if x.dtype.name == "float16" else x
        return xp.asarray(xp.linalg.det(wide)).astype(x.dtype, copy=False)
