"""The fields of a plan's JSON, each read with its check. Whatever is wrong is a DecodeError that says where."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, Relation, parse_dim
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import ProfileRange

__all__ = [
    "DecodeError",
    "demand",
    "read_attr",
    "read_dim",
    "read_dtype",
    "read_int",
    "read_list",
    "read_object",
    "read_profile_range",
    "read_relation",
    "read_text",
]

_LARGEST = 2**62


class DecodeError(ValueError):
    """The JSON is not a plan. The message says where."""


def demand(condition: bool, message: str) -> None:
    if not condition:
        raise DecodeError(message)


def read_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError(f"{_shown(value)} is not an integer")
    demand(abs(value) < _LARGEST, "a number is too large")
    return value


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{_shown(value)} is not text")
    return value


def read_list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise DecodeError(f"{_shown(value)} is not a list{f' of {length}' if length is not None else ''}")
    return value


def read_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError(f"{_shown(value)} is not an object")
    return value


def read_dtype(value: Any) -> DType:
    dtype = BY_NAME.get(read_text(value))
    if dtype is None:
        raise DecodeError(f"no dtype {_shown(value)}")
    return dtype


def read_dim(value: Any) -> Dim:
    return parse_dim(value) if isinstance(value, str) else read_int(value)


def read_relation(row: Any) -> Relation:
    op, left, right = row
    return Relation(read_text(op), read_dim(left), read_dim(right))


def read_profile_range(row: Any) -> ProfileRange:
    minimum, optimum, maximum = (read_int(v) for v in row)
    demand(minimum <= optimum <= maximum, f"{minimum}, {optimum}, {maximum} is no range of a profile")
    return ProfileRange(minimum, optimum, maximum)


def read_attr(value: Any) -> Any:
    """An attribute's value; whether its op takes it is for inference to say."""
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "dtype":
            return read_dtype(inner)
        if kind == "dim":
            return parse_dim(read_text(inner))
        demand(kind == "float" and inner in ("inf", "-inf", "nan"), f"no attribute of kind {_shown(kind)}")
        return float(inner)
    if isinstance(value, list):
        return tuple(read_attr(v) for v in value)
    return read_int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}.."
