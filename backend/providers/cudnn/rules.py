"""Which groups cuDNN's graphs can express, whatever their sizes: a list of refusals for each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.cudnn.epilogue import epilogue
from trtn.dsl.network import Tensor

__all__ = ["DTYPES", "refusal"]

DTYPES = {"f16": "HALF", "bf16": "BFLOAT16", "f32": "FLOAT"}
"""cuDNN's names of the dtypes that graphs are made for. f32 runs on tensor cores, in TF32."""
HALVES = ("f16", "bf16")
LARGEST_HEAD = 128


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason, and when it applies."""

    reason: str
    applies: Callable[[Group], bool]


def refusal(group: Group) -> str:
    """Why cuDNN runs no group like this one; "" where it may."""
    rules = RULES.get((group.kind, group.layers[0].op.name))
    if rules is None:
        return f"no cuDNN graph for `{group.layers[0].op.name}` in {group.kind} groups"
    return next((rule.reason for rule in rules if rule.applies(group)), "")


def _input(group: Group, number: int) -> Tensor:
    tensor = group.layers[0].inputs[number]
    assert tensor is not None
    return tensor


def _mask(group: Group) -> Tensor | None:
    inputs = group.layers[0].inputs
    return inputs[3] if len(inputs) > 3 else None


def _heads_do_not_fit(group: Group) -> bool:
    sizes = (_input(group, 0).shape[3], _input(group, 2).shape[3])
    return any(not isinstance(d, int) or d % 8 or d > LARGEST_HEAD for d in sizes)


ALL = (
    Rule("more than one result", lambda g: len(g.outputs) != 1),
    Rule("a dtype without cuDNN graphs", lambda g: g.outputs[0].dtype.name not in DTYPES),
)
PRODUCT = (
    *ALL,
    Rule("several dtypes", lambda g: any(t.dtype is not g.outputs[0].dtype for t in g.inputs)),
    Rule("an epilogue that cuDNN's graphs don't have", lambda g: epilogue(g) is None),
)
CONV = (
    *PRODUCT,
    Rule("a rank other than 3, 4 and 5", lambda g: _input(g, 0).rank not in (3, 4, 5)),
    Rule("padding that depends on the shape", lambda g: g.layers[0].attrs["auto_pad"] != "none"),
    Rule("grouped convolution", lambda g: g.layers[0].attrs["groups"] != 1),
    Rule("the kernel is not a weight", lambda g: _input(g, 1).weight is None),
)
GEMM = (
    *PRODUCT,
    Rule("the right side is not a weight matrix", lambda g: _input(g, 1).weight is None or _input(g, 1).rank != 2),
    Rule("a vector", lambda g: _input(g, 0).rank < 2),
)
ATTENTION = (
    *ALL,
    Rule("more than attention in the group", lambda g: len(g.layers) > 1),
    Rule("ranks other than 4", lambda g: any(_input(g, n).rank != 4 for n in range(3))),
    Rule("dtypes other than f16 and bf16", lambda g: _input(g, 0).dtype.name not in HALVES),
    Rule("a mask of another rank", lambda g: (m := _mask(g)) is not None and m.rank != 4),
    Rule("a mask beside the causal one", lambda g: _mask(g) is not None and bool(g.layers[0].attrs["causal"])),
    Rule(
        "causal with more keys than queries",
        lambda g: bool(g.layers[0].attrs["causal"]) and _input(g, 0).shape[2] != _input(g, 1).shape[2],
    ),
    Rule(f"head sizes that are not multiples of 8 up to {LARGEST_HEAD}", _heads_do_not_fit),
)
RULES: Mapping[tuple[str, str], tuple[Rule, ...]] = {
    ("conv", "conv"): CONV,
    ("gemm", "linear"): GEMM,
    ("gemm", "matmul"): GEMM,
    ("attention", "attention"): ATTENTION,
}
"""By the group's kind and its first op."""
