"""Problems as cuDNN graphs, in each of the forms in which a problem can be stated. Strides are those of the arrays, so
any layout is taken as it lies. Nothing here needs cuDNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from trtn.backend.problem import ArrayLayout, Problem, dense_strides
from trtn.backend.providers.base import TacticError
from trtn.backend.providers.cudnn.epilogue import epilogue
from trtn.backend.providers.cudnn.operands import (
    Stated,
    image,
    pack_channels_last,
    pack_transposed,
    rows,
    rows_as_image,
)
from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, TensorSpec
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor

__all__ = ["FullMask", "Graph", "forms_of", "graph_of"]

Pack = tuple[str, Callable[[Any], Any]]
"""The name of a weight's packed form, and what makes it."""


@dataclass(frozen=True, slots=True)
class FullMask:
    """A mask that each run writes out in full: for which tensor, from which input, in what shape."""

    uid: int
    number: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph and what its tensors are bound to."""

    spec: GraphSpec
    arguments: Mapping[int, int]
    """The number among the problem's inputs and outputs, by uid."""
    packs: Mapping[int, Pack]
    """How weights are packed, by uid."""
    mask: FullMask | None


def forms_of(problem: Problem) -> tuple[str, ...]:
    """The names of the forms that a problem of a group that is not refused may take."""
    op = problem.group.layers[0].op.name
    if op == "attention":
        return ("sdpa", "sdpa-full-mask") if _mask_of(problem) is not None else ("sdpa",)
    return ("conv",) if op == "conv" else ("matmul-t", "matmul", "conv1x1")


def graph_of(problem: Problem, form: str) -> Graph:
    """The graph of a problem in a form. Raises TacticError where its layouts don't allow that."""
    if form not in forms_of(problem):
        raise TacticError(f"there is no form `{form}` of it")
    arrays = (*problem.inputs, *problem.outputs)
    if not all(a.size for a in arrays):
        raise TacticError("an array without elements")
    if any(a.align < 16 for a in arrays):
        raise TacticError("an array does not start at a multiple of 16 bytes")
    draft = _Draft(problem)
    FORMS[form](draft)
    return draft.finish()


@dataclass(slots=True)
class _Draft:
    """A graph that is being stated."""

    problem: Problem
    tensors: list[TensorSpec] = field(default_factory=list)
    nodes: list[NodeSpec] = field(default_factory=list)
    arguments: dict[int, int] = field(default_factory=dict)
    packs: dict[int, Pack] = field(default_factory=dict)
    mask: FullMask | None = None
    output: TensorSpec | None = None

    def operand(self, number: int) -> Tensor:
        """The first layer's input of a number."""
        tensor = self.problem.group.layers[0].inputs[number]
        assert tensor is not None
        return tensor

    def layout(self, number: int) -> ArrayLayout:
        return self.problem.layout(self.operand(number))

    def number(self, tensor: Tensor) -> int:
        return next(n for n, t in enumerate(self.problem.group.inputs) if t is tensor)

    def tensor(self, tensor: Tensor, stated: Stated, pack: Pack | None = None) -> int:
        """One of the problem's inputs as a tensor of the graph; gives its uid."""
        uid = self.state(self.number(tensor), stated, tensor.dtype)
        if pack is not None:
            self.packs[uid] = pack
        return uid

    def state(self, number: int, stated: Stated, dtype: DType) -> int:
        uid = len(self.arguments) + 1
        self.arguments[uid] = number
        self.tensors.append(TensorSpec(uid, stated.dims, stated.strides, dtype.name))
        return uid

    def node(self, call: str, operands: Mapping[str, int], options: Mapping[str, Any] | None = None) -> int:
        """A node; gives the number of its result."""
        self.nodes.append(NodeSpec(call, tuple(operands.items()), tuple((options or {}).items())))
        return -len(self.nodes)

    def give(self, stated: Stated) -> None:
        """Let the last node's result be the problem's output."""
        uid = self.state(len(self.problem.inputs), stated, self.problem.outputs[0].dtype)
        self.output = self.tensors.pop()
        assert self.output.uid == uid

    def finish(self) -> Graph:
        assert self.output is not None
        spec = GraphSpec(tuple(self.tensors), tuple(self.nodes), self.output)
        return Graph(spec, self.arguments, self.packs, self.mask)


def _conv(draft: _Draft) -> None:
    attrs = draft.problem.group.layers[0].attrs
    count = len(draft.layout(0).shape) - 2
    lead = max(0, 2 - count)
    result = draft.node(
        "conv_fprop",
        {
            "image": draft.tensor(draft.operand(0), image(draft.layout(0))),
            "weight": draft.tensor(draft.operand(1), image(_channels_last(draft.layout(1))), CHANNELS_LAST),
        },
        {
            "pre_padding": (*[0] * lead, *attrs["pads"][:count]),
            "post_padding": (*[0] * lead, *attrs["pads"][count:]),
            "stride": (*[1] * lead, *attrs["strides"]),
            "dilation": (*[1] * lead, *attrs["dilations"]),
        },
    )
    _finish(draft, result, image, channel=1)


def _matmul(draft: _Draft) -> None:
    """The weight as it lies."""
    k, n = draft.layout(1).shape
    _product(draft, Stated((1, k, n), (k * n, *draft.layout(1).strides)), None)


