"""Networks as text: the inverse of loading. What is printed loads as the same network, and prints the same again."""

from __future__ import annotations

from trtn.dsl.network import Network
from trtn.dsl.printer.digest import network_digest
from trtn.dsl.printer.document import Document, write_document

__all__ = ["Document", "network_digest", "print_network", "write_document"]


def print_network(
    network: Network, *, weights_path: str | None = None, provenance: bool = False, types: bool = False
) -> str:
    """A network as a spec in canonical format: flat, one statement a layer, profiles and targets behind it.

    weights_path: the manifest, as the spec names it; by default `<network>.weights.trtn`.
    provenance: name the foreign node that a layer comes from (`@onnx("/layer/MatMul")`).
    types: state the type of every result; without it only where the data decides a size.

    Inputs, outputs, layers and dims keep their names; a name that something else has already gets a number behind it.
    Constants of at most 16 elements that have no path in a manifest are in the text, all others are weights of the
    manifest: its paths and tensors are those of `write_document(..).weights`.
    """
    return write_document(network, weights_path=weights_path, provenance=provenance, types=types).text
