"""safetensors: a length, a JSON header, the tensors' bytes. Read here because the package copies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.weights.mapped import Bytes, damaged
from trtn.dsl.weights.storage import Entry, KeyedStorage, view_as

__all__ = ["DTYPES", "PACKED_AS", "open_safetensors"]

DTYPES: dict[str, DType] = {
    theirs: BY_NAME[ours]
    for theirs, ours in {
        "F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "F8_E4M3": "f8e4m3", "F8_E5M2": "f8e5m2",
        "I64": "i64", "I32": "i32", "I16": "i16", "I8": "i8",
        "U64": "u64", "U32": "u32", "U16": "u16", "U8": "u8", "BOOL": "bool",
    }.items()
}  # fmt: skip
# What the format has no word for takes a byte an element: small integers by value, floats by their bits.
PACKED_AS = {
    "I8": (BY_NAME["i4"], BY_NAME["i2"]),
    "U8": tuple(BY_NAME[n] for n in ("u4", "u2", "f8e4m3fnuz", "f8e5m2fnuz", "f8e8m0", "f4e2m1")),
}
_LONGEST_HEADER = 100_000_000  # the format's own limit


def open_safetensors(path: Path, octets: Bytes) -> KeyedStorage:
    """The tensors of a mapped file. Raises StorageError (E0504) where the header is damaged or points outside
    the file.

    The tensors must lie one after the other without a gap, as the format demands.
    """
    header, start = _header(path, octets)
    size = len(octets) - start
    entries: dict[str, Entry] = {}
    extents: list[tuple[int, int]] = []
    for key, fields in header.items():
        if key == "__metadata__":
            continue
        word, shape, begin, end = _fields(path, key, fields)
        if end > size:
            raise damaged(path, f"tensor `{key}` ends at byte {end} of {size}")
        extents.append((begin, end))
        entries[key] = _entry(path, key, octets, word, shape, start + begin, end - begin)
    at = 0
    for begin, end in sorted(extents):
        if begin != at:
            raise damaged(path, f"gap or overlap between tensors at byte {min(begin, at)}")
        at = end
    if at != size:
        raise damaged(path, f"{size - at} bytes belong to no tensor")
    return KeyedStorage(path, entries)


def _header(path: Path, octets: Bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes start."""
    if len(octets) < 8:
        raise damaged(path, "shorter than a header's length")
    length = int.from_bytes(octets[:8].tobytes(), "little")
    if length > min(_LONGEST_HEADER, len(octets) - 8):
        raise damaged(path, f"header of {length} bytes in a file of {len(octets)}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        header = json.loads(octets[8 : 8 + length].tobytes().decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise damaged(path, "header is not a JSON object")
    return header, 8 + length


def _fields(path: Path, key: str, fields: Any) -> tuple[str, tuple[int, ...], int, int]:
    """A tensor's dtype word, shape, and the range of its bytes among the tensors' bytes."""
    if not isinstance(fields, dict):
        raise damaged(path, f"tensor `{key}` has no fields")
    word = fields.get("dtype")
    shape = _sizes(fields.get("shape"))
    extent = _sizes(fields.get("data_offsets"))
    if not isinstance(word, str):
        raise damaged(path, f"tensor `{key}` has no dtype")
    if shape is None:
        raise damaged(path, f"tensor `{key}` has no shape")
    if extent is None or len(extent) != 2 or extent[0] > extent[1]:
        raise damaged(path, f"tensor `{key}` has no valid offsets")
    return word, shape, extent[0], extent[1]


def _sizes(values: Any) -> tuple[int, ...] | None:
    if isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in values):
        return tuple(values)
    return None


def _entry(path: Path, key: str, octets: Bytes, word: str, shape: tuple[int, ...], at: int, size: int) -> Entry:
    dtype = DTYPES.get(word)
    if dtype is None:
        return Entry(word, shape, lambda: octets[at : at + size])
    if math.prod(shape) * dtype.itemsize != size:
        raise damaged(path, f"tensor `{key}` of {word}{list(shape)} has {size} bytes")
    return Entry(dtype, shape, lambda: view_as(octets, at, dtype, shape), PACKED_AS.get(word, ()))
