"""Groups by blocks against the ops' own evaluation, over shapes, attributes, memory orders and numbers of threads.

Tolerance: sums of n products in f32 in another order differ by about sqrt(n) * 2^-24 of the terms' size; 1e-4 leaves
an order of magnitude for n up to 10^4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtn
from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import check, group_of
from trtn.backend.providers.base import find_provider
from trtn.backend.providers.blockwise import blocks, convolution, depthwise
from trtn.backend.providers.blockwise.blocks import BLOCK, cut, row_stride, spans
from trtn.backend.providers.blockwise.provider import KERNELS, PROVIDER
from trtn.dsl.network import Tensor

LAST = (0, 2, 3, 1)
run = partial(check, provider=PROVIDER, tactics=KERNELS)


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are worth waking for anything."""
    monkeypatch.setattr(blocks, "SHARE", 1)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 8, 9, 11), (16, 8, 3, 3), {"pads": (1,)}),
    ((1, 3, 37, 41), (5, 3, 7, 7), {"strides": (2,), "pads": (3,)}),
    ((1, 12, 40, 56), (24, 12, 3, 3), {"pads": (1,)}),
    ((1, 16, 14, 14), (32, 16, 1, 1), {"strides": (2,)}),
    ((2, 16, 24, 24), (40, 16, 1, 1), {}),
    ((1, 9, 7, 7), (300, 9, 3, 3), {"pads": (1, 0, 2, 1)}),
    ((1, 9, 13, 13), (4, 9, 3, 2), {"dilations": (2,), "pads": (2,)}),
    ((1, 4, 12, 9), (4, 4, 4, 2), {"strides": (2, 1), "auto_pad": "same_lower"}),
    ((1, 9, 2, 2), (8, 9, 5, 5), {"pads": (2,)}),
    ((2, 5, 1, 2), (3, 5, 2, 2), {"pads": (3,), "strides": (2,)}),
    ((2, 5, 11, 9), (3, 5, 3, 3), {"strides": (2, 3)}),
    ((3, 9, 5, 1), (8, 9, 3, 3), {"pads": (1,)}),
    ((1, 9, 6, 6), (8, 9, 3, 3), {"strides": (3,), "pads": (3,), "dilations": (2,)}),
]
DEPTHWISE: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 8, 9, 11), (3, 3), {"pads": (1, 0, 2, 1)}),
    ((2, 24, 21, 18), (3, 3), {"strides": (2,), "pads": (1,)}),
    ((1, 32, 70, 70), (5, 5), {"pads": (2,)}),
    ((1, 6, 15, 14), (3, 5), {"strides": (1, 3), "pads": (4,), "dilations": (2,)}),
    ((1, 6, 12, 12), (4, 4), {"strides": (2,), "pads": (1,), "dilations": (1, 2)}),
    ((1, 6, 2, 2), (7, 7), {"pads": (3,)}),
    ((1, 6, 12, 12), (1, 1), {"strides": (2,)}),
]


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("order", [None, LAST], ids=["first", "last"])
@pytest.mark.parametrize(("x", "w", "attrs"), CONVS, ids=str)
def test_conv(
    x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any], order: tuple[int, ...] | None, threads: int
) -> None:
    group = group_of(
        lambda n: n.clip(
            n.conv(n.x("f32", *x), n.random("f32", *w, scale=0.3), n.random("f32", w[0]), **attrs), min=-0.5, max=2.0
        )
    )
    assert run(group, orders={"x": order}, out=LAST, threads=threads).keys() == {"depthwise"}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("order", [None, LAST], ids=["first", "last"])
@pytest.mark.parametrize(("x", "kernel", "attrs"), DEPTHWISE, ids=str)
def test_depthwise(
    x: tuple[int, ...], kernel: tuple[int, ...], attrs: dict[str, Any], order: tuple[int, ...] | None, threads: int
) -> None:
    weight = (x[1], 1, *kernel)
    group = group_of(
        lambda n: n.relu(n.conv(n.x("f32", *x), n.random("f32", *weight), n.random("f32", x[1]), groups=x[1], **attrs))
    )
    assert run(group, orders={"x": order}, out=LAST, threads=threads).keys() == {"windows"}


