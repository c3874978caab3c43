"""The language's dtypes: names, sizes and their NumPy twins. The sub-byte and 8-bit floats come from ml_dtypes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from trtn.dsl.records import record

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ALL", "BOOL", "BY_NAME", "FLOATS", "INTS", "NUMBERS", "DType", "from_numpy"]


@record()
class DType:
    """A tensor element type. `bits` is the size in the network; storage of sub-byte types is one byte an element."""

    name: str
    kind: str  # "f" float, "i" signed, "u" unsigned, "b" bool
    bits: int

    def __str__(self) -> str:
        return self.name

    @property
    def itemsize(self) -> int:
        """Bytes an element takes in memory."""
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_narrow(self) -> bool:
        """Whether NumPy has no arithmetic for it: its arrays come from ml_dtypes."""
        return self.name in _ML_NAMES

    @property
    def wide(self) -> DType:
        """What arrays of it are computed in: f32 or i32 where it is narrow."""
        return self if not self.is_narrow else BY_NAME["f32" if self.is_float else "i32"]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that arrays of this type have."""
        return _numpy_dtype(self.name)


_KINDS = {
    "f64": ("f", 64), "f32": ("f", 32), "f16": ("f", 16), "bf16": ("f", 16), "f8e4m3": ("f", 8), "f8e5m2": ("f", 8),
    "f8e4m3fnuz": ("f", 8), "f8e5m2fnuz": ("f", 8), "f8e8m0": ("f", 8), "f4e2m1": ("f", 4),
    "i64": ("i", 64), "i32": ("i", 32), "i16": ("i", 16), "i8": ("i", 8), "i4": ("i", 4), "i2": ("i", 2),
    "u64": ("u", 64), "u32": ("u", 32), "u16": ("u", 16), "u8": ("u", 8), "u4": ("u", 4), "u2": ("u", 2),
    "bool": ("b", 8),
}  # fmt: skip
BY_NAME: dict[str, DType] = {name: DType(name, kind, bits) for name, (kind, bits) in _KINDS.items()}
ALL = tuple(BY_NAME.values())
BOOL = BY_NAME["bool"]
FLOATS = tuple(d for d in ALL if d.kind == "f")
INTS = tuple(d for d in ALL if d.is_integer)
NUMBERS = FLOATS + INTS

_NUMPY_NAMES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8",
    "u64": "uint64", "u32": "uint32", "u16": "uint16", "u8": "uint8", "bool": "bool",
}  # fmt: skip
_ML_NAMES = {
    "bf16": "bfloat16",
    "f8e4m3": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "f8e4m3fnuz": "float8_e4m3fnuz",
    "f8e5m2fnuz": "float8_e5m2fnuz",
    "f8e8m0": "float8_e8m0fnu",
    "f4e2m1": "float4_e2m1fn",
    "i4": "int4",
    "u4": "uint4",
    "i2": "int2",
    "u2": "uint2",
}


@cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    import numpy as np

    if name in _NUMPY_NAMES:
        return np.dtype(_NUMPY_NAMES[name])
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_NAMES[name]))
    return found


@cache
def _from_numpy_name(name: str) -> DType | None:
    for names in (_NUMPY_NAMES, _ML_NAMES):
        for ours, theirs in names.items():
            if theirs == name:
                return BY_NAME[ours]
    return None


def from_numpy(dtype: np.dtype[Any]) -> DType | None:
    """The language's dtype for a NumPy dtype in native byte order, or None where there is none (strings, objects)."""
    return _from_numpy_name(dtype.name)
