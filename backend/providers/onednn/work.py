"""How much there is to do in a problem, as far as it matters for the number of threads."""

from __future__ import annotations

from math import prod

from trtn.backend.problem import Problem

__all__ = ["is_small"]

PRODUCTS = 1 << 20
"""Multiplications, and elements, that one thread is done with in some 30 us."""
ELEMENTS = 1 << 15


def is_small(problem: Problem) -> bool:
    """Whether one thread is done with it before a second one would have been of use."""
    moving = sum(each.size for each in (*problem.inputs, *problem.outputs) if not each.constant)
    return moving <= ELEMENTS and _products(problem) <= PRODUCTS


def _products(problem: Problem) -> int:
    """Multiplications of the product that the group is about; each weight is taken as multiplied once where that is
    another layer."""
    group, out = problem.group, problem.outputs[0].size
    weights = sum(each.size for each in problem.inputs if each.constant)
    layer = group.layers[0]
    given = [problem.layout(t) for t in layer.inputs[:2] if t is not None and any(t is x for x in group.inputs)]
    if layer.op.name == "conv" and len(given) == 2:
        return out * prod(given[1].shape[1:])
    if layer.op.name == "deconv" and len(given) == 2:
        return given[0].size * prod(given[1].shape[1:])
    if layer.op.name in ("linear", "matmul", "matmul_integer") and given:
        return out * given[0].shape[-1]
    if group.kind in ("attention", "recurrent"):
        return weights * max(o.size for o in problem.outputs) + out * out
    return weights
