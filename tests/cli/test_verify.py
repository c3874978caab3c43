"""`trtn verify` and what it is made of: corners, comparison, the reference."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.cli.conftest import SPEC, Trtn
from trtn.cli.compare import compare, default_tolerance
from trtn.cli.corners import corners
from trtn.cli.rounding import rounding_floor
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import ShapeError
from trtn.dsl.load import load, load_text
from trtn.dsl.network import Tensor

pytest.importorskip("onnxruntime")

WITHOUT_PROFILES = SPEC.partition("profile")[0]


def test_agreement(trtn: Trtn, spec: Path, model: Path) -> None:
    result = trtn("verify", "tiny.trtn", "--against", "tiny.onnx")
    assert result.exit_code == 0, result.output
    headings = [line for line in result.stdout.splitlines() if line.startswith("profile")]
    assert headings == [
        "profile small at min: B = 1",
        "profile small at opt: B = 2",
        "profile small at max: B = 4",
        "profile large at max: B = 8",
    ]
    assert result.stderr.endswith("tiny agrees with tiny.onnx at 4 corners\n")


def test_junit(trtn: Trtn, tmp_path: Path, model: Path) -> None:
    (tmp_path / "bad.trtn").write_text(SPEC.replace("y = h + x", "y = h - x"))
    result = trtn("verify", "bad.trtn", "--against", "tiny.onnx", "--shape", "x=3,4", "--junit", "verify.xml")
    assert result.exit_code == 1
    (suite,) = ElementTree.parse(tmp_path / "verify.xml").getroot()
    assert suite.attrib == {"name": "tiny", "tests": "2", "failures": "1"}
    failures = {case.get("name"): [f.get("type") for f in case] for case in suite}
    assert failures == {"y": ["E0804"], "n": []}
    assert {case.get("classname") for case in suite} == {"tiny.the given shapes: B = 3"}


def test_disagreement(trtn: Trtn, tmp_path: Path, model: Path) -> None:
    (tmp_path / "bad.trtn").write_text(SPEC.replace("y = h + x", "y = h - x"))
    arguments = ["verify", "bad.trtn", "--against", "tiny.onnx", "--shape", "x=3,4"]
    result = trtn(*arguments)
    assert result.exit_code == 1
    assert "DIFFERS" in result.stdout
    assert "error[E0804]: `y` differs from the model's: by " in result.stderr
    assert "--> bad.trtn:13:7\n" in result.stderr
    assert "= note: the given shapes: B = 3\n" in result.stderr
    document = json.loads(trtn(*arguments, "--format", "json").stdout)
    assert document["valid"] is False
    found = {c["output"]: c["ok"] for c in document["comparisons"]}
    assert found == {"y": False, "n": True}
    assert trtn(*arguments, "--rtol", "100").exit_code == 0


def test_models_that_do_not_go_with_the_spec(trtn: Trtn, tmp_path: Path, spec: Path, model: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "none.onnx"):
        result = trtn("verify", "tiny.trtn", "--against", name)
        assert result.exit_code == 1
        assert "error[E0801]" in result.stderr
    (tmp_path / "other.trtn").write_text(SPEC.replace("ids", "words"))
    result = trtn("verify", "other.trtn", "--against", "tiny.onnx")
    assert result.exit_code == 1
    assert "tiny.onnx has no input `words`; it has `x`, `ids`" in result.stderr


def test_names_that_all_differ_go_by_position(trtn: Trtn, tmp_path: Path, model: Path) -> None:
    renamed = SPEC.replace("ids", "words").replace("(x)", "(image)").replace("+ x", "+ image")
    (tmp_path / "other.trtn").write_text(renamed.replace("input x", "input image"))
    assert trtn("verify", "other.trtn", "--against", "tiny.onnx").exit_code == 0


def test_without_onnxruntime(trtn: Trtn, spec: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = trtn("verify", "tiny.trtn", "--against", "tiny.onnx")
    assert result.exit_code == 2
    assert "pip install onnxruntime" in result.stderr


def test_shapes_that_do_not_fit(trtn: Trtn, spec: Path, model: Path) -> None:
    for shape in ("x=4", "z=4,4", "x=99,4"):
        result = trtn("verify", "tiny.trtn", "--against", "tiny.onnx", "--shape", shape)
        assert result.exit_code == 1, shape


def test_small_corners_where_there_is_no_profile() -> None:
    found = corners(load_text(WITHOUT_PROFILES), {})
    assert [dict(c.sizes) for c in found] == [{"B": 1}, {"B": 2}]
    assert found[1].shapes == {"x": (2, 4), "ids": (2,)}


def test_small_corners_keep_asserts() -> None:
    text = (
        "trtn 1\n\nnetwork net {\n  dim A in 1..64\n  dim B in 1..64\n  assert A == B + 3\n"
        "  input x: f32[A, B]\n  output y: f32[A, B]\n  y = relu(x)\n}\n"
    )
    found = corners(load_text(text), {})
    assert found
    assert all(c.sizes["A"] == c.sizes["B"] + 3 for c in found)


def test_given_shapes_must_settle_every_dim() -> None:
    network = load_text(SPEC)
    assert corners(network, {"x": (3, 4)})[0].shapes == {"x": (3, 4), "ids": (3,)}
    text = (
        SPEC.replace("dim B", "dim C in 1..9\n  dim B")
        .replace("ids: i64[B]", "ids: i64[C]")
        .replace("n: i64[B]", "n: i64[C]")
    )
    with pytest.raises(ShapeError, match="leave `C` open"):
        corners(load_text(text.partition("profile")[0]), {"x": (3, 4)})


def _tensor(dtype: str) -> Tensor:
    return Tensor("y", BY_NAME[dtype], (3,))


@pytest.mark.parametrize(
    ("actual", "expected", "max_abs", "ok"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.0, True),
        ([1.0, 2.0, 3.0001], [1.0, 2.0, 3.0], 1e-4, True),
        ([1.0, 2.0, 3.01], [1.0, 2.0, 3.0], 1e-2, False),
        ([0.0001, 0.0, 3.0], [0.0, 0.0, 3.0], 1e-4, True),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], 0.0, True),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.0, True),
        ([0.1, 0.0, 0.0], [0.0, 0.0, 0.0], 0.1, False),
    ],
)
def test_compare(actual: list[float], expected: list[float], max_abs: float, ok: bool) -> None:
    found = compare(_tensor("f32"), np.array(actual, np.float32), np.array(expected, np.float32), 1e-4)
    assert found.max_abs == pytest.approx(max_abs, rel=1e-2)
    assert found.ok is ok


@pytest.mark.parametrize(
    ("actual", "expected"),
    [([1.0, np.nan, 1.0], [1.0, 1.0, 1.0]), ([1.0, np.inf, 1.0], [1.0, -np.inf, 1.0]), ([1.0, 1.0], [1.0, 1.0, 1.0])],
)
def test_what_cannot_be_compared_differs(actual: list[float], expected: list[float]) -> None:
    found = compare(_tensor("f32"), np.array(actual, np.float32), np.array(expected, np.float32), 1e-4)
    assert not found.ok
    assert found.json()["max_abs"] is None
    assert found.reason()


def test_the_tolerance_decides() -> None:
    actual, expected = np.array([1.0, 2.0, 2.01], np.float16), np.array([1.0, 2.0, 2.0], np.float16)
    assert compare(_tensor("f16"), actual, expected, 1e-2).ok
    assert not compare(_tensor("f16"), actual, expected, 1e-3).ok
    integers = np.array([1, 2, 3])
    assert compare(_tensor("i64"), integers, integers, 0.0).ok
    assert not compare(_tensor("i64"), integers, integers + 1, 1e-4).ok
    empty = np.zeros(0, np.float32)
    assert compare(_tensor("f32"), empty, empty, 0.0).ok


def test_the_default_goes_by_dtype_and_by_quantization() -> None:
    network = load_text(SPEC)
    assert default_tolerance(network, _tensor("f32")) == 1e-4
    assert default_tolerance(network, _tensor("f16")) == 1e-2
    quantized = SPEC.replace(
        "  y = h + x\n", "  q, s, z = dynamic_quantize_linear(x)\n  y = dequantize_linear(q, s, z)\n"
    )
    assert default_tolerance(load_text(quantized), _tensor("f32")) == 5e-2


SIGMOIDS = """trtn 1

