"""A network to files that load as the same network: the spec, its weight manifest, a safetensors file."""

from __future__ import annotations

from pathlib import Path

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import SpecError
from trtn.dsl.network import Network
from trtn.dsl.printer import Document, write_document
from trtn.dsl.structure import structured_document
from trtn.dsl.weights.atomic import replacing_all

__all__ = ["save"]

_SUFFIX = ".trtn"


def save(
    network: Network, path: str | Path, *, keep_storage: bool = False, provenance: bool = False, flat: bool = False
) -> None:
    """Write `<stem>.trtn`, and where the network has weights `<stem>.weights.trtn` and `<stem>.safetensors` beside it.

    path: the spec's file; `.trtn` is added where it is not there.
    keep_storage: weights that are in a file below the folder already stay there, and the manifest points at them.
    Otherwise all are copied, so that the three files are complete. Generated weights stay generators of the manifest.
    provenance: keep the foreign nodes' names as annotations.
    flat: write one statement a layer, without blocks, and all weights under the paths that they have.

    The files take their places when all are done, the spec last: a failure leaves what was there. Raises SpecError
    (E0111) where the folder can't be written to, BuildError where a weight can't be read or has changed.
    """
    target = Path(path)
    stem = target.with_suffix("") if target.suffix == _SUFFIX else target
    write = write_document if flat else structured_document
    document = write(network, weights_path=f"{stem.name}.weights{_SUFFIX}", provenance=provenance)
    try:
        _write(stem, document, keep_storage)
    except OSError as error:
        raise _unwritable(stem.with_name(stem.name + _SUFFIX), error) from None


def _write(stem: Path, document: Document, keep_storage: bool) -> None:
    with replacing_all() as new:
        if document.weights:
            from trtn.dsl.weights.writer import save_weights

            save_weights(stem, document.weights.items(), keep_files=keep_storage, new=new)
        new(stem.with_name(stem.name + _SUFFIX)).write(document.text.encode())


def _unwritable(path: Path, error: OSError) -> SpecError:
    reason = error.strerror or str(error)
    missing = not path.parent.is_dir()
    found = Diagnostic(
        "E0111",
        f"`{path}` can't be written: {f'no folder `{path.parent}`' if missing else reason}",
        help=f"make the folder first: `mkdir -p {path.parent}`" if missing else "",
    )
    return SpecError(str(found), [found])
