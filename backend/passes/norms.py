"""Normalisations that exporters spell out become one layer again: (x - mean) / sqrt(mean((x - mean)^2) + eps)
is layer_norm(x).
"""

from __future__ import annotations

from trtn.dsl.network import Network
from trtn.dsl.structure.patterns.norms import PATTERNS
from trtn.dsl.structure.recognise import apply_patterns

__all__ = ["PASS", "NormsPass"]


class NormsPass:
    """layer_norm and rms_norm from means, then scale and bias into them. Numeric class: reassociated."""

    name = "norms"
    after = frozenset({"algebra", "fold", "identity", "recognise"})

    def run(self, network: Network) -> Network | None:
        return apply_patterns(network, PATTERNS)


PASS = NormsPass()
