"""An engine as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trtn.backend.engine.compiled import SECTION as KERNELS
from trtn.backend.engine.compiled import Compiled, note_own
from trtn.backend.engine.container import Section, write_container
from trtn.backend.engine.encode import encode_network
from trtn.backend.engine.file import ALIGNMENT, WEIGHTS
from trtn.backend.runtime.engine import Engine
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import EngineError
from trtn.dsl.network import Tensor

__all__ = ["save_engine"]


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
