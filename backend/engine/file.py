"""Engine files: the plan as the header, the weights as one aligned section that is mapped when the engine is
loaded, and compiled kernels as another where there are any.

Header: {"engine": plan, "weights": [[dtype, shape, offset], ..], "provenance": {..}, "kernels": [..]}. No time stamps,
no paths, no addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtn.backend.engine.compiled import SECTION as KERNELS
from trtn.backend.engine.compiled import Compiled, is_own, note_own, read_compiled
from trtn.backend.engine.container import Container, Section, read_container, write_container
from trtn.backend.engine.decode import Source, decode_network
from trtn.backend.engine.encode import encode_network
from trtn.backend.engine.fields import DecodeError, demand, read_dtype, read_int, read_list
from trtn.backend.runtime.engine import Engine, untuned_warning
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dtypes import DType
from trtn.dsl.errors import EngineError
from trtn.dsl.network import Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["load_engine", "save_engine"]

_log = logging.getLogger(__name__)

ALIGNMENT = 64
SECTION = "weights"
RANK_LIMIT = 32


@dataclass(frozen=True, slots=True)
class _Row:
    tensor: Tensor
    offset: int
    nbytes: int


def _rows(engine: Engine) -> tuple[list[_Row], int]:
    rows = []
    offset = 0
    for t in engine.weights:
        assert t.weight is not None
        offset += -offset % ALIGNMENT
        rows.append(_Row(t, offset, t.weight.nbytes))
        offset += t.weight.nbytes
    return rows, offset


def save_engine(engine: Engine, path: str | Path, *, kernels: bool) -> None:
    """Write an engine file; complete or not at all. With `kernels` it has the compiled code of what runs at the tuned
    points. Raises EngineError where it can't be written."""
    compiled = Compiled.of(engine.kernels.binaries() if kernels else {})
    rows, total = _rows(engine)
    header: dict[str, object] = {
        "engine": encode_network(
            engine.network,
            engine.groups,
            engine.points,
            {id(r.tensor): n for n, r in enumerate(rows)},
        ),
        "weights": [[r.tensor.dtype.name, list(r.tensor.shape), r.offset] for r in rows],
        "provenance": engine.provenance,
    }

    def chunks() -> Iterator[bytes | memoryview]:
        import numpy as np

        written = 0
        for row in rows:
            yield bytes(row.offset - written)
            array = np.ascontiguousarray(engine.weight_array(row.tensor))
            yield array.reshape(-1).view(np.uint8).data
            written = row.offset + row.nbytes

    sections = [Section(SECTION, total, chunks)]
    if compiled.pieces:
        header[KERNELS] = compiled.table()
        sections.append(compiled.section())
        note_own(compiled)
    try:
        write_container(path, header, sections)
    except OSError as e:
        message = f"{path} can't be written: {e.strerror or e}"
        raise EngineError(message, [Diagnostic("E0710", message)]) from None


@dataclass(frozen=True, slots=True, eq=False)
class MappedSource:
    """A weight inside a loaded engine file."""

    container: Container
    offset: int
    dtype: DType
    shape: tuple[int, ...]
    nbytes: int

    def load(self) -> np.ndarray[Any, Any]:
        import numpy as np

        section = self.container.section(SECTION)
        return np.frombuffer(section[self.offset : self.offset + self.nbytes], self.dtype.numpy).reshape(self.shape)


def load_engine(
    path: str | Path | bytes, *, verify: bool = True, threads: int | None = None, trusted: bool | None = None
) -> Engine:
    """Read an engine file (or its bytes). Everything is data and is checked before use; weights are mapped,
    not copied.

    verify: whether the weights' hashes are checked now (reads the whole file once).
    threads: how many threads a run on the CPU takes; TRTN_NUM_THREADS without it, else what its libraries take.
    trusted: whether compiled kernels in the file are used: they are code, which nothing can check. By default those
    that this user's trtn has written on this machine; others are compiled anew.
    Raises EngineError for a file that is damaged, of another format, or not for this machine.
    """
    name = "engine" if isinstance(path, bytes) else str(path)
    container = read_container(path, verify=verify)
    try:
        sources = _sources(container)
        decoded = decode_network(container.header["engine"], sources)
        provenance = container.header["provenance"]
        if not isinstance(provenance, dict) or not isinstance(provenance.get("device"), str):
            raise DecodeError("the provenance is missing")
        compiled = read_compiled(container)
        is_trusted = is_own(compiled) if trusted is None else trusted
        if compiled.pieces and is_trusted and not verify:
            container.verify(KERNELS)
        engine = Engine(
            decoded.network,
            decoded.groups,
            decoded.points,
            provenance,
            threads=threads,
            compiled=compiled.pieces,
            trusted=is_trusted,
        )
        if engine.untuned:
            _log.warning("%s", untuned_warning(engine))
    except (DecodeError, KeyError) as e:
        message = f"{name}: section `header` is damaged: {e}"
        raise EngineError(message, [Diagnostic("E0703", message)]) from None
    return engine


def _sources(container: Container) -> list[Source]:
    """The weight table, each row within the section."""
    size = len(container.section(SECTION)) if SECTION in container.names else 0
    sources: list[Source] = []
    for row in read_list(container.header["weights"]):
        name, sizes, start = read_list(row, 3)
        dtype, shape, offset = read_dtype(name), tuple(read_int(n) for n in read_list(sizes)), read_int(start)
        demand(len(shape) <= RANK_LIMIT and all(n >= 0 for n in shape), "a row of the weight table has no proper shape")
        nbytes = dtype.itemsize * prod(shape)
        inside = offset >= 0 and offset + nbytes <= size and offset % ALIGNMENT == 0
        demand(inside, "a row of the weight table lies outside of its section")
        sources.append((dtype, shape, MappedSource(container, offset, dtype, shape, nbytes)))
    return sources