network n {
  input x: f32[2, 3]
  output mean: f32[2]
  output both: f32[2, 6]
  output mixed: f32[2, 6]
  output half: f16[2, 3]
  output chosen: f32[2, 3]

  s = sigmoid(x)
  mean = reduce_mean(s, axes=[1])
  both = concat(s, transpose(reshape(s, shape=[3, 2]), perm=[1, 0]), axis=1)
  mixed = concat(s, x, axis=1)
  half = sigmoid(cast(x, to=f16))
  chosen = if reduce_sum(x, axes=[0, 1]) > 0.0 {
    yield s
  } else {
    yield clip(s, min=0.1, max=0.9)
  }
}
"""


def test_sigmoids_may_be_off_by_what_rounds_numbers_near_one() -> None:
    network = load_text(SIGMOIDS)
    floor = rounding_floor(network)
    assert {t.name: floor(t) for t in network.outputs} == {
        "mean": 2**-22, "both": 2**-22, "mixed": 0.0, "half": 0.0, "chosen": 2**-22,
    }  # fmt: skip
    assert floor(network.inputs[0]) == 0.0
    ours, theirs = np.array([3e-8, 1e-9], np.float32), np.array([2e-7, 0.0], np.float32)
    assert compare(_tensor("f32"), ours, theirs, 1e-4, 2**-22).is_rounding
    assert not compare(_tensor("f32"), ours, theirs, 1e-4).ok
    found = compare(_tensor("f32"), ours, theirs + np.float32(1e-6), 1e-4, 2**-22)
    assert not found.ok and found.reason().endswith("the tolerance is 1e-04, or 2.4e-07 of rounding")


# --- layer by layer ---


@pytest.fixture
def deep(tmp_path: Path, trtn: Trtn) -> Path:
    """A model of three linear layers, imported to deep.trtn."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, initializers = [], []
    source = "x"
    for n in range(3):
        initializers += [
            numpy_helper.from_array(rng.standard_normal((8, 8)).astype(np.float32), f"body.{n}.weight"),
            numpy_helper.from_array(rng.standard_normal(8).astype(np.float32), f"body.{n}.bias"),
        ]
        nodes += [
            helper.make_node("MatMul", [source, f"body.{n}.weight"], [f"/body/{n}/MatMul_output_0"]),
            helper.make_node("Add", [f"/body/{n}/MatMul_output_0", f"body.{n}.bias"], [f"/body/{n}/Add_output_0"]),
            helper.make_node("Relu", [f"/body/{n}/Add_output_0"], [source := f"/act/{n}/Relu_output_0"]),
        ]
    nodes.append(helper.make_node("Softmax", [source], ["y"], axis=-1))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 8]) for n in "xy"]
    graph = helper.make_graph(nodes, "deep", infos[:1], infos[1:], initializers)
    path = tmp_path / "deep.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    assert trtn("import", "onnx", "deep.onnx", "-o", "deep.trtn").exit_code == 0
    return path


