"""Recurrent layers: the steps of a sequence, one after another."""

from __future__ import annotations

from trtn.backend.fusion.single import SingleLayer

__all__ = ["FUSION"]

FUSION = SingleLayer("recurrent", frozenset({"dynamic_quantize_lstm", "gru", "lstm", "rnn"}))
