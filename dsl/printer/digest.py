"""One hash for what a network is, whichever files it comes from."""

from __future__ import annotations

import hashlib

from trtn.dsl.network import Network, Weight
from trtn.dsl.printer.document import write_document

__all__ = ["network_digest"]


def network_digest(network: Network) -> str:
    """`sha256:` and 64 hex digits, over the network's text (profiles and targets too) and the hashes of its weights.

    Comments, the spec's layout, its blocks, and where its files lie don't count. Reads the weights whose manifest
    states no hash; raises BuildError where it can't.
    """
    from trtn.dsl.weights.hashing import SCHEME, combine

    document = write_document(network, weights_path="weights.trtn")
    weights = combine((path, _digest(weight)) for path, weight in document.weights.items())
    return SCHEME + hashlib.sha256(f"{document.text}{weights}\n".encode()).hexdigest()


def _digest(weight: Weight) -> str:
    from trtn.dsl.weights.hashing import digest

    return weight.digest if weight.digest is not None else digest(weight.load())
