"""Reductions, orderings, normalisations, softmax."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import product
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_REDUCTIONS = {
    "ReduceSum": "reduce_sum", "ReduceMean": "reduce_mean", "ReduceMax": "reduce_max", "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod", "ReduceL1": "reduce_l1", "ReduceL2": "reduce_l2", "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp", "ReduceSumSquare": "reduce_sum_square",
}  # fmt: skip
_SOFTMAX = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "hardmax"}


@onnx_op(*_REDUCTIONS)
def _reduce(n: Call) -> Results:
    """The axes are an attribute in older opsets and an input in newer ones, at different versions; both are read."""
    axes = n.ints("axes")
    if axes is None and n.is_computed(1):
        function = _REDUCTIONS[n.node.op].removeprefix("reduce_")
        return n.emit("reduce_by", n.tensor(0), n.tensor(1), function=function, keepdims=n.flag("keepdims", True))
    if axes is None:
        axes = n.constants(1, "axes")
    if not axes:
        if n.flag("noop_with_empty_axes"):
            return _noop(n)
        axes = None
    return n.emit(_REDUCTIONS[n.node.op], n.tensor(0), axes=axes, keepdims=n.flag("keepdims", True))


def _noop(n: Call) -> Results:
    """A reduction over no axes at all: only the function of each element is left."""
    x = n.tensor(0)
    if n.node.op in ("ReduceL1", "ReduceL2"):
        return n.emit("abs", x)
    if n.node.op == "ReduceSumSquare":
        return n.emit("mul", x, x)
    return n.emit("log", x) if n.node.op == "ReduceLogSum" else x


@onnx_op("ArgMax", "ArgMin")
def _arg(n: Call) -> Results:
    op = "arg_max" if n.node.op == "ArgMax" else "arg_min"
    axis, keepdims, last = n.integer("axis", 0), n.flag("keepdims", True), n.flag("select_last_index")
    return n.emit(op, n.tensor(0), axis=axis, keepdims=keepdims, last=last)


@onnx_op("CumSum", "CumProd")
def _running(n: Call) -> Results:
    op, exclusive, reverse = n.node.op.lower(), n.flag("exclusive"), n.flag("reverse")
    if n.is_computed(1):
        return n.emit(op, n.tensor(0), n.tensor(1), exclusive=exclusive, reverse=reverse)
    axis = n.constants(1, "the axis")
    if axis is None or len(axis) != 1:
        refuse("it has no single axis")
    return n.emit(op, n.tensor(0), axis=axis[0], exclusive=exclusive, reverse=reverse)


@onnx_op("TopK")
def _top_k_by_attribute(n: Call) -> Results:
    return n.emit_all("top_k", n.tensor(0), k=n.integer("k"), axis=n.integer("axis", -1))


@onnx_op("TopK", since=10)
def _top_k(n: Call) -> Results:
    known = n.known(1)
    count = None if known is not None else n.tensor(1)
    k = known[0] if known is not None else None
    axis, largest, ordered = n.integer("axis", -1), n.flag("largest", True), n.flag("sorted", True)
    return n.emit_all("top_k", n.tensor(0), count, k=k, axis=axis, largest=largest, sorted=ordered)


@onnx_op(*_SOFTMAX)
def _softmax_of_matrix(n: Call) -> Results:
    """Before opset 13: over all axes from `axis` on, taken together."""
    x, op, axis = n.tensor(0), _SOFTMAX[n.node.op], n.integer("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if axis == x.rank - 1 or all(d == 1 for d in x.shape[axis + 1 :]):
        return n.emit(op, x, axis=axis)
    flat = n.emit("reshape", x, part="rows", shape=(*x.shape[:axis], product(x.shape[axis:])))
    return n.emit("reshape", n.emit(op, flat, part="flat", axis=-1), shape=x.shape)


@onnx_op(*_SOFTMAX, since=13)
def _softmax(n: Call) -> Results:
    return n.emit(_SOFTMAX[n.node.op], n.tensor(0), axis=n.integer("axis", -1))


@onnx_op("BatchNormalization")
def _batch_norm(n: Call) -> Results:
    if n.flag("training_mode"):
        refuse("its training mode is not supported")
    if not n.flag("spatial", True):
        refuse("statistics for each position (spatial=0) are not supported")
    x = n.tensor(0)
    # Statistics may be of a wider type than x.
    parameters = [
        n.cast(n.tensor(i), x.dtype, part) for i, part in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance"))
    ]
    return n.emit("batch_norm", x, *parameters, eps=tidy(n.number("epsilon", 1e-5)))


@onnx_op("InstanceNormalization")
def _instance_norm(n: Call) -> Results:
    return n.emit("instance_norm", n.tensor(0), n.tensor(1), n.tensor(2), eps=tidy(n.number("epsilon", 1e-5)))


@onnx_op("LayerNormalization")
def _layer_norm(n: Call) -> Results:
    x, axis, eps = n.tensor(0), n.integer("axis", -1), tidy(n.number("epsilon", 1e-5))
    y = n.emit("layer_norm", x, n.maybe(1), n.maybe(2), axis=axis, eps=eps)
    return (y, *_statistics(n, x, axis, eps)) if any(n.node.outputs[1:]) else y


def _statistics(n: Call, x: Tensor, axis: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation over the normalised axes, in f32: results that training asks for."""
    axes = tuple(range(axis + x.rank if axis < 0 else axis, x.rank))
    x = n.cast(x, BY_NAME["f32"], "wide")
    mean = n.emit("reduce_mean", x, part="mean", axes=axes, keepdims=True)
    centred = n.emit("sub", x, mean, part="centred")
    variance = n.emit(
        "reduce_mean", n.emit("mul", centred, centred, part="squares"), part="variance", axes=axes, keepdims=True
    )
    return mean, n.emit("rsqrt", n.emit("add", variance, n.like(eps, variance), part="shifted"), part="inverse")


