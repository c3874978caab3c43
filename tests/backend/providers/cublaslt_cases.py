"""Products over arrays that lie in memory in all kinds of ways, and what they are to give: the same for the software
library and the GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, prod, sqrt
from typing import Any

import numpy as np

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.codegen_harness import reference
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.problem import ArrayLayout, Problem, make_problem
from trtn.dsl.builder import Builder
from trtn.dsl.network import Tensor

__all__ = [
    "ATTENTION",
    "CASES",
    "LARGE_SUM",
    "Array",
    "Case",
    "Lie",
    "check",
    "group_of",
    "layout_of",
    "problem_of",
    "untouched",
]

Array = np.ndarray[Any, Any]
EPS = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
"""Half a unit in the last place, relative."""
FILLER = 0x5A


@dataclass(frozen=True)
class Lie:
    """How an array lies in memory: its axes from the slowest to the fastest (None: as they are), how many places stay
    free after each run of the fastest, and how many before the first element."""

    order: tuple[int, ...] | None = None
    gap: int = 0
    start: int = 0

    def place(self, values: Array) -> Array:
        order = self.order or tuple(range(values.ndim))
        room = [values.shape[a] for a in order]
        if room:
            room[-1] += self.gap
        raw = np.full((prod(room) + self.start + 64) * values.itemsize, FILLER, np.uint8)
        first = -raw.ctypes.data % 16 // values.itemsize * values.itemsize + self.start * values.itemsize
        whole = raw[first : first + prod(room) * values.itemsize].view(values.dtype).reshape(room)
        array = whole[..., : values.shape[order[-1]]] if room else whole
        array = array.transpose(np.argsort(order))
        array[...] = values
        return array


@dataclass(frozen=True, eq=False)
class Case:
    """A network of one group. `lies` is by input; the result's is under `result`."""

    name: str
    make: Callable[[Net], Tensor]
    lies: Mapping[str, Lie] = field(default_factory=dict)
    forms: str = "kn nk"
    """The orders of the right side that there are tactics for, the first as it lies."""
    epilogue: str = "plain"
    """As tactics name it; with a `+` where generated code does the rest."""
    launches: int = 1

    @cached_property
    def group(self) -> Group:
        return group_of(self.make)

    @cached_property
    def inputs(self) -> list[Array]:
        rng = np.random.default_rng(len(self.name))
        return [self._lie(t.name).place(_values(t, rng)) for t in self.group.inputs]

    def output(self) -> Array:
        """An array for the result, full of what must not stay."""
        (t,) = self.group.outputs
        array = self._lie("result").place(np.zeros(_shape(t), t.dtype.numpy))
        array[...] = np.nan if t.dtype.is_float else 77
        return array

    @cached_property
    def problem(self) -> Problem:
        return problem_of(self.group, self.inputs, self.output())

    @cached_property
    def expected(self) -> Array:
        return reference(self.group, self.inputs, {})[0]

    def _lie(self, name: str) -> Lie:
        return self.lies.get(name, Lie())


def group_of(make: Callable[[Net], Tensor]) -> Group:
    """The group of the network's last layer."""
    builder = Builder("net")
    result = make(Net(builder))
    return partition(builder.finish([(result.name, result)]))[-1]


def problem_of(group: Group, inputs: list[Array], output: Array) -> Problem:
    given = [layout_of(a, t.dtype, constant=t.weight is not None) for t, a in zip(group.inputs, inputs, strict=True)]
    return make_problem(group, {}, given, [layout_of(output, group.outputs[0].dtype)])


