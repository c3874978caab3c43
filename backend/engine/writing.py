"""An engine as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from trtn.backend.blocking import Blocking
from trtn.backend.engine.compiled import SECTION as KERNELS
from trtn.backend.engine.compiled import Compiled, note_own
from trtn.backend.engine.container import Section, write_container
from trtn.backend.engine.encode import encode_network
from trtn.backend.engine.file import ALIGNMENT, WEIGHTS
from trtn.backend.runtime.engine import Engine
from trtn.backend.runtime.weights import blockings_read
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import EngineError
from trtn.dsl.network import Tensor

__all__ = ["save_engine"]

FULL = 1.125
"""The size, in that of the plain weight, up to which one is kept in the order in which it is read."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A weight in the file. With `blocking` it is there in that order alone."""

    tensor: Tensor
    offset: int
    nbytes: int
    blocking: Blocking | None

    def to_json(self) -> list[Any]:
        t, order = self.tensor, None if self.blocking is None else asdict(self.blocking)
        return [t.dtype.name, list(t.shape), self.offset, order]


def _rows(engine: Engine) -> tuple[list[_Row], int]:
    blockings = _blockings(engine)
    rows = []
    offset = 0
    for t in engine.weights:
        assert t.weight is not None
        offset += -offset % ALIGNMENT
        blocking = blockings.get(id(t))
        nbytes = t.weight.nbytes if blocking is None else t.dtype.itemsize * blocking.size
        rows.append(_Row(t, offset, nbytes, blocking))
        offset += nbytes
    return rows, offset


def _blockings(engine: Engine) -> Mapping[int, Blocking]:
    """The weights, by tensor id, that kernels at the first tuned point, the optimum of the first profile, read in another
    order. Where others want them plain, they are made so when that happens. Small ones that would be filled up with many
    zeros stay as they are."""
    if engine.device != "cpu":
        return {}
    read = blockings_read(engine, engine.kernels.at(engine.points[0].sizes))
    return {key: blocking for key, blocking in read.items() if blocking.size <= FULL * prod(blocking.shape)}


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
        "weights": [r.to_json() for r in rows],
        "provenance": engine.provenance,
    }

    def chunks() -> Iterator[bytes | memoryview]:
        import numpy as np

        written = 0
        for row in rows:
            yield bytes(row.offset - written)
            array = np.ascontiguousarray(engine.weight_arrays.value(row.tensor))
            if row.blocking is not None:
                array = row.blocking.pack(array)
            yield array.reshape(-1).view(np.uint8).data
            written = row.offset + row.nbytes

    sections = [Section(WEIGHTS, total, chunks)]
    if compiled.pieces:
        header[KERNELS] = compiled.table()
        sections.append(compiled.section())
        note_own(compiled)
    try:
        write_container(path, header, sections)
    except OSError as e:
        message = f"{path} can't be written: {e.strerror or e}"
        raise EngineError(message, [Diagnostic("E0710", message)]) from None