def _matmul_transposed(draft: _Draft) -> None:
    k, n = draft.layout(1).shape
    _product(draft, Stated((1, k, n), (k * n, 1, k)), TRANSPOSED)


def _product(draft: _Draft, weight: Stated, pack: Pack | None) -> None:
    operands = {
        "A": draft.tensor(draft.operand(0), rows(draft.layout(0))),
        "B": draft.tensor(draft.operand(1), weight, pack),
    }
    _finish(draft, draft.node("matmul", operands), rows, channel=2)


def _conv_1x1(draft: _Draft) -> None:
    """A product as a convolution with a window of one: its plans reach kernels that products don't have."""
    k, n = draft.layout(1).shape
    result = draft.node(
        "conv_fprop",
        {
            "image": draft.tensor(draft.operand(0), rows_as_image(draft.layout(0))),
            "weight": draft.tensor(draft.operand(1), Stated((n, k, 1, 1), (k, 1, k, k)), TRANSPOSED),
        },
        {"pre_padding": (0, 0), "post_padding": (0, 0), "stride": (1, 1), "dilation": (1, 1)},
    )
    _finish(draft, result, rows_as_image, channel=1)


def _finish(draft: _Draft, result: int, state: Callable[[ArrayLayout], Stated], channel: int) -> None:
    """The epilogue's nodes and the result. `channel` is the axis of the channels in the graph's tensors."""
    problem = draft.problem
    output = state(problem.outputs[0])
    for step in epilogue(problem.group) or ():
        if step.operand is None:
            result = draft.node(step.node, {"input": result}, dict(step.arguments))
            continue
        layout = problem.layout(step.operand)
        other = _vector(layout.size, len(output.dims), channel) if step.by_channel else state(layout)
        result = draft.node(step.node, {"a": result, "b": draft.tensor(step.operand, other)})
    draft.give(output)


def _attention(draft: _Draft) -> None:
    _sdpa(draft, full_mask=False)


def _attention_with_full_mask(draft: _Draft) -> None:
    _sdpa(draft, full_mask=True)


def _sdpa(draft: _Draft, *, full_mask: bool) -> None:
    attrs = draft.problem.group.layers[0].attrs
    operands = {name: draft.tensor(draft.operand(n), _as_is(draft.layout(n))) for n, name in enumerate("qkv")}
    if _mask_of(draft.problem) is not None:
        operands["bias"] = _bias(draft, full_mask)
    scale = attrs["scale"]
    options = {
        "attn_scale": draft.layout(0).shape[3] ** -0.5 if scale is None else scale,
        "generate_stats": False,
        "use_causal_mask": bool(attrs["causal"]),
    }
    draft.node("sdpa", operands, options)
    draft.give(_as_is(draft.problem.outputs[0]))


def _bias(draft: _Draft, full: bool) -> int:
    """The mask as what is added to the scores: as it lies, repeated by strides of 0, or written out by each run. A query
    that may look at no key has scores of -inf alone: cuDNN's plans give zeros for it, as the reference does."""
    mask, dtype = draft.operand(3), draft.operand(0).dtype
    layout = draft.layout(3)
    batch, _, queries, _ = draft.layout(0).shape
    shape = (batch, max(1, layout.shape[1]), queries, draft.layout(1).shape[2])
    if full:
        uid = draft.state(draft.number(mask), Stated(shape, dense_strides(shape)), dtype)
        draft.mask = FullMask(uid, draft.arguments[uid], shape)
        return uid
    if mask.dtype is not dtype:
        raise TacticError(f"a mask of {mask.dtype} has to be made {dtype} first")
    repeated = tuple(0 if d == 1 and n > 1 else s for d, n, s in zip(layout.shape, shape, layout.strides, strict=True))
    return draft.tensor(mask, Stated(shape, repeated))


CHANNELS_LAST: Pack = ("channels last", pack_channels_last)
TRANSPOSED: Pack = ("transposed", pack_transposed)
FORMS: Mapping[str, Callable[[_Draft], None]] = {
    "conv": _conv,
    "conv1x1": _conv_1x1,
    "matmul": _matmul,
    "matmul-t": _matmul_transposed,
    "sdpa": _attention,
    "sdpa-full-mask": _attention_with_full_mask,
}


def _mask_of(problem: Problem) -> Tensor | None:
    inputs = problem.group.layers[0].inputs
    return inputs[3] if len(inputs) > 3 else None


def _as_is(layout: ArrayLayout) -> Stated:
    return Stated(layout.shape, layout.strides)


def _channels_last(weight: ArrayLayout) -> ArrayLayout:
    """The layout of a packed convolution kernel."""
    channels, *window = weight.shape[1:]
    inner = [prod(window[n + 1 :]) * channels for n in range(len(window))]
    return ArrayLayout(weight.shape, (prod(window) * channels, 1, *inner), weight.dtype, True)


def _vector(size: int, rank: int, axis: int) -> Stated:
    """A vector along an axis of a tensor."""
    dims, strides = [1] * rank, [size] * rank
    dims[axis], strides[axis] = size, 1
    return Stated(tuple(dims), tuple(strides))
