"""Generated products against float64, over sizes, memory orders and epilogues.

Tolerance: a sum of K products of standard normal numbers in f32 is off by a few sqrt(K) ulp of its size, sqrt(K); K is at
most 1,000 here: 1e-5 of the largest result. Epilogues add the few ulp of their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, assert_orders, group_of, problem_for
from trtn.backend import machine_code
from trtn.backend.binaries import BinaryKey
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError, reference_provider
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))
if machine_code.unavailable() is None:
    from trtn.backend.providers.llvm.gemm import problems, schedule
    from trtn.backend.providers.llvm.gemm.packing import pack_panels
    from trtn.backend.providers.llvm.gemm.schedule import Schedule
    from trtn.backend.providers.llvm.gemm.tile import Tile, host_tile, tile_for

    pytestmark = [pytestmark, pytest.mark.skipif(host_tile() is None, reason="no AVX2 here")]

TACTICS = {"attention": "fused", "conv": "pixels", "gemm": "panels"}
LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
"""Channels last, by rank."""
COMPILED: dict[BinaryKey, memoryview] = {}
"""Sizes are not in a kernel's text: most of the tests run code that others have compiled."""


def values(group: Group, orders: dict[str, Sequence[int]]) -> list[Any]:
    rng = np.random.default_rng(1)
    return [
        arrange(
            (rng.standard_normal([evaluate(d, {}) for d in t.shape]) > -0.5).astype(t.dtype.numpy)
            if t.dtype.name == "bool"
            else rng.standard_normal([evaluate(d, {}) for d in t.shape]).astype(np.float32)
            if t.weight is None
            else t.weight.load(),
            orders.get(t.name),
        )
        for t in group.inputs
    ]


def multiply(group: Group, inputs: Sequence[Any], out: Any, threads: int | None = None) -> Any:
    device = CPU(threads)
    device.binaries.hold(COMPILED)
    problem = problem_for(group, inputs, [out], {})
    kernel = PROVIDER.prepare(problem, Tactic(TACTICS[group.kind]), device)
    COMPILED.update((key, memoryview(code)) for key, code in kernel.binaries().items())
    out[...] = np.nan
    launch = kernel.bind(inputs, [out], None)
    assert_orders(kernel, inputs, device)
    with device.running(compiled=True, arrays=False):
        launch()
    return out


def expected(group: Group, inputs: Sequence[Any], shape: Sequence[int]) -> Any:
    """The reference's result for the inputs in f64."""
    out = np.empty(shape, np.float32)
    problem = problem_for(group, inputs, [out], {})
    wide = [a if a.dtype == bool else a.astype(np.float64) for a in inputs]
    result = np.empty(shape, np.float64)
    reference = reference_provider()
    reference.prepare(problem, reference.tactics(problem, CPU())[0], CPU()).bind(wide, [result], None)()
    return result


def check(
    group: Group, orders: dict[str, Sequence[int]] | None = None, out: Any = None, rtol: float = 0.0
) -> tuple[list[Any], Any]:
    inputs = values(group, orders or {})
    shape = [evaluate(d, {}) for d in group.outputs[0].shape]
    if out is None:
        order = LAST[len(shape)] if group.kind == "conv" else None
        out = arrange(np.empty(shape, np.float32), order)
    wanted = expected(group, inputs, shape)
    got = multiply(group, inputs, out)
    np.testing.assert_allclose(got, wanted, rtol, 1e-5 * np.abs(wanted).max())
    return inputs, got


def linear(rows: Sequence[int], terms: int, columns: int, bias: bool = True) -> Group:
    def make(n: Net) -> Tensor:
        added = n.random("f32", columns, seed=2) if bias else None
        made: Tensor = n.linear(n.x("f32", *rows, terms), n.random("f32", terms, columns), added)
        return made

    return group_of(make)


