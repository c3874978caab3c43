"""Networks to files and back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.interpreter import evaluate_network
from trtn.dsl.builder import Builder
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import BuildError, SpecError
from trtn.dsl.load import load
from trtn.dsl.network import Network
from trtn.dsl.printer import network_digest
from trtn.dsl.save import save

F32 = BY_NAME["f32"]


def network(scale: float = 1, name: str = "net") -> Network:
    b = Builder(name, dims={"N": Range(1, 8)})
    x = b.input("x", F32, (symbol("N"), 5))
    weight = b.constant(np.arange(20, dtype=np.float32).reshape(5, 4) * scale, "fc.weight")
    bias = b.constant(np.zeros(4, np.float32), "/fc/bias:0")
    t = b.layer("linear", x, weight, bias, name="t")[0]
    t = b.layer("add", t, b.constant(np.arange(4.0, dtype=np.float32)), name="u")[0]
    return b.finish([("y", b.layer("mul", t, b.constant(np.full((20, 1, 4), scale, np.float32)), name="y")[0])])


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere")
    yield folder
    folder.chmod(0o700)


def test_three_files_that_load(tmp_path: Path) -> None:
    before = network()
    save(before, tmp_path / "my model.trtn")
    assert names(tmp_path) == ["my model.safetensors", "my model.trtn", "my model.weights.trtn"]
    after = load(tmp_path / "my model.trtn")
    feeds = {"x": np.ones((2, 5), np.float32)}
    np.testing.assert_array_equal(evaluate_network(before, feeds)["y"], evaluate_network(after, feeds)["y"])
    assert network_digest(before) == network_digest(after)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    save(network(), tmp_path / "a" / "m.trtn")
    save(load(tmp_path / "a" / "m.trtn"), tmp_path / "b" / "m.trtn")
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_suffix_is_added(tmp_path: Path) -> None:
    save(network(), str(tmp_path / "m.v2"))
    assert names(tmp_path) == ["m.v2.safetensors", "m.v2.trtn", "m.v2.weights.trtn"]
    load(tmp_path / "m.v2.trtn")


def test_no_manifest_without_weights(tmp_path: Path) -> None:
    b = Builder("net")
    save(b.finish([("y", b.layer("relu", b.input("x", F32, (2,)), name="y")[0])]), tmp_path / "m.trtn")
    assert names(tmp_path) == ["m.trtn"]
    assert "weights" not in (tmp_path / "m.trtn").read_text()


def test_generators_stay_generators(tmp_path: Path) -> None:
    save(network(), tmp_path / "m.trtn")
    text = (tmp_path / "m.weights.trtn").read_text()
    assert "tensor `/fc/bias:0`: f32[4] = zeros" in text
    manifest = text.replace("tensor `/fc/bias:0`: f32[4] = zeros", "tensor `/fc/bias:0`: f32[4] = normal(7, 0.5)")
    (tmp_path / "m.weights.trtn").write_text(manifest)
    save(load(tmp_path / "m.trtn"), tmp_path / "n.trtn")
    assert "tensor `/fc/bias:0`: f32[4] = normal(7, 0.5)" in (tmp_path / "n.weights.trtn").read_text()


def test_saving_over_the_files_that_the_weights_are_in(tmp_path: Path) -> None:
    save(network(), tmp_path / "m.trtn")
    digest = network_digest(load(tmp_path / "m.trtn"))
    for keep_storage in (False, True):
        save(load(tmp_path / "m.trtn"), tmp_path / "m.trtn", keep_storage=keep_storage)
        assert network_digest(load(tmp_path / "m.trtn")) == digest
        assert names(tmp_path) == ["m.safetensors", "m.trtn", "m.weights.trtn"]


def test_storage_below_the_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    save(network(), tmp_path / "data" / "m.trtn")
    loaded = load(tmp_path / "data" / "m.trtn")
    save(loaded, tmp_path / "n.trtn", keep_storage=True)
    assert names(tmp_path) == ["data", "n.trtn", "n.weights.trtn"]
    assert "data/m.safetensors" in (tmp_path / "n.weights.trtn").read_text()
    assert network_digest(load(tmp_path / "n.trtn")) == network_digest(loaded)
    save(loaded, tmp_path / "whole.trtn")
    shutil.rmtree(tmp_path / "data")
    assert network_digest(load(tmp_path / "whole.trtn")) == network_digest(network())


def test_provenance(tmp_path: Path) -> None:
    text = 'trtn 1\n\nnetwork net {\n  input x: f32[2]\n  output y: f32[2]\n\n  @onnx("/Relu")\n  y = relu(x)\n}\n'
    (tmp_path / "m.trtn").write_text(text)
    save(load(tmp_path / "m.trtn"), tmp_path / "n.trtn", provenance=True)
    assert (tmp_path / "n.trtn").read_text() == text


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no folder") as failure:
        save(network(), tmp_path / "missing" / "m.trtn")
    (diagnostic,) = failure.value.diagnostics
    assert diagnostic.code == "E0111"
    assert diagnostic.help.startswith("make the folder first")


def test_a_folder_that_is_closed(closed: Path) -> None:
    with pytest.raises(SpecError, match="can't be written: Permission denied"):
        save(network(), closed / "m.trtn")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.trtn").mkdir()
    with pytest.raises(SpecError, match="can't be written"):
        save(network(), tmp_path / "m.trtn")


@pytest.mark.parametrize("keep_storage", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, keep_storage: bool) -> None:
    (tmp_path / "data").mkdir()
    save(network(), tmp_path / "data" / "old.trtn")
    broken = load(tmp_path / "data" / "old.trtn")
    save(network(2), tmp_path / "m.trtn")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path) if name != "data"}
    (tmp_path / "data" / "old.safetensors").unlink()
    with pytest.raises(BuildError):
        save(broken, tmp_path / "m.trtn", keep_storage=keep_storage)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path) if name != "data"} == before
