"""Softmax and its relatives: a row is read twice and written once."""

from __future__ import annotations

from trtn.backend.fusion.single import SingleLayer

__all__ = ["FUSION"]

FUSION = SingleLayer("softmax", frozenset({"hardmax", "log_softmax", "softmax"}))
