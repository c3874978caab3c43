"""What an engine file says as an engine: everything is checked as if a stranger had written it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from trtn.backend.engine.compiled import SECTION as KERNELS
from trtn.backend.engine.compiled import is_own, read_compiled
from trtn.backend.engine.container import Container
from trtn.backend.engine.decode import Source, decode_network
from trtn.backend.engine.fields import DecodeError, demand, read_dtype, read_int, read_list
from trtn.backend.engine.file import ALIGNMENT, WEIGHTS
from trtn.backend.runtime.engine import Engine, untuned_warning
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dtypes import DType
from trtn.dsl.errors import EngineError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["engine_of"]

_log = logging.getLogger(__name__)

RANK_LIMIT = 32


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

        section = self.container.section(WEIGHTS)
        return np.frombuffer(section[self.offset : self.offset + self.nbytes], self.dtype.numpy).reshape(self.shape)


def engine_of(container: Container, name: str, *, threads: int | None, trusted: bool | None, verify: bool) -> Engine:
    """The engine of an open file; `name` is the file's in messages. The other arguments are those of `load_engine`.
    Raises EngineError."""
    try:
        decoded = decode_network(container.header["engine"], _sources(container))
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
    except (DecodeError, KeyError) as e:
        message = f"{name}: section `header` is damaged: {e}"
        raise EngineError(message, [Diagnostic("E0703", message)]) from None
    if engine.untuned:
        _log.warning("%s", untuned_warning(engine))
    return engine


def _sources(container: Container) -> list[Source]:
    """The weight table, each row within the section."""
    size = len(container.section(WEIGHTS)) if WEIGHTS in container.names else 0
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
