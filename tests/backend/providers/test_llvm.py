"""Kernels that LLVM compiles against the ops' own evaluation, over shapes, attributes and memory orders.

Tolerance: functions are good to 5 ulp (3e-7 relative), a chain of a few of them to 1e-5. Whole numbers, copies and
levels are exact, but for quotients that rounding puts on one side of a half or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import network
from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.build import build
from trtn.backend.devices.cpu import CPU
from trtn.backend.engine.file import load_engine
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError, reference_provider
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.backend.runtime.schedule import FIRST_RUNS
from trtn.dsl.builder import Builder
from trtn.dsl.dims import evaluate
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

Values = Mapping[str, Any]
LOOPS = Tactic("loops", numerics="reassociated")
F32 = BY_NAME["f32"]


def check(
    group: Group,
    values: Values | None = None,
    *,
    orders: Mapping[str, Sequence[int]] | None = None,
    out: Sequence[int] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> None:
    rng = np.random.default_rng(0)

    def made(tensor: Tensor) -> Any:
        if tensor.weight is not None:
            return tensor.weight.load()
        if values and tensor.name in values:
            return np.asarray(values[tensor.name], tensor.dtype.numpy)
        shape = [evaluate(d, {}) for d in tensor.shape]
        if tensor.dtype.is_float:
            return rng.standard_normal(shape).astype(tensor.dtype.numpy)
        low, high = (0, 2) if tensor.dtype.kind == "b" else (0 if tensor.dtype.kind == "u" else -5, 6)
        return rng.integers(low, high, shape).astype(tensor.dtype.numpy)

    inputs = [arrange(made(t), (orders or {}).get(t.name)) for t in group.inputs]
    results = [arrange(np.zeros([evaluate(d, {}) for d in t.shape], t.dtype.numpy), out) for t in group.outputs]
    problem = problem_for(group, inputs, results, {})
    expected = [np.zeros_like(r) for r in results]
    reference = reference_provider()
    reference.prepare(problem, reference.tactics(problem, CPU())[0], CPU()).bind(inputs, expected, None)()
    assert PROVIDER.tactics(problem, CPU()) == [LOOPS]
    if all(o.dtype.kind == "f" for o in results):
        run(PROVIDER, LOOPS, problem, inputs, results)
    else:
        kernel = PROVIDER.prepare(problem, LOOPS, CPU())
        kernel.bind(inputs, results, CPU().arena(kernel.workspace))()
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol, atol)


def refused(group: Group) -> None:
    inputs = [np.zeros([evaluate(d, {}) for d in t.shape], t.dtype.numpy) for t in group.inputs]
    results = [np.zeros([evaluate(d, {}) for d in t.shape], t.dtype.numpy) for t in group.outputs]
    problem = problem_for(group, inputs, results, {})
    assert not PROVIDER.tactics(problem, CPU())
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem, LOOPS, CPU())


def view_of(make: Callable[[Net], Tensor]) -> Group:
    """A network of a view alone: its group copies."""
    builder = Builder("net")
    (group,) = partition(builder.finish([("y", make(Net(builder)))]))
    return group


EDGES = [
    0.0,
    -0.0,
    0.5,
    1.5,
    -2.5,
    1e-6,
    -1e-6,
    3.0,
    -3.0,
    20.0,
    -20.0,
    88.5,
    -104.0,
    200.0,
    -200.0,
    np.inf,
    -np.inf,
    np.nan,
]
FUNCTIONS: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {})
        for name in ("abs", "ceil", "erf", "exp", "floor", "hard_sigmoid", "hard_swish", "log", "mish", "neg")
    ),
    *((name, {}) for name in ("reciprocal", "relu", "round", "rsqrt", "selu", "sigmoid", "sign", "silu", "softplus")),
    *((name, {}) for name in ("softsign", "sqrt", "tanh", "thresholded_relu")),
    ("clip", {"min": -0.5, "max": 0.75}),
    ("clip", {"max": 1.0}),
    ("elu", {"alpha": 0.7}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("leaky_relu", {"alpha": 0.1}),
    ("swish", {"alpha": 1.5}),
]


@pytest.mark.parametrize(("name", "attrs"), FUNCTIONS, ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_and_their_edges(name: str, attrs: dict[str, Any]) -> None:
    values = np.concatenate([np.linspace(-12, 12, 80), EDGES[: -3 if name in ("mish", "gelu") else None]])
    group = group_of(lambda n: n.op(name, n.x("f32", len(values)), **attrs))
    check(group, {"x": values}, atol=1e-6 if name != "exp" else 0.0)


@pytest.mark.parametrize("dtype", ["f32", "i64", "i32", "u8", "bool"])
def test_operators(dtype: str) -> None:
    """Results of several dtypes leave one region."""

    def make(n: Net) -> list[Tensor]:
        given, y, c = n.x(dtype, 5, 7), n.x(dtype, 5, 7, name="y"), n.x("bool", 5, 7, name="c")
        x = n.not_(given) if dtype == "bool" else n.max(given, n.w(0, dtype)) if dtype == "u8" else n.neg(given)
        found = [n.where(c, x, y), n.equal(x, y), n.not_equal(x, y), n.cast(x, to=F32)]
        if dtype == "bool":
            return [*found, n.and_(x, y), n.or_(x, n.not_(y)), n.xor(x, y)]
        found += [n.less(x, y), n.greater_equal(x, y), n.max(x, y), n.min(x, y, x), n.add(x, y), n.sub(x, y)]
        found += [n.mul(x, y), n.abs(x), n.relu(x), n.clip(x, min=1.4, max=3.6)]
        return [*found, n.cast(x, to=BY_NAME["i8"]), n.cast(x, to=BY_NAME["bool"])]

    check(group_of(make))


@pytest.mark.parametrize(("x", "y"), [((4, 1, 6), (5, 1)), ((3, 5), ()), ((1,), (2, 3, 4)), ((7,), (7,))], ids=str)
def test_broadcasting(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    check(group_of(lambda n: n.div(n.add(n.x("f32", *x), n.x("f32", *y, name="y")), n.w(3.0))))


@pytest.mark.parametrize("out", [None, (0, 2, 3, 1)], ids=str)
def test_memory_orders(out: tuple[int, ...] | None) -> None:
    group = group_of(
        lambda n: n.mul(n.add(n.x("f32", 2, 5, 3, 4), n.x("f32", 2, 5, 3, 4, name="y")), n.random("f32", 5, 1, 1))
    )
    check(group, orders={"x": (0, 2, 3, 1)}, out=out)


@pytest.mark.parametrize("power", [-1.0, 0.5, 1.0, 2.0, 3.0])
def test_powers(power: float) -> None:
    check(group_of(lambda n: n.pow(n.abs(n.x("f32", 9)), n.w(power))))


def test_what_has_no_instructions() -> None:
    refused(group_of(lambda n: n.pow(n.x("f32", 9), n.w(2.5))))
    refused(group_of(lambda n: n.div(n.x("i32", 9), n.w(2, "i32"))))
    refused(group_of(lambda n: n.sin(n.x("f32", 9))))
    refused(group_of(lambda n: n.neg(n.x("f16", 9))))


VIEWS: list[Callable[[Net, Tensor], Tensor]] = [
    lambda n, x: n.transpose(x, perm=[2, 0, 1]),
    lambda n, x: n.slice(x, start=[1, 4], end=[3, 0], axes=[0, 2], step=[1, -1]),
    lambda n, x: n.reshape(x, shape=[6, 10]),
    lambda n, x: n.unsqueeze(x, axes=[0]),
]


@pytest.mark.parametrize("number", range(len(VIEWS)))
@pytest.mark.parametrize("order", [None, (2, 0, 1)], ids=str)
def test_views_that_are_written_out(number: int, order: tuple[int, ...] | None) -> None:
    check(view_of(lambda n: VIEWS[number](n, n.x("f32", 3, 4, 5))), orders={"x": order} if order else None)


@pytest.mark.parametrize("dtype", ["f32", "i64", "bool"])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(mode: str, dtype: str) -> None:
    fill = {"fill": 1.0} if mode == "constant" else {}
    check(group_of(lambda n: n.pad(n.x(dtype, 2, 4, 5), pads=[1, 3, 2, 0], axes=[1, 2], mode=mode, **fill)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat(axis: int) -> None:
    def make(n: Net) -> Tensor:
        shapes = [[2, 3, 4] for _ in range(3)]
        shapes[1][axis] = 5
        y: Tensor = n.concat(*(n.x("f32", *s, name=f"x{i}") for i, s in enumerate(shapes)), axis=axis)
        return y

    check(group_of(make), orders={"x1": (2, 0, 1)}, out=(0, 2, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_gather(axis: int, dtype: str) -> None:
    ids = np.array([[0, -1, 2], [1, 1, -3]])
    group = group_of(lambda n: n.gather(n.x("f32", 3, 4, 5), n.x(dtype, 2, 3, name="ids"), axis=axis))
    check(group, {"ids": ids})


def test_embedding_and_an_id_outside_of_it() -> None:
    group = group_of(lambda n: n.embedding(n.x("i64", 2, 3), n.random("f32", 5, 7)))
    check(group, {"x": [[0, 4, -1], [-5, 2, 2]]})
    ids, y = np.array([[0, 4, 5], [0, 0, 0]]), np.zeros((2, 3, 7), np.float32)
    inputs = [ids if t.weight is None else t.weight.load() for t in group.inputs]
    kernel = PROVIDER.prepare(problem_for(group, inputs, [y], {}), LOOPS, CPU())
    with pytest.raises(IndexError):
        kernel.bind(inputs, [y], None)()


@pytest.mark.parametrize("dtype", ["u8", "i8"])
@pytest.mark.parametrize("axis", [None, 1])
def test_quantisation_by_given_scales(dtype: str, axis: int | None) -> None:
    shape = () if axis is None else (4,)
    scale = np.random.default_rng(1).uniform(0.01, 0.05, shape)
    zero = np.random.default_rng(2).integers(0, 20, shape)
    attrs = {} if axis is None else {"axis": axis}
    check(group_of(lambda n: n.quantize_linear(n.x("f32", 3, 4, 5), n.w(scale), n.w(zero, dtype), **attrs)))
    check(group_of(lambda n: n.dequantize_linear(n.x(dtype, 3, 4, 5), n.w(scale), n.w(zero, dtype), **attrs)))
    check(group_of(lambda n: n.dequantize_linear(n.x("i32", 3, 4, 5), n.w(scale), **attrs)))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_quantisation_by_the_range(scale: float) -> None:
    x = np.random.default_rng(0).standard_normal((4, 33)) * scale
    check(group_of(lambda n: list(n.dynamic_quantize_linear(n.x("f32", 4, 33)))), {"x": x})


LSTMS: list[dict[str, Any]] = [
    {"direction": "forward"},
    {"direction": "reverse", "levels": "u8"},
    {"direction": "bidirectional", "columns": True},
    {"direction": "bidirectional", "batch_first": True, "levels": "u8", "columns": True},
    {"direction": "forward", "hidden": 7, "features": 5, "batch": 1},
    {"direction": "bidirectional", "batch": 9, "states": False, "bias": False},
]


@pytest.mark.parametrize("settings", LSTMS, ids=str)
def test_lstm_of_levels(settings: dict[str, Any]) -> None:
    """A level more or less, where tanh's last digit decides, would show: the sequences are too short for one."""
    hidden, features, batch = (settings.get(k, d) for k, d in (("hidden", 20), ("features", 12), ("batch", 3)))
    directions = 2 if settings["direction"] == "bidirectional" else 1
    first, dtype = settings.get("batch_first", False), settings.get("levels", "i8")
    rng = np.random.default_rng(0)
    low = 0 if dtype == "u8" else -128
    columns = (directions, 4 * hidden) if settings.get("columns") else (directions,)

    def make(n: Net) -> list[Tensor]:
        x = n.x("f32", *((batch, 6) if first else (6, batch)), features)
        state = (batch, directions, hidden) if first else (directions, batch, hidden)
        shapes = [(directions, rows, 4 * hidden) for rows in (features, hidden)]
        weights = [n.w(rng.integers(low, low + 256, shape), dtype) for shape in shapes]
        parameters = []
        for _ in range(2):
            scale, zero = rng.uniform(0.001, 0.003, columns), rng.integers(low + 120, low + 136, columns)
            parameters += [n.w(scale), n.w(zero, dtype)]
        bias = n.random("f32", directions, 8 * hidden) if settings.get("bias", True) else None
        states = [n.x("f32", *state, name=s) for s in "hc"] if settings.get("states", True) else [None, None]
        return list(
            n.dynamic_quantize_lstm(
                x, *weights, *parameters, bias, None, *states,
                hidden=hidden, direction=settings["direction"], batch_first=first,
            )
        )  # fmt: skip

    check(group_of(make))


