"""What `trtn diff` takes on either side: a spec, a folder, an ONNX model, an engine, each as it is or at a revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtn.cli.specs import choose
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.errors import SpecError

if TYPE_CHECKING:
    from trtn.backend.runtime import Engine
    from trtn.dsl.network import Network

__all__ = ["Side", "networks_of", "opened"]

ENGINE_MAGIC = b"TRTNENG"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. The layers of an `engine` are those that the passes of its build left."""

    title: str
    network: Network
    engine: Engine | None = None
    path: str = ""
    """Where it was read from: of a revision, a copy that nobody is to hear of."""


@contextmanager
def opened(name: str) -> Iterator[Path]:
    """The path that a name stands for: of `REV:path`, a copy that goes when the block ends. Raises SpecError."""
    from trtn.dsl.review.revisions import checked_out, is_revision

    if is_revision(name):
        with checked_out(name) as path:
            yield path
    else:
        yield Path(name)


def networks_of(name: str, path: Path, *, network: str | None, allow_outside: bool) -> dict[str, Side]:
    """The networks of a file, or of all specs in a folder, by what a comparison goes by: their file and name.

    Raises SpecError with every finding, ImportModelError, EngineError.
    """
    if not path.is_dir():
        found = _read(str(path), name, network, allow_outside)
        return {"" if len(found) == 1 else side.network.name: side for side in found}
    sides = {}
    for spec in sorted(path.rglob("*.trtn")):
        inside = spec.relative_to(path)
        if any(part.startswith(".") for part in inside.parts):
            continue
        for side in _read(str(spec), f"{name.rstrip('/')}/{inside}", network, allow_outside):
            sides[f"{inside}:{side.network.name}"] = side
    return sides


def _read(path: str, title: str, network: str | None, allow_outside: bool) -> list[Side]:
    if path.endswith(".onnx"):
        from trtn.dsl.convert.onnx import import_onnx

        return [Side(title, import_onnx(path))]
    if _is_engine(path):
        from trtn.backend.engine.file import load_engine

        engine = load_engine(path)
        return [Side(title, engine.network, engine)]
    return [Side(title, n, path=path) for n in _specs(path, title, network, allow_outside)]


def _specs(path: str, title: str, network: str | None, allow_outside: bool) -> list[Network]:
    from trtn.dsl.load import check_source
    from trtn.dsl.syntax import read_source

    sink = Sink()
    source: Source | None = read_source(path, sink)
    networks = [] if source is None else check_source(source, sink, allow_outside=allow_outside, only=network)
    if sink.has_errors:
        raise SpecError(f"{title} has findings", sink.diagnostics)
    return [choose(networks, title, network=network, target=None)[0]] if network is not None else networks


def _is_engine(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(ENGINE_MAGIC)) == ENGINE_MAGIC
    except OSError:
        return False  # whoever reads it as a spec says why it can't be read
