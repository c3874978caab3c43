"""Winograd's filtering in generated kernels against direct sums in f64.

Tolerance, relative to the largest result: 4x4 tiles round off 2e-6 over 128 channels (2x2: 4e-7, a direct sum in f32:
5e-7), so 5e-6 for either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.llvm.gemm.tile import Tile
from trtn.backend.providers.llvm.kernel import LlvmKernel
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.backend.providers.onednn import library as onednn
from trtn.dsl.network import Tensor
from trtn.dsl.ops.windows import actual_pads

pytestmark = pytest.mark.skipif(
    machine_code.unavailable() is not None or not machine_code.has_feature("fma"),
    reason="needs llvmlite, and fused multiply-adds",
)

TOLERANCE = 5e-6
LAST = (0, 2, 3, 1)
Epilogue = Callable[[Net, Tensor], Tensor]


def conv(
    x: tuple[int, int, int, int], filters: int, epilogue: Epilogue = lambda n, y: y, bias: bool = True, **attrs: Any
) -> Group:
    """A convolution of x [N, C, H, W] by 3x3 filters that leave its variance as it is."""

    def make(n: Net) -> Tensor:
        weight = n.random("f32", filters, x[1], 3, 3, scale=(9 * x[1]) ** -0.5)
        biases = [n.random("f32", filters, seed=1)] if bias else []
        return epilogue(n, n.conv(n.x("f32", *x), weight, *biases, **{"pads": 1, **attrs}))

    return group_of(make)


def arrays_of(group: Group, order: Sequence[int] | None = LAST) -> tuple[Problem, list[Any], list[Any]]:
    rng = np.random.default_rng(3)
    shapes = [tuple(int(str(d)) for d in t.shape) for t in group.inputs]
    inputs = [
        t.weight.load() if t.weight is not None else arrange(rng.standard_normal(shape).astype(np.float32), order)
        for t, shape in zip(group.inputs, shapes, strict=True)
    ]
    outputs = [arrange(np.zeros([int(str(d)) for d in t.shape], np.float32), order) for t in group.outputs]
    return problem_for(group, inputs, outputs, {}), inputs, outputs


def exact(group: Group, inputs: Sequence[Any]) -> Any:
    """The convolution with its bias, and the layers after it by their own evaluation, in f64."""
    layer = group.layers[0]
    values = {id(t): a.astype(np.float64) for t, a in zip(group.inputs, inputs, strict=True)}
    x, weight, *bias = (values[id(t)] for t in layer.inputs if t is not None)
    attrs = layer.attrs
    top, left, bottom, right = actual_pads(x.shape[2:], (3, 3), (1, 1), attrs["pads"], (1, 1), attrs["auto_pad"])
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    values[id(layer.outputs[0])] = y + (bias[0].reshape(-1, 1, 1) if bias else 0.0)
    for other in group.layers[1:]:
        given = [values[id(t)] for t in other.inputs if t is not None]
        values[id(other.outputs[0])] = other.op.evaluate(np, *given, **other.attrs)
    return values[id(group.outputs[0])]


def check(group: Group, m: int) -> None:
    problem, inputs, outputs = arrays_of(group)
    run(PROVIDER, Tactic(f"winograd{m}"), problem, inputs, outputs)
    wanted = exact(group, inputs)
    assert np.abs(outputs[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("m", [2, 4])
def test_matrices(m: int) -> None:
    """Of random patches, to the last digits of f64."""
    from trtn.backend.providers.llvm.winograd_transforms import matrices

    rng = np.random.default_rng(0)
    a, g, b = matrices(m)
    d, f = rng.standard_normal((m + 2, m + 2)), rng.standard_normal((3, 3))
    wanted = [[(d[i : i + 3, j : j + 3] * f).sum() for j in range(m)] for i in range(m)]
    np.testing.assert_allclose(a @ ((g @ f @ g.T) * (b @ d @ b.T)) @ a.T, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("filters", [8, 40, 48, 72, 136])
@pytest.mark.parametrize("m", [2, 4])
def test_packed_filters(m: int, filters: int) -> None:
    """Each filter is found at its chunk, position, panel, channel and column."""
    from trtn.backend.providers.llvm.winograd_transforms import matrices, pack_filters

    _, g, _ = matrices(m)
    weight = np.random.default_rng(0).standard_normal((filters, 5, 3, 3)).astype(np.float32)
    packed = pack_filters(m, 16, 4, weight, room=CPU().room)
    wanted = (g @ weight.astype(np.float64) @ g.T).reshape(filters, 5, -1)
    panels, start = -(-filters // 16), 0
    for first in range(0, panels, 4):
        own = min(4, panels - first)
        part = packed[start : start + len(g) ** 2 * own * 5 * 16].reshape(-1, own, 5, 16)
        start += part.size
        found = part.transpose(1, 3, 2, 0).reshape(own * 16, 5, -1)
        there = wanted[first * 16 : (first + own) * 16]
        np.testing.assert_allclose(found[: len(there)], there, rtol=1e-6, atol=1e-7)
        assert not found[len(there) :].any()
    assert start == packed.size


SHAPES = {
    "one tile": ((1, 8, 4, 4), 8, {}),
    "one pixel": ((2, 16, 1, 1), 8, {}),
    "no padding": ((1, 8, 9, 7), 16, {"pads": 0}),
    "padding of 2": ((1, 16, 5, 6), 24, {"pads": 2}),
    "one side": ((1, 8, 7, 10), 8, {"pads": (0, 2, 1, 0)}),
    "same": ((1, 8, 7, 10), 8, {"pads": 0, "auto_pad": "same_upper"}),
    "line": ((3, 8, 1, 30), 72, {}),
    "column": ((2, 24, 31, 1), 8, {}),
    "batch": ((3, 24, 13, 9), 40, {}),
    "several blocks": ((2, 8, 30, 34), 136, {}),
    "long sums": ((1, 520, 6, 6), 8, {}),
}


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, m: int) -> None:
    x, filters, attrs = SHAPES[name]
    check(conv(x, filters, lambda n, y: n.relu(y), **attrs), m)


def _residual(n: Net, y: Tensor) -> Tensor:
    other = n.x("f32", *(int(str(d)) for d in y.shape), name="r")
    return n.relu(n.add(y, other))


EPILOGUES: dict[str, Epilogue] = {
    "none": lambda n, y: y,
    "residual": _residual,
    "scale": lambda n, y: n.mul(y, n.random("f32", 1, 24, 1, 1, seed=5)),
    "silu": lambda n, y: n.mul(y, n.sigmoid(y)),
    "clip": lambda n, y: n.clip(y, min=0.0, max=0.5),
    "prelu": lambda n, y: n.prelu(y, n.random("f32", 24, 1, 1, seed=6)),
    "chain": lambda n, y: n.gelu(n.mul(n.add(y, n.w([0.25])), n.random("f32", 24, 1, 1, seed=7))),
}


@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogues(name: str) -> None:
    check(conv((2, 16, 6, 11), 24, EPILOGUES[name], bias=name != "scale"), 4)


def test_adds_what_it_reads() -> None:
    """y = relu(conv(x) + x): the residual is the image."""

    def make(n: Net) -> Tensor:
        x = n.x("f32", 1, 16, 9, 10)
        return n.relu(n.add(n.conv(x, n.random("f32", 16, 16, 3, 3, scale=0.1), pads=1), x))

    check(group_of(make), 4)


def test_rounding() -> None:
    """What the docstrings say of the errors: of 128 channels, and of 2x2 tiles against a direct sum in f32."""
    group = conv((1, 128, 12, 12), 64, bias=False)
    problem, inputs, outputs = arrays_of(group)
    wanted = exact(group, inputs)
    errors = []
    for m in (2, 4):
        run(PROVIDER, Tactic(f"winograd{m}"), problem, inputs, outputs)
        errors.append(np.abs(outputs[0] - wanted).max() / np.abs(wanted).max())
    assert errors[0] < 1e-6 and errors[1] < 4e-6


def test_parts_of_wider_images() -> None:
    """Channels of a concat's memory, and an image inside another."""
    group = conv((2, 16, 9, 10), 24, _residual)
    _, inputs, _ = arrays_of(group)
    whole = np.full((2, 13, 14, 40), np.nan, np.float32)
    image = whole[:, 2:11, 3:13, 8:24].transpose(0, 3, 1, 2)
    image[...] = inputs[0]
    wide = np.full((2, 9, 10, 64), 7.0, np.float32)
    result = wide[..., 32:56].transpose(0, 3, 1, 2)
    inputs = [image, *inputs[1:]]
    run(PROVIDER, Tactic("winograd4"), problem_for(group, inputs, [result], {}), inputs, [result])
    wanted = exact(group, inputs)
    assert np.abs(result - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert (wide[..., :32] == 7.0).all() and (wide[..., 56:] == 7.0).all()


@pytest.mark.parametrize("size", [6, 44])
def test_any_number_of_threads(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, however the work is cut and whoever does it."""
    from trtn.backend.providers.llvm import winograd

    problem, inputs, outputs = arrays_of(conv((1, 16, size, size), 136))
    results = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(winograd, "cores", lambda cores=cores: cores)
        kernel = PROVIDER.prepare(problem, Tactic("winograd4"), CPU())
        launch = kernel.bind(inputs, outputs, CPU().arena(kernel.workspace))
        for threads in (1, 2):
            with CPU(threads).running(compiled=True, arrays=False):
                launch()
            results.append(outputs[0].copy())
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_wider_vectors() -> None:
    """The code of a processor with vectors of 16: LLVM divides them where there are none."""
    from trtn.backend.providers.llvm.winograd import write_winograd

    group = conv((1, 32, 11, 9), 48, _residual)
    problem, inputs, outputs = arrays_of(group)
    kernel = LlvmKernel(write_winograd(4, problem, Tile(5, 16, 2)), CPU())
    kernel.bind(inputs, outputs, CPU().arena(kernel.workspace))()
    wanted = exact(group, inputs)
    assert np.abs(outputs[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize(
    "made",
    [
        lambda n: n.conv(n.x("f32", 1, 16, 9, 9), n.random("f32", 16, 16, 3, 3), pads=1, strides=2),
        lambda n: n.conv(n.x("f32", 1, 16, 9, 9), n.random("f32", 16, 16, 3, 3), pads=2, dilations=2),
        lambda n: n.conv(n.x("f32", 1, 16, 9, 9), n.random("f32", 16, 8, 3, 3), pads=1, groups=2),
        lambda n: n.conv(n.x("f32", 1, 12, 9, 9), n.random("f32", 16, 12, 3, 3), pads=1),
        lambda n: n.conv(n.x("f32", 1, 16, 9, 9), n.random("f32", 16, 16, 5, 5), pads=2),
        lambda n: n.conv(n.x("f32", 1, 16, 9, 9), n.x("f32", 16, 16, 3, 3, name="w"), pads=1),
        lambda n: n.conv(n.x("f32", 1, 16, 9), n.random("f32", 16, 16, 3), pads=1),
        lambda n: n.deconv(n.x("f32", 1, 16, 9, 9), n.random("f32", 16, 16, 3, 3), pads=1),
    ],
)
def test_refused(made: Callable[[Net], Tensor]) -> None:
    group = group_of(made)
    problem, _, _ = arrays_of(group, None if len(group.outputs[0].shape) != 4 else LAST)
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem, Tactic("winograd4"), CPU())


def test_refuses_channels_first() -> None:
    problem, _, _ = arrays_of(conv((1, 16, 9, 9), 16), None)
    with pytest.raises(TacticError, match="channels last"):
        PROVIDER.prepare(problem, Tactic("winograd4"), CPU())


@pytest.mark.parametrize(
    ("x", "filters", "wanted"),
    [((1, 64, 56, 56), 64, 4), ((1, 128, 28, 28), 128, 4), ((1, 256, 14, 14), 256, 2), ((1, 512, 7, 7), 512, 2)],
)
def test_choice_of_tiles(
    x: tuple[int, int, int, int], filters: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large tiles where there are many; small ones where filters are most of what is read. Without oneDNN the others are
    offered too, behind."""
    problem, _, _ = arrays_of(conv(x, filters))
    monkeypatch.setattr(onednn, "unavailable", lambda: None)
    assert [t.name for t in PROVIDER.tactics(problem, CPU(), 0)] == [f"winograd{wanted}"]
    monkeypatch.setattr(onednn, "unavailable", lambda: "it is not installed")
    assert [t.name for t in PROVIDER.tactics(problem, CPU(), 0)] == [f"winograd{wanted}", f"winograd{6 - wanted}"]


def test_choice_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pixels are left to others, unless kernels are timed."""
    monkeypatch.setattr(onednn, "unavailable", lambda: None)
    problem, _, _ = arrays_of(conv((1, 512, 2, 2), 512))
    assert not any(t.name.startswith("winograd") for t in PROVIDER.tactics(problem, CPU(), 0))
    assert {"winograd2", "winograd4"} <= {t.name for t in PROVIDER.tactics(problem, CPU(), 3)}
