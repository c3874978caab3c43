"""Weights that lie in an engine file as kernels read them: mapped where the same kernels run, plain for all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.engine.damage import forge
from tests.backend.harness import assert_same, floats, network
from trtn.backend import machine_code
from trtn.backend.build import build
from trtn.backend.devices.cpu import CPU
from trtn.backend.engine.container import read_container
from trtn.backend.engine.file import load_engine
from trtn.backend.providers import Prepared, find_provider
from trtn.backend.providers.llvm.gemm.tile import host_tile
from trtn.dsl.errors import EngineError

pytestmark = pytest.mark.skipif(
    machine_code.unavailable() is not None or host_tile() is None, reason="there are no kernels that pack"
)

SPEC = """
network n {
  dim N in 1..64
  input x: f32[N, 60]
  output y: f32[N, 62]
  output z: f32[N, 60]
  y = linear(x, w.first, w.bias)
  z = matmul(matmul(x, w.second), w.second)
}
profile only for n { N: min 1, opt 32, max 64 }
"""
WEIGHTS = """tensor first: f32[60, 62] = normal(1, 0.5)
tensor second: f32[60, 60] = normal(2, 0.1)
tensor bias: f32[62] = normal(3, 0.5)"""
FEEDS = {"x": floats(32, 60)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    engine = build(network(SPEC, folder, WEIGHTS), device="cpu", providers=("llvm",), effort=0, threads=1)
    assert {c.provider for c in engine.choices} == {"llvm"}
    engine.save(folder / "n.engine")
    return folder / "n.engine"


@pytest.fixture(scope="module")
def reference(path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    engine = build(network(SPEC, tmp_path_factory.mktemp("plain"), WEIGHTS), device="cpu", providers=())
    return engine.run(FEEDS)


def rows(path: Path) -> list[Any]:
    found: list[Any] = read_container(path).header["weights"]
    return found


def assert_close(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, array in expected.items():  # sums of 60 products of about 0.5, in another order
        np.testing.assert_allclose(actual[name], array, rtol=1e-4, atol=1e-5)


def test_matrices_lie_as_kernels_read_them(path: Path) -> None:
    orders = {tuple(shape): order for _, shape, _, order in rows(path)}
    assert orders[62,] is None
    columns = host_tile().columns  # type: ignore[union-attr]
    wanted = {"shape": [60, 62], "strides": [62, 1], "order": [1, 0], "blocks": [[1, columns]]}
    assert orders[60, 62] == wanted


def test_nothing_is_packed_anew(path: Path, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a weight is packed")

    monkeypatch.setattr(CPU, "room", refuse)
    assert_close(load_engine(path, threads=1).run(FEEDS), reference)


def test_files_in_memory(path: Path, reference: dict[str, Any]) -> None:
    """Their weights lie at any address."""
    data = path.read_bytes()
    for start in range(0, 64, 16):
        held = bytearray(start) + data
        view = memoryview(held)[start:].toreadonly()
        engine = load_engine(view, threads=1)  # type: ignore[arg-type]
        assert_close(engine.run(FEEDS), reference)
        first, second = (engine.weight_arrays.for_kernels(engine.kernels.at({"N": 32})) for _ in range(2))
        assert all(first[key] is second[key] for key in first)


def test_weights_are_plain_for_everybody_else(path: Path, tmp_path: Path) -> None:
    written = {t.name: t.weight.load() for t in network(SPEC, tmp_path, WEIGHTS).weights if t.weight}
    for t in load_engine(path).weights:
        assert t.weight is not None
        assert np.array_equal(t.weight.load(), written[t.name])
        assert t.weight.load().shape == t.shape


def test_an_engine_saved_again_is_the_same(path: Path, tmp_path: Path) -> None:
    engine = load_engine(path, threads=1)
    for name in ("before", "after"):
        engine.save(tmp_path / name)
        engine.run(FEEDS)
        assert (tmp_path / name).read_bytes() == path.read_bytes()


def test_kernels_of_other_shapes_take_plain_ones(path: Path, reference: dict[str, Any]) -> None:
    """Those of the optimum decide what lies in the file; a single row may have others."""
    engine = load_engine(path, threads=1)
    assert len(engine.points) > 1
    assert_close(engine.run({"x": FEEDS["x"][:1]}), {name: array[:1] for name, array in reference.items()})
    assert_close(engine.run(FEEDS), reference)


def test_a_machine_without_these_kernels(
    path: Path, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(find_provider("llvm")), "unavailable", lambda self, device: "not here")
    assert_close(load_engine(path, threads=1).run(FEEDS), reference)


def test_kernels_that_read_another_order(
    path: Path, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a processor with wider vectors: the file's order is of no use."""
    from trtn.backend.providers.llvm.kernel import LlvmKernel

    def bind(self: Prepared, *arguments: Any) -> Any:
        self.blockings = {}  # type: ignore[attr-defined]
        return original(self, *arguments)

    original = LlvmKernel.bind
    engine = load_engine(path, threads=1)
    for kernel in engine.kernels.at({"N": 32}):
        kernel.blockings = {}  # type: ignore[union-attr]
    monkeypatch.setattr(LlvmKernel, "bind", bind)
    assert_same(engine.run(FEEDS), load_engine(path, threads=1).run(FEEDS))


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no blocks": (lambda o: o.pop("blocks"), "other fields"),
    "another field": (lambda o: o.update(path="/etc"), "other fields"),
    "two elements at one place": (lambda o: o.update(strides=[1, 1]), "no such order"),
    "elements beyond the weight": (lambda o: o.update(strides=[2**40, 1]), "no such order"),
    "backwards": (lambda o: o.update(strides=[-62, 1]), "no such order"),
    "fewer elements": (lambda o: o.update(shape=[30, 62]), "no such order"),
    "an axis twice": (lambda o: o.update(order=[0, 0]), "no such order"),
    "an axis that is not there": (lambda o: o.update(order=[0, 2]), "no such order"),
    "axes without strides": (lambda o: o.update(strides=[62]), "no such order"),
    "no axes": (lambda o: o.update(shape=[], strides=[], order=[]), "no such order"),
    "a block of nothing": (lambda o: o.update(blocks=[[1, 0]]), "no such order"),
    "a block of another axis": (lambda o: o.update(blocks=[[7, 4]]), "no such order"),
    "a block of three": (lambda o: o.update(blocks=[[1, 4, 4]]), "not a list of 2"),
    "a block beyond the section": (lambda o: o.update(blocks=[[1, 2**40]]), "outside of its section"),
    "many blocks": (lambda o: o.update(blocks=[[1, 2]] * 40), "no such order"),
    "text": (lambda o: o.update(shape="60"), "not a list"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_hostile_orders(path: Path, tmp_path: Path, change: str) -> None:
    container = read_container(path)
    apply, says = CHANGES[change]
    apply(next(row[3] for row in container.header["weights"] if row[1] == [60, 62]))
    forge(tmp_path / "bad.engine", container.header, bytes(container.section("weights")))
    with pytest.raises(EngineError, match=says) as caught:
        load_engine(tmp_path / "bad.engine")
    assert caught.value.diagnostics[0].code == "E0703"