def test_layers_that_agree(trtn: Trtn, deep: Path) -> None:
    result = trtn("verify", "deep.trtn", "--against", "deep.onnx", "--layers", "--format", "json")
    assert result.exit_code == 0, result.output
    layers = json.loads(result.stdout)["layers"]
    assert {f"/act/{n}/Relu_output_0" for n in range(3)} | {"y"} <= {d["value"] for d in layers}
    assert all(d["ok"] and d["place"].startswith("deep.trtn:") for d in layers)


def test_an_altered_weight_is_found(trtn: Trtn, deep: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "deep.weights.trtn"
    lines = manifest.read_text().splitlines()
    altered = [n for n, line in enumerate(lines) if "[1].weight:" in line]
    assert len(altered) == 1
    lines[altered[0]] = lines[altered[0]].partition("=")[0] + "= normal(7, 0.02)"
    manifest.write_text("\n".join(lines) + "\n")
    result = trtn("verify", "deep.trtn", "--against", "deep.onnx", "--layers", "--format", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    first = next(d for d in document["layers"] if not d["ok"])
    assert first["value"] in ("/body/1/MatMul_output_0", "/body/1/Add_output_0")
    assert [d["ok"] for d in document["layers"] if "/0/" in d["value"]].count(False) == 0
    text = trtn("verify", "deep.trtn", "--against", "deep.onnx", "--layers")
    assert "is the first layer that departs" in text.stderr
    assert f"--> {first['place']}:" in text.stderr
    assert "DEPARTS" in text.stdout


RENAMED = """\
trtn 1
weights w = "deep.weights.trtn"

network deep {
  dim N in 1..64
  input x: f32[N, 8]
  output y: f32[N, 8]

  first = relu(linear(x, w.body[0].weight, w.body[0].bias))
  middle = relu(linear(first, w.body[1].weight, w.body[1].bias))
  y = softmax(relu(linear(middle, w.body[2].weight, w.body[2].bias)))
}
"""


def test_layers_are_matched_by_place_where_names_were_changed(deep: Path, tmp_path: Path) -> None:
    from trtn.dsl.convert.onnx.counterparts import counterparts

    names = "".join(
        f"  tensor body[{n}].weight: f32[8, 8] = zeros\n  tensor body[{n}].bias: f32[8] = zeros\n" for n in range(3)
    )
    (tmp_path / "deep.weights.trtn").write_text(f"trtn 1\n\nmanifest deep {{\n{names}}}\n")
    (tmp_path / "renamed.trtn").write_text(RENAMED)
    network = load(tmp_path / "renamed.trtn")
    found = counterparts(network, deep)
    values = {t.name: found.get(id(t)) for layer in network.layers for t in layer.outputs}
    assert (values["first"], values["middle"], values["y"]) == ("/act/0/Relu_output_0", "/act/1/Relu_output_0", "y")