@pytest.mark.parametrize("share", [1, 1 << 40])
def test_blocks_that_are_cut_for_the_cache(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Each thread needs scratch memory, of which there is one where nobody is woken."""
    monkeypatch.setattr(blocks, "SHARE", share)
    monkeypatch.setattr(convolution, "NEAR", 1 << 12)
    monkeypatch.setattr(depthwise, "NEAR", 1 << 8)
    for groups in (1, 12):
        group = group_of(
            lambda n, g=groups: n.conv(n.x("f32", 1, 12, 40, 40), n.random("f32", 12, 12 // g, 3, 3), groups=g)
        )
        assert len(run(group, orders={"x": LAST}, out=LAST, threads=3)) == 1


def test_results_with_channels_first_are_left_to_others() -> None:
    group = group_of(lambda n: n.conv(n.x("f32", 1, 3, 8, 8), n.random("f32", 4, 3, 3, 3)))
    assert run(group).keys() == {"depthwise", "windows"}


EPILOGUES: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "residual": lambda n, y: n.relu(n.add(y, n.x("f32", 1, 8, 30, 30, name="z"))),
    "residual first": lambda n, y: n.add(n.x("f32", 1, 8, 30, 30, name="z"), n.gelu(y)),
    "less": lambda n, y: n.sub(n.random("f32", 8, 1, 1), y),
    "number": lambda n, y: n.mul(n.w(3.0), y),
    "no bound": lambda n, y: n.clip(y, max=0.25),
    "slopes": lambda n, y: n.prelu(y, n.random("f32", 8, 1, 1)),
    "twice": lambda n, y: n.mul(n.sigmoid(y), y),
    "itself": lambda n, y: n.mul(y, y),
}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("name", EPILOGUES)
def test_what_follows_a_product(name: str) -> None:
    group = group_of(
        lambda n: EPILOGUES[name](n, n.conv(n.x("f32", 1, 8, 30, 30), n.random("f32", 8, 8, 3, 3), pads=(1,)))
    )
    assert len(group.layers) > 1
    assert run(group, orders={"x": LAST, "z": LAST}, out=LAST, threads=2).keys() == {"depthwise"}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [(7,), (3, 150), (2, 3, 4), (1, 1), (1, 130)], ids=str)
def test_products(rows: tuple[int, ...], threads: int) -> None:
    linear = group_of(
        lambda n: n.gelu(n.linear(n.x("f32", *rows, 24), n.random("f32", 24, 700, scale=0.3), n.random("f32", 700)))
    )
    assert not run(linear, threads=threads)
    assert not run(group_of(lambda n: n.matmul(n.x("f32", *rows, 24), n.random("f32", 24, 5))), threads=threads)


SLICED: dict[str, Callable[[Net], Tensor]] = {
    "layer_norm": lambda n: n.layer_norm(n.x("f32", 1700, 330), n.random("f32", 330), n.random("f32", 330)),
    "softmax": lambda n: n.softmax(n.x("f32", 3, 1500, 133)),
    "softmax of the middle": lambda n: n.softmax(n.x("f32", 160, 5, 733), axis=1),
    "pointwise": lambda n: n.mul(n.exp(n.x("f32", 1, 800, 800)), n.x("f32", 800, 1, name="z")),
    "attention": lambda n: n.attention(
        n.x("f32", 2, 6, 290, 8), n.x("f32", 2, 6, 210, 8, name="k"), n.x("f32", 2, 6, 210, 4, name="v")
    ),
    "shared heads": lambda n: n.attention(
        n.x("f32", 2, 6, 190, 8), n.x("f32", 2, 3, 190, 8, name="k"), n.x("f32", 2, 3, 190, 8, name="v"), causal=True
    ),
}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("name", SLICED)
def test_slices(name: str) -> None:
    assert not run(group_of(SLICED[name]), threads=2)


def test_what_is_not_worth_cutting_is_left_to_others() -> None:
    for shape, axis in (((1, 200_000), 1), ((400, 330), 0), ((4, 33), 1)):
        group = group_of(lambda n, shape=shape, axis=axis: n.softmax(n.x("f32", *shape), axis=axis))
        assert run(group, threads=2).keys() == {"slices"}


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (49, 2048), (3136, 64), (128, 30_000), (12_544, 96), (1, 5000)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_cover_the_result_once(rows: int, columns: int, threads: int) -> None:
    seen = np.zeros((rows, columns), int)
    for block in cut(rows, columns, threads):
        assert seen[block.rows, block.columns].size
        seen[block.rows, block.columns] += 1
    assert (seen == 1).all()
    assert spans(BLOCK, 1) == [slice(0, BLOCK)]


def test_rows_of_arrays() -> None:
    assert row_stride((2, 3, 4), (12, 4, 1)) == 4
    assert row_stride((2, 3, 4), (15, 5, 1)) == 5
    assert row_stride((2, 1, 4), (15, 99, 1)) == 15
    assert row_stride((2, 3, 4), (13, 4, 1)) is None
    assert row_stride((1, 4), (4, 1)) == 4


def test_an_engine_of_numpy_alone(tmp_path: Path) -> None:
    """A network from the builder to the outputs, saved and loaded, with no other provider."""
    net = trtn.load(Path(__file__).parents[3] / "specs" / "lenet.trtn")
    engine = trtn.build(net, device="cpu", providers=("blockwise",))
    assert {c.provider for c in engine.choices} <= {"blockwise", "reference"}
    assert "blockwise" in {c.provider for c in engine.choices}
    engine.save(tmp_path / "e.engine")
    again = trtn.load_engine(tmp_path / "e.engine", threads=2)
    plain = trtn.build(net, device="cpu", providers=())
    (x,) = net.inputs
    feeds = {x.name: np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32)}
    for name, wanted in plain.run(feeds).items():
        np.testing.assert_allclose(again.run(feeds)[name], wanted, 1e-4, 1e-5)
    assert find_provider("blockwise") is PROVIDER
