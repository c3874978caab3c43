"""Reductions, extremes' places, sums along an axis, the first k."""

from __future__ import annotations

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import F32, I64, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dtypes import BOOL, BY_NAME

__all__: list[str] = []

_REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_mean": "ReduceMean", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd", "reduce_l1": "ReduceL1", "reduce_sum_square": "ReduceSumSquare",
}  # fmt: skip
_THROUGH_REALS = {
    "reduce_l2": "ReduceL2", "reduce_log_sum": "ReduceLogSum", "reduce_log_sum_exp": "ReduceLogSumExp",
}  # fmt: skip


@writes(*_REDUCTIONS, *_THROUGH_REALS)
def _reduce(s: Site) -> None:
    x, axes, keepdims = s.x(0), s["axes"], s["keepdims"]
    op = _REDUCTIONS.get(s.layer.op.name) or _THROUGH_REALS[s.layer.op.name]
    if not axes:  # ONNX takes no axes for all: the function of each element is a reduction over an axis of one
        x, axes, keepdims = s.fold_axes(x, [-1], "Unsqueeze", part="column"), (s.rank(0),), False
    if s.layer.op.name in _THROUGH_REALS and not x.dtype.is_float:
        real = s.cast(x, BY_NAME["f64"], "real")
        s.cast_out(s.reduce(op, real, axes, keepdims=keepdims, part="reduced"))
    else:
        s.reduce(op, x, axes, keepdims=keepdims)


@writes("arg_max", "arg_min")
def _arg(s: Site) -> None:
    op = "ArgMax" if s.layer.op.name == "arg_max" else "ArgMin"
    s.emit(op, s.x(0), axis=s["axis"], keepdims=int(s["keepdims"]), select_last_index=int(s["last"]) or None)


@writes("reduce_by")
def _reduce_by(s: Site) -> None:
    x, function = s.x(0), f"reduce_{s['function']}"
    op = _REDUCTIONS.get(function) or _THROUGH_REALS[function]
    if s.has(op, "axes"):
        refuse("a reduction over computed axes is of opset 18 and later")
    axes = s.cast(s.x(1), I64, "axes")
    keepdims = int(s["keepdims"])
    if function in _THROUGH_REALS and not x.dtype.is_float:
        real = s.cast(x, BY_NAME["f64"], "real")
        s.cast_out(s.emit(op, real, axes, part="reduced", keepdims=keepdims))
    else:
        s.emit(op, x, axes, keepdims=keepdims)


@writes("cumsum", "cumprod")
def _running(s: Site) -> None:
    op = "CumSum" if s.layer.op.name == "cumsum" else "CumProd"
    if not s.has(op):
        _running_product(s)
        return
    axis = s.x(1) if s.given(1) else s.sizes.scalar(s["axis"])
    if s.given(1) and s.rank(1):
        axis = s.emit("Reshape", axis, s.ints([]), part="axis")
    s.emit(op, s.x(0), axis, exclusive=int(s["exclusive"]) or None, reverse=int(s["reverse"]) or None)


def _running_product(s: Site) -> None:
    """The products of a matrix for each element: in its row the elements that count, 1 elsewhere."""
    if s.given(1):
        refuse("a running product along a computed axis is of opset 26 and later")
    x, axis = s.x(0), s["axis"]
    length, zero, one = s.sizes.scalar(s.shape(0)[axis]), s.sizes.scalar(0), s.sizes.scalar(1)
    places = s.emit("Range", zero, length, one, part="places")
    rows = s.fold_axes(places, [1], "Unsqueeze", part="rows")
    op = (
        ("Greater" if s["exclusive"] else "GreaterOrEqual")
        if s["reverse"]
        else ("Less" if s["exclusive"] else "LessOrEqual")
    )
    counts = s.emit(op, places, rows, part="counts")
    after = tuple(range(2, s.rank(0) - axis + 1))
    if after:
        counts = s.fold_axes(counts, after, "Unsqueeze", part="counts_wide")
    repeated = s.fold_axes(x, [axis], "Unsqueeze", part="repeated")
    factors = s.emit("Where", counts, repeated, s.like(x, 1), part="factors")
    s.reduce("ReduceProd", factors, [axis + 1], keepdims=False)


@writes("unique")
def _unique(s: Site) -> None:
    s.emit_all("Unique", s.x(0), results=range(4), axis=s["axis"], sorted=int(s["sorted"]))


@writes("top_k")
def _top_k(s: Site) -> None:
    if s.given(1):
        count = s.x(1) if s.rank(1) == 1 else s.emit("Reshape", s.x(1), s.ints([1]), part="count")
    else:
        count = s.sizes.vector([s["k"]])
    s.emit_all("TopK", s.x(0), count, results=(0, 1), axis=s["axis"], largest=int(s["largest"]), sorted=1)


@writes("masked_mean")
def _masked_mean(s: Site) -> None:
    """The sum of what the mask keeps, over how many that are; f16 is added up in f32."""
    axis, trailing = s["axis"], s.rank(0) - s.rank(1)
    x = s.cast(s.x(0), F32, "wide") if s.dtype(0).bits < 32 else s.x(0)
    mask = s.x(1)
    spread = mask
    if trailing:
        spread = s.fold_axes(mask, tuple(range(s.rank(1), s.rank(0))), "Unsqueeze", part="mask")
    kept = s.emit("Where", spread, x, s.like(x, 0), part="kept")
    total = s.reduce("ReduceSum", kept, [axis], keepdims=False, part="sum")
    count = s.reduce("ReduceSum", s.cast(spread, x.dtype, "ones"), [axis], keepdims=False, part="count")
    divisor = s.emit("Max", count, s.like(x, 1), part="divisor")
    if x.dtype is s.out.dtype:
        s.emit("Div", total, divisor)
    else:
        s.cast_out(s.emit("Div", total, divisor, part="mean"))


@writes("nonzero")
def _nonzero(s: Site) -> None:
    x = s.x(0)
    if x.dtype.name not in ("bool", "f32", "i32", "i64", "u8"):  # what ONNX Runtime looks at
        x = s.cast(x, BOOL, "truth")
    s.emit("NonZero", x)


@writes("one_hot")
def _one_hot(s: Site) -> None:
    """The new axis holds 0 and 1, which pick from the two values."""
    indices, values = s.cast(s.x(0), I64, "indices"), s.x(2)
    depth = _depth(s)
    if values.dtype.name in ("f32", "i64"):
        s.emit("OneHot", indices, depth, values, axis=s["axis"])
        return
    picks = s.emit("OneHot", indices, depth, s.ints([0, 1]), part="picks", axis=s["axis"])
    s.emit("Gather", values, picks, axis=0)


def _depth(s: Site) -> Value:
    if s.given(1):
        depth = s.cast(s.x(1), I64, "depth")
        return s.emit("Reshape", depth, s.ints([]), part="depth_scalar") if s.rank(1) else depth
    return s.sizes.scalar(s["size"])


@writes("tf_idf")
def _tf_idf(s: Site) -> None:
    s.emit(
        "TfIdfVectorizer",
        s.x(0),
        mode=s["mode"].upper(),
        min_gram_length=s["shortest"],
        max_gram_length=s["longest"],
        max_skip_count=s["skips"],
        ngram_counts=list(s["starts"]),
        ngram_indexes=list(s["columns"]),
        pool_int64s=list(s["pool"]),
        weights=list(s["weights"]) if s["weights"] is not None else None,
    )
