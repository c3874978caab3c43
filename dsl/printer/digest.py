"""One hash for what a network is, whichever files it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from trtn.dsl.network import Network, Weight
from trtn.dsl.printer.document import write_document
from trtn.dsl.printer.rewrite import expressible

__all__ = ["network_digest"]


def network_digest(network: Network) -> str:
    """`sha256:` and 64 hex digits, over the network's text (profiles and targets too) and the hashes of its weights.

    Comments, the spec's layout, its blocks, the names of inner tensors, and where its files lie don't count. Reads the
    weights whose manifest states no hash; raises BuildError where it can't.
    """
    from trtn.dsl.structure.arrange import arranged
    from trtn.dsl.structure.renaming import with_plain_names
    from trtn.dsl.weights.hashing import SCHEME, combine

    network = replace(network, graph=expressible(network.graph))
    # Paths come from the names of layers, in their first order: that is how a saved network gets its own.
    paths = {id(weight): path for path, weight in write_document(network).weights.items()}
    document = write_document(with_plain_names(arranged(network), paths), weights_path="weights.trtn")
    weights = combine((path, _digest(weight)) for path, weight in document.weights.items())
    return SCHEME + hashlib.sha256(f"{document.text}{weights}\n".encode()).hexdigest()


def _digest(weight: Weight) -> str:
    from trtn.dsl.weights.hashing import digest

    return weight.digest if weight.digest is not None else digest(weight.load())
