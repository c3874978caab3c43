"""Files and standard input as sources: size, encoding and line length are checked before anything else looks at
them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from trtn.dsl.diagnostics import Sink, Source

__all__ = ["FILE_SIZE_LIMIT", "LINE_LENGTH_LIMIT", "read_source"]

FILE_SIZE_LIMIT = 256 * 1024**2
"""Bytes of a spec or a manifest."""
LINE_LENGTH_LIMIT = 1024**2
"""Bytes of one of its lines."""
_BOM = b"\xef\xbb\xbf"


def read_source(path: str | os.PathLike[str], sink: Sink) -> Source | None:
    """The text of a UTF-8 file, `-` for standard input; None after an error (E0106, E0107, E0108)."""
    name = os.fspath(path)
    shown = "standard input" if name == "-" else f"`{name}`"
    try:
        if name == "-":
            data = _read(sys.stdin.buffer)
        else:
            with Path(name).open("rb") as file:
                data = _read(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        sink.error("E0108", f"{shown} can't be read: {reason.lower()}")
        return None
    if data is None:
        sink.error("E0107", f"{shown} is larger than {FILE_SIZE_LIMIT} bytes")
        return None
    long = _long_line(data)
    if long is not None:
        sink.error("E0107", f"line {long} of {shown} is longer than {LINE_LENGTH_LIMIT} bytes")
        return None
    data = data.removeprefix(_BOM)
    try:
        return Source(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        sink.error(
            "E0106", f"{shown} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}, line {line}"
        )
        return None


def _read(file: BinaryIO) -> bytes | None:
    """The whole content, or None where there is more than the limit. Devices and pipes don't tell their size before."""
    try:
        if os.fstat(file.fileno()).st_size > FILE_SIZE_LIMIT:
            return None
    except OSError:
        pass  # standard input may be replaced by an object without a descriptor
    data = file.read(FILE_SIZE_LIMIT + 1)
    return data if len(data) <= FILE_SIZE_LIMIT else None


def _long_line(data: bytes) -> int | None:
    """The number of the first line over the limit, or None."""
    number, start = 1, 0
    while len(data) - start > LINE_LENGTH_LIMIT:
        end = data.find(b"\n", start, start + LINE_LENGTH_LIMIT + 1)
        if end < 0:
            return number
        number, start = number + 1, end + 1
    return None
