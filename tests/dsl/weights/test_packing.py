"""Elements of less than a byte, packed as ONNX packs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.weights.packing import pack, packed_size, unpack

ELEMS = {"i4": "INT4", "u4": "UINT4", "i2": "INT2", "u2": "UINT2", "f4e2m1": "FLOAT4E2M1"}


@pytest.mark.parametrize("count", [0, 1, 3, 8, 9])
@pytest.mark.parametrize("name", list(ELEMS))
def test_agrees_with_onnx(name: str, count: int) -> None:
    dtype = BY_NAME[name]
    numbers = np.arange(count) % 5 - (2 if dtype.kind == "i" else 0)
    array = (numbers / 2 if dtype.is_float else numbers).astype(np.float32).astype(dtype.numpy)
    proto = onnx.numpy_helper.from_array(array, "x")
    assert proto.data_type == getattr(onnx.TensorProto, ELEMS[name])
    packed = pack(array, dtype)
    assert packed == proto.raw_data and len(packed) == packed_size(array.shape, dtype)
    back = unpack(np.frombuffer(packed, np.uint8), dtype, array.shape)
    assert back.dtype == dtype.numpy
    np.testing.assert_array_equal(back.astype(np.float32), array.astype(np.float32))
