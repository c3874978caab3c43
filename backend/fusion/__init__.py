"""Fusion: which layers run as one step. A module here that binds FUSION is all that a kind of group takes."""

from trtn.backend.fusion.base import Fusion, discover
from trtn.backend.fusion.partition import partition, partition_graph
from trtn.backend.fusion.signature import signature

__all__ = ["Fusion", "discover", "partition", "partition_graph", "signature"]
