"""Syntax to network: files and imports resolved, blocks and repeats expanded, names, types and weights settled.

In: parsed files. Out: networks whose layers have types, and the relations over dims that the checker has yet to prove.
"""

from trtn.dsl.elaborate.context import EXPANSION_LIMIT
from trtn.dsl.elaborate.modules import Loader, Unit
from trtn.dsl.elaborate.networks import Elaborated, elaborate_network

__all__ = ["EXPANSION_LIMIT", "Elaborated", "Loader", "Unit", "elaborate_network"]
