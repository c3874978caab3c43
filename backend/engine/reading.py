"""What an engine file says as an engine: everything is checked as if a stranger had written it."""

from __future__ import annotations

import logging
from dataclasses import fields
from math import prod
from typing import TYPE_CHECKING, Any

from trtn.backend.blocking import Blocking
from trtn.backend.engine.compiled import SECTION as KERNELS
from trtn.backend.engine.compiled import is_own, read_compiled
from trtn.backend.engine.container import Container
from trtn.backend.engine.decode import Source, decode_network
from trtn.backend.engine.fields import DecodeError, demand, read_dtype, read_int, read_list, read_object
from trtn.backend.engine.file import ALIGNMENT, WEIGHTS
from trtn.backend.runtime.engine import Engine, untuned_warning
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dtypes import DType
from trtn.dsl.errors import EngineError
from trtn.dsl.records import record

if TYPE_CHECKING:
    import numpy as np

__all__ = ["engine_of"]

_log = logging.getLogger(__name__)

RANK_LIMIT = 32
_ORDER = frozenset(field.name for field in fields(Blocking))


@record(eq=False)
class MappedSource:
    """A weight inside a loaded engine file, in the order of `blocking` where there is one."""

    container: Container
    offset: int
    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    blocking: Blocking | None

    def load(self) -> np.ndarray[Any, Any]:
        found = self.packed()
        return found.reshape(self.shape) if self.blocking is None else self.blocking.unpack(found, self.shape)

    def packed(self) -> np.ndarray[Any, Any]:
        import numpy as np

        section = self.container.section(WEIGHTS)
        return np.frombuffer(section[self.offset : self.offset + self.nbytes], self.dtype.numpy)


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
        name, sizes, start, order = read_list(row, 4)
        dtype, shape, offset = read_dtype(name), tuple(read_int(n) for n in read_list(sizes)), read_int(start)
        demand(len(shape) <= RANK_LIMIT and all(n >= 0 for n in shape), "a row of the weight table has no proper shape")
        blocking = None if order is None else _blocking(order, shape)
        nbytes = dtype.itemsize * (prod(shape) if blocking is None else blocking.size)
        inside = offset >= 0 and offset + nbytes <= size and offset % ALIGNMENT == 0
        demand(inside, "a row of the weight table lies outside of its section")
        sources.append((dtype, shape, MappedSource(container, offset, dtype, shape, nbytes, blocking)))
    return sources


def _blocking(row: Any, shape: tuple[int, ...]) -> Blocking:
    """The order of a weight's elements, in which each of them has one place."""
    given = read_object(row)
    demand(given.keys() == _ORDER, "the order of a weight has other fields")
    axes, strides, order = (_numbers(given[name]) for name in ("shape", "strides", "order"))
    blocks = tuple(_numbers(pair, 2) for pair in read_list(given["blocks"]))
    fits = 0 < len(axes) == len(strides) == len(order) and len(axes) + len(blocks) <= RANK_LIMIT
    found = Blocking(axes, strides, order, tuple((axis, size) for axis, size in blocks))
    demand(fits and prod(axes) == prod(shape) and found.is_whole, "a weight's elements have no such order")
    return found


def _numbers(row: Any, length: int | None = None) -> tuple[int, ...]:
    return tuple(read_int(n) for n in read_list(row, length))
