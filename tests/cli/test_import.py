"""`trtn import onnx`, and the road from a model to a verified engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Trtn


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A table of rows, a linear layer and a softmax, with weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((7, 16)).astype(np.float32),
        "fc.weight": rng.standard_normal((16, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "fc.weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path / "classifier.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_from_model_to_verified_engine(trtn: Trtn, classifier: Path, tmp_path: Path) -> None:
    result = trtn("import", "onnx", "classifier.onnx", "-o", "c.trtn", "--dim", "batch=1..16", "--name", "small")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("c.trtn: network small, ")
    assert result.stderr.endswith("(1.1 KiB), batch in 1..16\n")
    for verb in (["check", "."], ["fmt", "--check", "."]):
        result = trtn(*verb)
        assert result.exit_code == 0, result.output
    result = trtn("verify", "c.trtn", "--against", "classifier.onnx")
    assert result.exit_code == 0, result.output
    result = trtn("build", "c.trtn", "-o", "c.engine")
    assert result.exit_code == 0, result.output
    result = trtn("run", "c.engine", "--random", "0", "--shape", "ids=2")
    assert result.exit_code == 0, result.output
    assert "scores[1] largest: " in result.stdout
    assert "1.1 KiB (f32 1.1 KiB)" in trtn("inspect", "c.engine").stdout


def test_the_text_alone(trtn: Trtn, model: Path) -> None:
    result = trtn("import", "onnx", "-", "-o", "-", input=model.read_bytes())
    assert result.exit_code == 0
    assert result.stdout.startswith("trtn 1\n\nnetwork tiny {\n")
    assert trtn("check", "-", input=result.stdout).exit_code == 0


@pytest.mark.parametrize(
    ("dim", "declared"),
    [
        ("B=1..64", "dim B in 1..64\n"),
        ("B=8..512 step 8", "dim B in 8..512 step 8\n"),
        ("B=8..512:8", "in 8..512 step 8\n"),
    ],
)
def test_dims(trtn: Trtn, model: Path, dim: str, declared: str) -> None:
    assert declared in trtn("import", "onnx", "tiny.onnx", "-o", "-", "--dim", dim).stdout


def test_the_suffix_may_be_left_out(trtn: Trtn, model: Path, tmp_path: Path) -> None:
    result = trtn("import", "onnx", "tiny.onnx", "-o", "out", "--provenance", "--keep-storage")
    assert result.stderr.startswith("out.trtn: network tiny, ")
    assert (tmp_path / "out.trtn").exists()


def test_a_dim_of_one_value_is_a_number(trtn: Trtn, model: Path) -> None:
    assert "input x: f32[3, 4]\n" in trtn("import", "onnx", "tiny.onnx", "-o", "-", "--dim", "B=3").stdout


@pytest.mark.parametrize("dim", ["B", "B=", "B=a..b", "B=1..4 step 0", "=1..4"])
def test_dims_that_are_none(trtn: Trtn, model: Path, dim: str) -> None:
    assert trtn("import", "onnx", "tiny.onnx", "-o", "-", "--dim", dim).exit_code == 2


def test_findings(trtn: Trtn, model: Path, tmp_path: Path) -> None:
    result = trtn("import", "onnx", "tiny.onnx", "-o", "a.trtn", "--dim", "C=1..4")
    assert result.exit_code == 1
    assert "no dim of the model is called `C`" in result.stderr
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "none.onnx"):
        result = trtn("import", "onnx", name, "-o", "a.trtn")
        assert result.exit_code == 1, name
        assert "error[E0801]" in result.stderr or "error[E0108]" in result.stderr
    assert not (tmp_path / "a.trtn").exists()
    assert trtn("import", "onnx", "tiny.onnx").exit_code == 2
    assert trtn("import", "onnx", "tiny.onnx", "-o", "no/such/a.trtn").exit_code == 2