@pytest.mark.parametrize("columns", [1, 7, 16, 24, 37, 64])
@pytest.mark.parametrize("rows", [(1,), (2,), (5,), (6,), (7,), (13,), (49,), (197,), (3, 5, 4)], ids=str)
def test_linear(rows: tuple[int, ...], columns: int) -> None:
    check(linear(rows, 24, columns))


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 383, 384, 385, 771, 1000])
def test_terms(terms: int) -> None:
    """Runs of terms: their remainders, and sums that go through memory between them."""
    check(linear((11,), terms, 33))


def test_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few rows and panels, the last ones smaller."""
    group = linear((100,), 50, 150)
    _, whole = check(group)
    for cut in (Schedule(16, 10, 8), Schedule(6, 3, 4), Schedule(2, 4, 20), Schedule(1, 1, 48)):
        monkeypatch.setattr(problems, "schedule", lambda *_, cut=cut: cut)
        _, got = check(group)
        np.testing.assert_allclose(got, whole, 1e-4, 1e-4)


def test_matmul() -> None:
    group = group_of(lambda n: n.matmul(n.x("f32", 2, 9, 40), n.random("f32", 40, 48)))
    check(group)


def test_transposed_matrix() -> None:
    group = linear((20,), 30, 40)
    inputs = values(group, {})
    wanted = expected(group, inputs, (20, 40))
    inputs[1] = arrange(inputs[1], (1, 0))
    got = multiply(group, inputs, np.empty((20, 40), np.float32))
    np.testing.assert_allclose(got, wanted, 1e-4, 1e-4)


def test_rows_with_gaps() -> None:
    group = linear((20,), 30, 32)
    inputs = values(group, {})
    wide = np.zeros((20, 45), np.float32)
    wide[:, 5:35] = inputs[0]
    inputs[0] = wide[:, 5:35]
    memory = np.zeros((20, 50), np.float32)
    multiply(group, inputs, memory[:, 10:42])
    np.testing.assert_allclose(memory[:, 10:42], expected(group, inputs, (20, 32)), 1e-4, 1e-4)
    assert not memory[:, :10].any() and not memory[:, 42:].any()


EPILOGUES: dict[str, Callable[[Net, Tensor, Tensor], Tensor]] = {
    "relu": lambda n, y, _: n.relu(y),
    "clip": lambda n, y, _: n.clip(y, min=-1.0, max=2.5),
    "gelu": lambda n, y, _: n.gelu(y),
    "gelu_tanh": lambda n, y, _: n.gelu(y, approximate="tanh"),
    "hard_sigmoid": lambda n, y, _: n.hard_sigmoid(y),
    "hard_swish": lambda n, y, _: n.hard_swish(y),
    "leaky_relu": lambda n, y, _: n.leaky_relu(y, alpha=0.2),
    "residual": lambda n, y, r: n.relu(n.add(y, r)),
    "residual_first": lambda n, y, r: n.silu(n.add(r, y)),
    "scale": lambda n, y, _: n.mul(y, n.w(0.125)),
    "sigmoid": lambda n, y, _: n.sigmoid(y),
    "silu": lambda n, y, _: n.silu(y),
    "spelled_out": lambda n, y, _: n.mul(y, n.sigmoid(y)),
    "tanh": lambda n, y, _: n.tanh(y),
}


@pytest.mark.parametrize("columns", [32, 21])
@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogue(name: str, columns: int) -> None:
    def make(n: Net) -> Tensor:
        y = n.linear(n.x("f32", 23, 40), n.random("f32", 40, columns, scale=0.3), n.random("f32", columns))
        other = n.x("f32", 23, columns, name="other") if "residual" in name else y
        return EPILOGUES[name](n, y, other)

    check(group_of(make), rtol=1e-5)


def test_epilogue_after_several_runs() -> None:
    """Not before the sums are complete."""
    check(group_of(lambda n: n.gelu(n.linear(n.x("f32", 30, 900), n.random("f32", 900, 48, scale=0.1)))), rtol=1e-5)


IMAGES = [
    ((1, 24, 9, 7), (1, 1)),
    ((2, 24, 9, 7), (1, 1)),
    ((2, 24, 9, 8), (2, 2)),
    ((1, 24, 9, 7), (2, 3)),
    ((2, 24, 13), (2,)),
    ((2, 24, 4, 5, 3), (2, 1, 2)),
]


@pytest.mark.parametrize(("image", "strides"), IMAGES, ids=str)
def test_pixels(image: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Convolutions of one pixel's reach, channels last, with all that an epilogue may read."""
    columns = 40
    shape = (image[0], columns, *((n - 1) // s + 1 for n, s in zip(image[2:], strides, strict=True)))

    def make(n: Net) -> Tensor:
        weight = n.random("f32", columns, image[1], *(1 for _ in strides))
        y = n.conv(n.x("f32", *image), weight, n.random("f32", columns), strides=strides)
        scaled = n.mul(y, n.random("f32", columns, *(1 for _ in strides), seed=3))
        made: Tensor = n.relu(n.add(scaled, n.x("f32", *shape, name="other")))
        return made

    order = LAST[len(image)]
    check(group_of(make), {"x": order, "other": order})


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_threads(kind: str) -> None:
    """The same bits however many threads share the chunks."""
    if kind == "linear":
        group, orders, out = linear((300,), 500, 300), {}, np.empty((300, 300), np.float32)
    else:
        group = group_of(lambda n: n.relu(n.conv(n.x("f32", 1, 64, 56, 56), n.random("f32", 80, 64, 1, 1))))
        orders, out = {"x": LAST[4]}, arrange(np.empty((1, 80, 56, 56), np.float32), LAST[4])
    inputs = values(group, orders)
    alone = multiply(group, inputs, out, 1).copy()
    for count in (2, 3):
        np.testing.assert_array_equal(multiply(group, inputs, out, count), alone)


MASKS: dict[str, Callable[[Net], Tensor | None]] = {
    "none": lambda n: None,
    "keys": lambda n: n.x("bool", 2, 1, 1, 39, name="mask"),
    "queries": lambda n: n.x("bool", 4, 37, 39, name="mask"),
    "numbers": lambda n: n.x("f32", 2, 4, 37, 39, name="mask"),
    "one": lambda n: n.x("f32", 39, name="mask"),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True])
def test_attention(mask: str, causal: bool) -> None:
    """Heads that share keys, with their rows apart or merged; masks leave some queries without a key."""
    group = group_of(
        lambda n: n.attention(
            n.x("f32", 2, 4, 37, 20, name="q"),
            n.x("f32", 2, 2, 39, 20, name="k"),
            n.x("f32", 2, 2, 39, 24, name="v"),
            MASKS[mask](n),
            causal=causal,
        )
    )
    check(group)
    merged = (0, 2, 1, 3)
    check(group, {"q": merged, "k": merged, "v": merged}, arrange(np.empty((2, 4, 37, 24), np.float32), merged))


@pytest.mark.parametrize(("queries", "keys"), [(1, 50), (7, 5), (97, 130), (200, 197)])
def test_attention_sizes(queries: int, keys: int) -> None:
    """With fewer keys than queries the first of these see none; several turns of a head."""
    qkv = [("q", queries), ("k", keys), ("v", keys)]
    check(group_of(lambda n: n.attention(*(n.x("f32", 3, s, 32, name=t) for t, s in qkv), causal=True, scale=0.3)))


def test_attention_of_too_many_keys_is_refused() -> None:
    qkv = [("q", 4), ("k", 4096), ("v", 4096)]
    _refused(group_of(lambda n: n.attention(*(n.x("f32", 1, s, 64, name=t) for t, s in qkv))), {})


REFUSED: dict[str, Callable[[Net], Tensor]] = {
    "no constant": lambda n: n.matmul(n.x("f32", 4, 8), n.x("f32", 8, 16, name="w")),
    "grouped": lambda n: n.conv(n.x("f32", 1, 8, 5, 5), n.random("f32", 8, 4, 1, 1), groups=2),
    "wider": lambda n: n.conv(n.x("f32", 1, 8, 5, 5), n.random("f32", 8, 8, 5, 1)),
    "padded": lambda n: n.conv(n.x("f32", 1, 8, 5, 5), n.random("f32", 8, 8, 1, 1), pads=[1, 1, 1, 1]),
    "vector": lambda n: n.matmul(n.x("f32", 8), n.random("f32", 8, 16)),
    "bf16": lambda n: n.linear(n.x("bf16", 4, 8), n.random("bf16", 8, 16)),
    "dtype": lambda n: n.linear(n.x("f64", 4, 8), n.random("f64", 8, 16)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    group = group_of(REFUSED[name])
    orders = {t.name: LAST[t.rank] for t in group.inputs if group.kind == "conv" and t.weight is None}
    _refused(group, orders)


def test_channels_first_is_refused() -> None:
    _refused(group_of(lambda n: n.conv(n.x("f32", 1, 8, 5, 5), n.random("f32", 16, 8, 1, 1))), {})


def _refused(group: Group, orders: dict[str, Sequence[int]]) -> None:
    inputs = [
        arrange(np.zeros([evaluate(d, {}) for d in t.shape], t.dtype.numpy), orders.get(t.name)) for t in group.inputs
    ]
    out = np.zeros([evaluate(d, {}) for d in group.outputs[0].shape], group.outputs[0].dtype.numpy)
    problem = problem_for(group, inputs, [arrange(out, LAST[out.ndim] if orders else None)], {})
    assert TACTICS[group.kind] not in [t.name for t in PROVIDER.tactics(problem, CPU())]
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem, Tactic(TACTICS[group.kind]), CPU())


@pytest.mark.parametrize("shape", [(1, 1), (5, 16), (9, 37), (64, 48)], ids=str)
def test_packing(shape: tuple[int, int]) -> None:
    tile = host_tile()
    assert tile is not None
    inner, outer = shape
    plain = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
    whole = np.zeros((3, inner, tile.panels(outer) * tile.columns), np.float32)
    whole[..., :outer] = plain
    wanted = np.moveaxis(whole.reshape(3, inner, -1, tile.columns), 2, 1)
    for matrix in (plain, np.ascontiguousarray(plain.swapaxes(1, 2)).swapaxes(1, 2)):
        np.testing.assert_array_equal(pack_panels(matrix, tile, CPU().room), wanted)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_schedules_fit_the_caches(threads: int) -> None:
    for tile in (Tile(6, 8, 2), Tile(12, 16, 2)):
        for rows, terms, columns in ((1, 1, 1), (49, 2048, 512), (3136, 64, 256), (128, 3072, 768), (10**6, 10**4, 7)):
            cut = schedule.schedule(tile, rows, terms, columns, threads)
            assert 0 < cut.run <= schedule.RUN and cut.run % 4 == 0
            assert 4 * max(cut.row_counts(rows)) * cut.run <= max(schedule.BLOCK, 4 * tile.rows * cut.run)
            assert 0 < cut.across <= rows and 0 < cut.groups <= tile.panels(columns)


@pytest.mark.parametrize(("rows", "terms", "columns"), [(196, 64, 384), (196, 384, 64), (49, 160, 960), (49, 960, 160)])
def test_two_threads_have_the_same_to_do(rows: int, terms: int, columns: int) -> None:
    tile = Tile(6, 8, 2)
    cut = schedule.schedule(tile, rows, terms, columns, 2)
    assert cut.across * cut.groups % 2 == 0


def test_panels_are_as_full_as_they_can_be() -> None:
    usual = host_tile()
    assert usual is not None
    wide = usual.columns + usual.lanes
    assert tile_for(usual.columns) == tile_for(3 * usual.columns) == tile_for(10**4) == usual
    found = tile_for(wide)
    assert found is not None and found.columns == wide
    assert found.rows * found.vectors <= usual.rows * usual.vectors  # the registers for its sums