@onnx_op("RMSNormalization")
def _rms_norm(n: Call) -> Results:
    return n.emit("rms_norm", n.tensor(0), n.maybe(1), axis=n.integer("axis", -1), eps=tidy(n.number("epsilon", 1e-5)))


@onnx_op("GroupNormalization", since=18)
def _group_norm_by_group(n: Call) -> Results:
    """Before opset 21 scale and bias are one for each group; they are repeated for its channels."""
    x, groups = n.tensor(0), n.integer("num_groups")
    channels = x.shape[1] if x.rank > 1 else None
    if not isinstance(channels, int) or channels % groups:
        refuse(f"{channels} channels can't be split into {groups} groups")
    scale, bias = (_repeated(n, n.tensor(i), channels // groups, part) for i, part in ((1, "scale"), (2, "bias")))
    return n.emit("group_norm", x, scale, bias, groups=groups, eps=tidy(n.number("epsilon", 1e-5)))


def _repeated(n: Call, x: Tensor, times: int, part: str) -> Tensor:
    column = n.emit("unsqueeze", x, part=f"{part}_column", axes=(1,))
    wide = n.emit("expand", column, part=f"{part}_wide", shape=(1, times))
    return n.emit("reshape", wide, part=part, shape=(-1,))


@onnx_op("GroupNormalization", since=21)
def _group_norm(n: Call) -> Results:
    groups, eps = n.integer("num_groups"), tidy(n.number("epsilon", 1e-5))
    return n.emit("group_norm", n.tensor(0), n.tensor(1), n.tensor(2), groups=groups, eps=eps)


@onnx_op("LRN")
def _lrn(n: Call) -> Results:
    alpha, beta, bias = (
        tidy(n.number(name, value)) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    return n.emit("lrn", n.tensor(0), size=n.integer("size"), alpha=alpha, beta=beta, bias=bias)


@onnx_op("LpNormalization")
def _lp_norm(n: Call) -> Results:
    return n.emit("lp_norm", n.tensor(0), axis=n.integer("axis", -1), p=n.integer("p", 2))
