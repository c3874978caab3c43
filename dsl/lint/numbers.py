"""Precision hazards: sums and exponentials in a dtype of few bits."""

from __future__ import annotations

from collections.abc import Iterator

from trtn.dsl.diagnostics import Span
from trtn.dsl.lint.base import Finding, Subject, rule
from trtn.dsl.network import Network, Target, walk
from trtn.dsl.syntax import ast

__all__: list[str] = []

NARROW = ("f16", "bf16")
NORMS = ("layer_norm", "rms_norm", "group_norm", "instance_norm")
SUMS = ("reduce_sum", "reduce_mean", "reduce_l2", "reduce_log_sum_exp", "cumsum")
SENSITIVE = frozenset([*NORMS, *SUMS, "softmax", "log_softmax", "exp", "pow"])
"""Ops whose results overflow or lose most of their bits first."""


@rule("L0131")
def narrow_sum(subject: Subject) -> Iterator[Finding]:
    """A target computes softmax, norms or sums in 16 bits without saying that it means to."""
    declared = {t.name: t for t in subject.module.items if isinstance(t, ast.Target)}
    for network in subject.networks.values():
        for target in network.targets:
            at_risk = _at_risk(network, target)
            item = declared.get(target.name)
            if at_risk and item is not None:
                field = next((f for f in item.fields if f.name == "precision"), None)
                span = subject.source.span(field.start, field.end) if field is not None else None
                listed = ", ".join(f"`{op}`" for op in at_risk)
                cure = f"`keep f32 for [{', '.join(at_risk)}]`, or measure with `trtn verify` and allow it"
                yield Finding(f"target `{target.name}` computes {listed} in {target.precision.default}", span, cure)


@rule("L0132")
def narrow_layer(subject: Subject) -> Iterator[Finding]:
    """A softmax, norm or sum is written over values of 16 bits, without `@precision` that says it is meant."""
    seen: set[Span] = set()
    for layer in subject.layers:
        given = layer.inputs[0] if layer.op.name in SENSITIVE else None
        if given is None or given.dtype.name not in NARROW:
            continue
        span = layer.origin.span
        if layer.origin.precision is None and span is not None and span not in seen:
            seen.add(span)
            cure = f"`@precision(f32)` above it, or `@precision({given.dtype})` where it is meant"
            yield Finding(f"`{layer.op.name}` computes in {given.dtype}", span, cure)


def _at_risk(network: Network, target: Target) -> list[str]:
    """The sensitive ops of a network that a target neither keeps wider nor says anything of, each once."""
    if target.precision.default is None or target.precision.default.name not in NARROW:
        return []
    found = {
        layer.op.name
        for layer in walk(network.graph)
        if layer.op.name in SENSITIVE and layer.op.name not in target.precision.keep and layer.origin.precision is None
    }
    return sorted(found)
