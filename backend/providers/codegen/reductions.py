"""What reductions are in CUDA C++: how an element enters an accumulator, how two merge, what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.prelude import COMPUTE_TYPES
from trtn.dsl.dtypes import BY_NAME

__all__ = ["LIBRARY", "REDUCTIONS", "Recipe", "extreme", "recipe_of"]

LIBRARY = r"""
template <typename T> struct Min {
  T v; DEVICE void merge(const Min& o) { v = minimum(v, o.v); }
  DEVICE Min other(int lanes) const { return {(T)__shfl_xor_sync(~0u, v, lanes)}; }
};
template <typename T> struct Product {
  T v; DEVICE void merge(const Product& o) { v *= o.v; }
  DEVICE Product other(int lanes) const { return {(T)__shfl_xor_sync(~0u, v, lanes)}; }
};
template <typename T> struct Counted {
  T v; int n; DEVICE void merge(const Counted& o) { v += o.v; n += o.n; }
  DEVICE Counted other(int lanes) const { return {__shfl_xor_sync(~0u, v, lanes), __shfl_xor_sync(~0u, n, lanes)}; }
};
// The greatest element so far and the sum of exp(x - greatest): both in one pass.
template <typename T> struct Online {
  T m, s;
  DEVICE void merge(const Online& o) {
    const T top = maximum(m, o.m);
    s = (m == top ? s : s * exp(m - top)) + (o.m == top ? o.s : o.s * exp(o.m - top));
    m = top;
  }
  DEVICE Online other(int lanes) const { return {__shfl_xor_sync(~0u, m, lanes), __shfl_xor_sync(~0u, s, lanes)}; }
};
// Mean and sum of squared distances from it, merged as T. Chan and others have it: no large sums are subtracted.
template <typename T> struct Moments {
  T mean, squares; int n;
  DEVICE void merge(const Moments& o) {
    if (!o.n) return;
    const T d = o.mean - mean, share = (T)o.n / (T)(n + o.n);
    squares += o.squares + d * d * share * (T)n;
    mean += d * share;
    n += o.n;
  }
  DEVICE Moments other(int lanes) const {
    return {__shfl_xor_sync(~0u, mean, lanes), __shfl_xor_sync(~0u, squares, lanes), __shfl_xor_sync(~0u, n, lanes)};
  }
};
// An extreme and where it is; -1 is nowhere. NaN wins; among equals the first, or the last.
template <typename T, bool GREATEST, bool LAST> struct Best {
  T v; int at;
  DEVICE void merge(const Best& o) {
    const bool nan = v != v, other_nan = o.v != o.v;
    const bool beats = nan ? false : other_nan ? true : GREATEST ? o.v > v : o.v < v;
    const bool equals = nan ? other_nan : o.v == v;
    if (o.at >= 0 && (at < 0 || beats || (equals && (LAST ? o.at > at : o.at < at)))) *this = o;
  }
  DEVICE Best other(int lanes) const { return {(T)__shfl_xor_sync(~0u, v, lanes), __shfl_xor_sync(~0u, at, lanes)}; }
};
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """C++ texts over `v` (the element, in its compute type), `o` (its number), `a` (the accumulator), `total`
    (elements)."""

    accumulator: str
    start: str
    enter: str
    finish: str


@dataclass(frozen=True, slots=True)
class _Reduction:
    """`wide` is the type of the accumulator for floats (F: the compute type), integers (I: 64 bits, D: f64, T: their
    own)."""

    accumulator: str
    start: str
    enter: str
    finish: str
    integers: str = "I"


REDUCTIONS: Mapping[str, _Reduction] = {  # by op name; `moments` is a step of group_norm, no op
    "reduce_sum": _Reduction("Sum", "0", "v", "a.v"),
    "reduce_mean": _Reduction("Sum", "0", "v", "a.v / (W)total"),
    "reduce_max": _Reduction("Max", "least", "v", "a.v", "T"),
    "reduce_min": _Reduction("Min", "greatest", "v", "a.v", "T"),
    "reduce_prod": _Reduction("Product", "1", "v", "a.v"),
    "reduce_l1": _Reduction("Sum", "0", "v < 0 ? -(W)v : (W)v", "a.v"),
    "reduce_l2": _Reduction("Sum", "0", "(W)v * (W)v", "sqrt(a.v)", "D"),
    "reduce_sum_square": _Reduction("Sum", "0", "(W)v * (W)v", "a.v"),
    "reduce_log_sum": _Reduction("Sum", "0", "v", "log(a.v)", "D"),
    "reduce_log_sum_exp": _Reduction("Online", "-infinity(), 0", "v, 1", "a.m + log(a.s)", "D"),
    "global_avg_pool": _Reduction("Sum", "0", "v", "a.v / (W)total"),
    "global_max_pool": _Reduction("Max", "least", "v", "a.v", "T"),
    "masked_mean": _Reduction("Counted", "0, 0", "m ? v : 0, m", "a.v / (W)(a.n ? a.n : 1)"),
    "moments": _Reduction("Moments", "0, 0, 0", "v, 0, 1", ""),
    "arg_max": _Reduction("Best", "0, -1", "v, (int)o", "a.at", "T"),
    "arg_min": _Reduction("Best", "0, -1", "v, (int)o", "a.at", "T"),
}


def recipe_of(op: str, dtype: str, last: bool = False) -> Recipe:
    """The recipe of a reduction over elements of a dtype."""
    found, kind, compute = REDUCTIONS[op], BY_NAME[dtype].kind, COMPUTE_TYPES[dtype]
    wide = compute
    if kind in "iu" and found.integers != "T":
        wide = "double" if found.integers == "D" else "u64" if kind == "u" else "i64"
    extra = (
        f", {'true' if op == 'arg_max' else 'false'}, {'true' if last else 'false'}"
        if found.accumulator == "Best"
        else ""
    )
    bounds = {"least": extreme(dtype, greatest=False), "greatest": extreme(dtype, greatest=True)}
    finish = found.finish
    if kind in "iu":
        finish = finish.replace("(W)total", "(W)(total ? total : 1)")
    return Recipe(
        f"{found.accumulator}<{wide}{extra}>",
        bounds.get(found.start, found.start),
        found.enter.replace("W", wide),
        finish.replace("W", wide),
    )


def extreme(dtype: str, *, greatest: bool) -> str:
    """The value that no element of a dtype is beyond."""
    kind = BY_NAME[dtype]
    if kind.is_float:
        return literal(float("inf") if greatest else float("-inf"), dtype)
    if kind.kind == "b":
        return "true" if greatest else "false"
    low = 0 if kind.kind == "u" else -(1 << (kind.bits - 1))
    return literal(low + (1 << kind.bits) - 1 if greatest else low, dtype)