def layout_of(array: Array, dtype: Any, *, constant: bool = False) -> ArrayLayout:
    address = array.ctypes.data
    strides = tuple(s // array.itemsize for s in array.strides)
    return ArrayLayout(array.shape, strides, dtype, constant, min(16, address & -address))


def check(case: Case, found: Array, *, reduced: bool = False) -> None:
    """The result's distance from one in f64, as a part of its norm: the rounding of each layer's result to its dtype
    (at most half a unit each, of values that a residual may have made three times as large), and sqrt(K) roundings of
    the sum in f32 (f64). Operands that may be `reduced` lose as much as those of f16 (TF32 has its mantissa)."""
    expected = case.expected
    if not case.group.outputs[0].dtype.is_float:
        np.testing.assert_array_equal(found, expected)
        return
    dtype = case.group.outputs[0].dtype.name
    terms = _terms(case)
    allowed = 3 * EPS["f16" if reduced else dtype] + 2 * sqrt(terms) * EPS["f64" if dtype == "f64" else "f32"]
    error = np.linalg.norm((found.astype(np.float64) - expected).ravel())
    assert error <= allowed * np.linalg.norm(expected.ravel()), (case.name, error / np.linalg.norm(expected.ravel()))


def _terms(case: Case) -> int:
    """How many roundings of one size add up, about."""
    shapes = [a.shape for a in case.inputs]
    if case.group.kind == "attention":
        return 16 * sum(shapes[1][-2:])  # those of exp's argument count as well
    return shapes[0][1 if case.group.kind == "conv" else -1]


def untouched(array: Array) -> bool:
    """Whether the memory around an array made by `Lie.place` is as it was."""
    raw = array
    while raw.base is not None:
        raw = raw.base
    mask = np.ones(raw.shape, bool)
    places = np.full(array.shape, array.ctypes.data - raw.ctypes.data, np.int64)
    for axis, stride in enumerate(array.strides):
        places += (np.arange(array.shape[axis]) * stride).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    for byte in range(array.itemsize):
        mask[places + byte] = False
    return bool((raw[mask] == FILLER).all())


def _shape(tensor: Tensor) -> tuple[int, ...]:
    assert all(isinstance(d, int) for d in tensor.shape)
    return tuple(d for d in tensor.shape if isinstance(d, int))


def _values(tensor: Tensor, rng: np.random.Generator) -> Array:
    if tensor.weight is not None:
        return np.asarray(tensor.weight.load())
    if tensor.dtype.is_float:
        return rng.standard_normal(_shape(tensor)).astype(np.float32).astype(tensor.dtype.numpy)
    return rng.integers(-100, 100, _shape(tensor)).astype(tensor.dtype.numpy)


def _linear(dtype: str, m: int, k: int, n: int, *, bias: bool = True, name: str = "x") -> Callable[[Net], Tensor]:
    def make(net: Net) -> Tensor:
        weight = net.random(dtype, k, n, seed=1, scale=k**-0.5)
        result = net.linear(net.x(dtype, m, k, name=name), weight, net.random(dtype, n, seed=2) if bias else None)
        assert isinstance(result, Tensor)
        return result

    return make


def _conv(net: Net, x: Tensor, channels: int, *, bias: bool = True) -> Any:
    width = x.shape[1]
    assert isinstance(width, int)
    kernel = net.random("f16", channels, width, *[1] * (x.rank - 2), seed=1, scale=width**-0.5)
    return net.conv(x, kernel, net.random("f16", channels, seed=2) if bias else None)


LAST = Lie((0, 2, 3, 1))
"""Channels last."""
HEADS = Lie((0, 2, 1, 3))
"""[B, H, S, D] with the heads inside."""


def _relu6(net: Net) -> Any:
    return net.clip(_linear("f16", 24, 16, 32)(net), min=0.0, max=6.0)


def _silu(net: Net) -> Any:
    y = _linear("f16", 24, 16, 32)(net)
    return net.mul(y, net.sigmoid(y))


def _residual(net: Net, dtype: str = "f16") -> Any:
    return net.add(_linear(dtype, 24, 16, 32)(net), net.x(dtype, 24, 32, name="r"))


def _batched(net: Net, dtype: str, a: tuple[int, ...], b: tuple[int, ...]) -> Any:
    return net.matmul(net.x(dtype, *a, name="a"), net.x(dtype, *b, name="b"))


CASES = (
    *(Case(f"linear-{d}", _linear(d, 24, 40, 32), epilogue="bias") for d in ("f16", "bf16", "f32", "f64")),
    Case("no-bias", _linear("f16", 24, 40, 32, bias=False)),
    Case("odd-sizes", _linear("f16", 7, 13, 5), epilogue="bias"),
    Case("one-row", _linear("f16", 1, 40, 32), epilogue="bias"),
    Case("one-column", _linear("f32", 24, 40, 1), forms="kn", epilogue="bias"),
    Case("one-term", _linear("f32", 24, 1, 8), forms="kn", epilogue="bias"),
    Case("three-axes", lambda n: n.linear(n.x("f16", 2, 12, 16), n.random("f16", 16, 32))),
    Case(
        "padded-rows",
        lambda n: n.linear(n.x("f16", 2, 12, 16), n.random("f16", 16, 32), n.random("f16", 32, seed=3)),
        lies={"x": Lie(gap=8), "result": Lie(gap=16)},
        epilogue="bias",
    ),
    Case(
        "turned-rows",
        lambda n: n.linear(n.x("f16", 3, 12, 16), n.random("f16", 16, 32), n.random("f16", 32, seed=3)),
        lies={"x": Lie((1, 0, 2))},
        epilogue="bias",
    ),
    Case("odd-start", _linear("f16", 24, 40, 32), lies={"x": Lie(start=1)}, epilogue="bias"),
    Case("x-transposed", _linear("f16", 24, 40, 32), lies={"x": Lie((1, 0))}, epilogue="bias"),
    Case("result-transposed", _linear("f16", 24, 40, 32, bias=False), lies={"result": Lie((1, 0))}),
    Case("relu", lambda n: n.relu(_linear("f16", 24, 16, 32)(n)), epilogue="bias_relu"),
    Case("lower-bound", lambda n: n.clip(_linear("f16", 24, 16, 32)(n), min=0.0), epilogue="bias_relu"),
    Case("gelu", lambda n: n.gelu(_linear("f16", 24, 16, 32)(n), approximate="tanh"), epilogue="bias_gelu"),
    Case("residual", _residual, epilogue="bias_add"),
    Case("residual-f32", lambda n: _residual(n, "f32"), epilogue="bias_add"),
    Case("residual-relu", lambda n: n.relu(_residual(n)), lies={"r": Lie(gap=8)}, epilogue="bias_add_relu"),
    Case(
        "residual-before-bias",
        lambda n: n.add(_residual_first(n), n.random("f16", 32, seed=4)),
        epilogue="bias_add",
    ),
    Case(
        "scaled-scores",
        lambda n: n.div(_batched(n, "f16", (2, 3, 24, 16), (2, 3, 16, 8)), n.w(4.0, "f16")),
        forms="kn",
        epilogue="scale",
    ),
    Case(
        "scores-plus-mask",
        lambda n: n.add(
            n.mul(_batched(n, "f32", (6, 24, 16), (6, 16, 8)), n.w(0.125)), n.x("f32", 6, 24, 8, name="mask")
        ),
        forms="kn",
        epilogue="scale_add",
    ),
    Case(
        "keys-transposed",
        lambda n: _batched(n, "f16", (1, 3, 24, 16), (1, 3, 16, 8)),
        lies={"a": HEADS, "b": Lie((0, 3, 1, 2)), "result": HEADS},
        forms="nk",
    ),
    Case(
        "heads-inside-of-a-batch",
        lambda n: _batched(n, "f16", (4, 3, 24, 16), (4, 3, 16, 8)),
        lies={"a": HEADS, "result": HEADS},
        forms="kn",
        launches=3,
    ),
    Case(
        "residual-in-parts",
        lambda n: n.add(_batched(n, "f16", (4, 3, 24, 16), (4, 3, 16, 8)), n.x("f16", 4, 3, 24, 8, name="r")),
        lies={"r": HEADS},
        forms="kn",
        epilogue="add",
        launches=3,
    ),
    Case("broadcast-left", lambda n: _batched(n, "f32", (1, 24, 16), (5, 16, 8)), forms="kn"),
    Case("broadcast-right", lambda n: _batched(n, "f32", (5, 24, 16), (16, 8)), forms="kn"),
    Case("broadcast-both", lambda n: _batched(n, "f32", (2, 1, 24, 16), (3, 16, 8)), forms="kn", launches=2),
    Case("vector-left", lambda n: _batched(n, "f32", (16,), (5, 16, 8)), forms="kn"),
    Case("vector-right", lambda n: _batched(n, "f32", (5, 24, 16), (16,)), forms="kn"),
    Case("two-vectors", lambda n: _batched(n, "f32", (16,), (16,)), forms="kn"),
    Case("weight-left", lambda n: n.matmul(n.random("f16", 24, 16), n.x("f16", 16, 8)), forms="kn"),
    Case("weights-by-batch", lambda n: n.matmul(n.x("f16", 3, 24, 16), n.random("f16", 3, 16, 8))),
    Case("square-of-itself", lambda n: _square(n), forms="kn"),
    Case(
        "conv",
        lambda n: _conv(n, n.x("f16", 2, 16, 5, 7), 24),
        lies={"x": LAST, "result": LAST},
        forms="nk kn",
        epilogue="bias",
    ),
    Case(
        "conv-residual-relu",
        lambda n: n.relu(n.add(_conv(n, n.x("f16", 2, 16, 5, 7), 24), n.x("f16", 2, 24, 5, 7, name="r"))),
        lies={"x": LAST, "r": LAST, "result": LAST},
        forms="nk kn",
        epilogue="bias_add_relu",
    ),
    Case(
        "conv-channels-first",
        lambda n: _conv(n, n.x("f16", 2, 16, 5, 7), 24, bias=False),
        forms="nk kn",
    ),
    Case(
        "conv-into-slice",
        lambda n: _conv(n, n.x("f16", 2, 16, 5, 7), 24),
        lies={"x": Lie((0, 2, 3, 1), gap=8), "result": Lie((0, 2, 3, 1), gap=24)},
        forms="nk kn",
        epilogue="bias",
    ),
    Case(
        "conv-1d",
        lambda n: _conv(n, n.x("f16", 2, 16, 9), 24),
        lies={"x": Lie((0, 2, 1)), "result": Lie((0, 2, 1))},
        forms="nk kn",
        epilogue="bias",
    ),
    Case("integers", lambda n: n.matmul_integer(n.x("i8", 16, 32, name="a"), n.random("i8", 32, 8, scale=50.0))),
    Case("relu6", _relu6, epilogue="bias+"),
    Case("silu-spelled-out", _silu, epilogue="bias+"),
    Case("exact-gelu", lambda n: n.gelu(_linear("f16", 24, 16, 32)(n)), epilogue="bias+"),
    Case("exact-gelu-f32", lambda n: n.gelu(_linear("f32", 24, 16, 32)(n)), epilogue="bias+"),
    Case(
        "residual-after-relu",
        lambda n: n.add(n.relu(_linear("f16", 24, 16, 32)(n)), n.x("f16", 24, 32, name="r")),
        epilogue="bias_relu+",
    ),
    Case("upper-bound-of-all", lambda n: n.clip(_linear("f16", 24, 16, 32)(n), min=0.0, max=inf), epilogue="bias_relu"),
)
LARGE_SUM = Case("large-sum", _linear("f16", 16, 8192, 64), epilogue="bias")
"""One whose sum is worth splitting."""


def _attention(
    dtype: str, heads: int = 4, groups: int = 4, queries: int = 24, keys: int = 40, mask: str = "", **attrs: Any
) -> Callable[[Net], Tensor]:
    """q[2, heads, queries, 16] over k and v of `groups` heads. The mask, a constant, keeps everything out for the first
    query."""

    def make(net: Net) -> Tensor:
        q = net.x(dtype, 2, heads, queries, 16, name="q")
        k, v = (net.x(dtype, 2, groups, keys, width, name=n) for n, width in (("k", 16), ("v", 8)))
        keep = np.random.default_rng(5).random((2, 1, queries, keys)) < 0.7
        keep[:, :, 0] = False
        masks = {
            "": (),
            "bool": (net.w(keep, "bool"),),
            "row": (net.w(keep[:, :, 1:2], "bool"),),
            "numbers": (net.w(np.where(keep[0, 0], 0.5, -inf), dtype),),
        }
        result = net.attention(q, k, v, *masks[mask], **attrs)
        assert isinstance(result, Tensor)
        return result

    return make


ATTENTION = (
    Case("plain", _attention("f32")),
    Case("plain-f64", _attention("f64", scale=0.3)),
    Case("heads-inside-once", _attention("f32"), lies=dict.fromkeys(("q", "k", "v", "result"), HEADS), launches=2),
    Case("grouped", _attention("f32", heads=6, groups=2)),
    Case("grouped-inside", _attention("f32", heads=6, groups=1), lies=dict.fromkeys(("q", "result"), HEADS)),
    *(Case(f"mask-{m}", _attention("f32", mask=m)) for m in ("bool", "row", "numbers")),
    Case("causal", _attention("f32", causal=True)),
    Case("causal-few-keys", _attention("f32", queries=40, keys=24, causal=True)),
    Case("causal-mask", _attention("f32", mask="bool", causal=True)),
    Case("causal-numbers-f64", _attention("f64", mask="numbers", causal=True)),
)


def _residual_first(net: Net) -> Any:
    return net.add(_linear("f16", 24, 16, 32, bias=False)(net), net.x("f16", 24, 32, name="r"))


def _square(net: Net) -> Any:
    x = net.x("f32", 16, 16)
    return net.matmul(x, x)
