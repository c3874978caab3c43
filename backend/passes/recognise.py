"""Activations that exporters spell out become one layer again: x * sigmoid(x) is silu(x), 0.5 * x * (1 +
erf(x / sqrt(2))) is gelu(x).
"""

from __future__ import annotations

from trtn.dsl.network import Network
from trtn.dsl.structure.patterns.activations import PATTERNS
from trtn.dsl.structure.recognise import apply_patterns

__all__ = ["PASS", "RecognisePass"]


class RecognisePass:
    """silu, mish, hard_swish, gelu and its tanh approximation.

    Numeric class: reassociated (constants may differ in their last digits, intermediate roundings are gone).
    """

    name = "recognise"
    after = frozenset({"algebra", "fold", "identity"})

    def run(self, network: Network) -> Network | None:
        return apply_patterns(network, PATTERNS)


PASS = RecognisePass()
