"""Engine files: the plan as the header, the weights as one aligned section that is mapped when the engine is
loaded, and compiled kernels as another where there are any.

Header: {"engine": plan, "weights": [[dtype, shape, offset], ..], "provenance": {..}, "kernels": [..]}. No time stamps,
no paths, no addresses.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtn.backend.engine.container import Container, read_from

if TYPE_CHECKING:
    from trtn.backend.runtime.engine import Engine

__all__ = ["ALIGNMENT", "WEIGHTS", "load_engine"]

WEIGHTS: Final = "weights"
"""The name of their section."""
ALIGNMENT: Final = 64
"""What each weight's offset in it is a multiple of."""


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

    def read(container: Container) -> Engine:
        # imported here: a tenth of a second's modules, while another thread hashes the weights
        from trtn.backend.engine.reading import engine_of

        return engine_of(container, name, threads=threads, trusted=trusted, verify=verify)

    with _keeping():
        return read_from(path, read, verify=verify)


@contextmanager
def _keeping() -> Iterator[None]:
    """Within it Python does not look for garbage: what an engine is made of stays, and looking through all of it again
    and again takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