def test_lstm_of_levels_that_is_not_written() -> None:
    def make(n: Net) -> Tensor:
        levels = [n.w(np.ones((1, rows, 16)), "i8") for rows in (3, 4)]
        numbers = [n.w([0.01]), n.w([0], "i8")] * 2
        y: Tensor = n.dynamic_quantize_lstm(n.x("f32", 5, 2, 3), *levels, *numbers, hidden=4, clip=1.0)[0]
        return y

    refused(group_of(make))


def test_machine_code_is_the_same_for_all_sizes() -> None:
    """What a new shape would have to compile again."""
    digests = set()
    for shape in ((4, 6), (9, 17)):
        group = group_of(lambda n, s=shape: n.tanh(n.add(n.x("f32", *s), n.random("f32", s[1]))))
        inputs = [np.zeros(t.weight.shape if t.weight else shape, np.float32) for t in group.inputs]
        problem = problem_for(group, inputs, [np.zeros(shape, np.float32)], {})
        digests |= set(PROVIDER.prepare(problem, LOOPS, CPU()).binaries())
    assert len(digests) == 1


def test_without_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that was built with it runs by the reference, step by step; a build does without."""
    net = network(
        "network n { dim N in 1..8 input x: f32[N, 5] output y: f32[N, 6] y = pad(exp(x * 2), pads=[0, 0, 0, 1]) }"
    )
    engine = build(net, device="cpu", providers=["llvm"])
    assert {c.provider for c in engine.choices} == {"llvm"}
    engine.save(tmp_path / "net.engine")
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    expected = engine.run({"x": x})["y"]
    monkeypatch.setattr(machine_code, "unavailable", lambda: "llvmlite is not installed")
    bare = load_engine(tmp_path / "net.engine")
    context = bare.create_context()
    for _ in range(2 * FIRST_RUNS):
        np.testing.assert_allclose(context.run({"x": x})["y"], expected, 1e-5)
    assert len(bare.kernels.fallbacks) == len(engine.groups)
    assert "llvm" not in {c.provider for c in build(net, device="cpu").choices}
