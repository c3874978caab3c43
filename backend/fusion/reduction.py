"""Reductions over axes."""

from __future__ import annotations

from trtn.backend.fusion.single import SingleLayer

__all__ = ["FUSION"]

FUSION = SingleLayer(
    "reduction",
    frozenset(
        {
            "arg_max",
            "arg_min",
            "masked_mean",
            "reduce_l1",
            "reduce_l2",
            "reduce_log_sum",
            "reduce_log_sum_exp",
            "reduce_max",
            "reduce_mean",
            "reduce_min",
            "reduce_prod",
            "reduce_sum",
            "reduce_sum_square",
        }
    ),
    frozenset({"reduced_pointwise"}),
)
