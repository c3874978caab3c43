"""Attention: one layer, scores, mask and softmax inside."""

from __future__ import annotations

from trtn.backend.fusion.single import SingleLayer

__all__ = ["FUSION"]

FUSION = SingleLayer("attention", frozenset({"attention"}))
