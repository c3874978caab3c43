"""Networks as ONNX models: valid, and with the same results in ONNX Runtime as in the reference."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtn
from tests.dsl.convert.export_case import Array, Case
from tests.dsl.convert.export_cases import CASES
from tests.interpreter import evaluate_network
from trtn.dsl.builder import Builder
from trtn.dsl.convert.export import export_onnx, newest_opset, save_onnx, trtexec_command
from trtn.dsl.dims import Range, Relation, evaluate, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Assertion, Network, Profile, ProfileRange, Weight
from trtn.dsl.ops.base import catalogue

SPECS = Path(__file__).parents[3] / "specs"
F32, I64 = BY_NAME["f32"], BY_NAME["i64"]
NO_KERNEL = {("roi_align", 23)}
"""What ONNX Runtime has no kernel for, by op and opset: the model is checked and not run."""


def run_ort(model: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_same(actual: Mapping[str, Array], expected: Mapping[str, Array], rtol: float) -> None:
    """The same names in the same order, dtypes and shapes; numbers within `rtol` of the largest."""
    assert list(actual) == list(expected)
    for name, want in expected.items():
        got = actual[name]
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, name)
            continue
        finite = want[np.isfinite(want)]
        bound = rtol * max(1e-3, float(np.abs(finite).max(initial=0)))
        np.testing.assert_allclose(got, want, rtol=rtol, atol=bound, err_msg=name)


def exported(network: Network, opset: int = 21) -> Any:
    """The model, after ONNX's own checks."""
    model = export_onnx(network, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    return model


def check(case: Case, opset: int) -> None:
    network = case.network()
    model = exported(network, opset)
    with np.errstate(all="ignore"):
        expected = evaluate_network(network, case.feeds())
    if (case.op, opset) not in NO_KERNEL:
        rtol = 2e-3 if any(a.dtype == np.float16 for a in expected.values()) else case.rtol
        assert_same(run_ort(model, case.feeds()), expected, rtol)


# --- ops ---


@pytest.mark.parametrize("case", CASES, ids=str)
def test_op(case: Case) -> None:
    check(case, max(21, case.since))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_was_written_is_read_again(case: Case) -> None:
    """With the same results: in the ops that it was spelled out in, where ONNX lacks its op."""
    network = case.network()
    again = trtn.import_onnx(export_onnx(network, opset=max(21, case.since)))
    rtol = 2e-3 if any(t.dtype.name == "f16" for t in network.outputs) else case.rtol
    with np.errstate(all="ignore"):
        assert_same(evaluate_network(again, case.feeds()), evaluate_network(network, case.feeds()), rtol)


def test_every_op_has_a_case() -> None:
    drawn = {op.name for op in catalogue().values() if not op.deterministic}  # their tests: test_export_random
    assert {c.op for c in CASES} | drawn == catalogue().keys()


@pytest.mark.parametrize("opset", [17, 18, 20, 23])
def test_ops_of_other_opsets(opset: int) -> None:
    """Every op once; those whose ONNX form depends on the opset with all their cases."""
    changing = {
        "gelu", "mish", "swish", "bitwise_and", "bitwise_not", "group_norm", "rms_norm", "attention", "pad", "avg_pool",
        "lp_pool", "resize", "quantize_linear", "dequantize_linear", "reduce_max", "reduce_mean", "cumprod", "dft",
        "affine_grid", "grid_sample",
    }  # fmt: skip
    seen: set[str] = set()
    for case in CASES:
        if case.since <= opset and (case.op in changing or case.op not in seen):
            seen.add(case.op)
            check(case, opset)


def test_the_newest_opset_is_valid() -> None:
    seen: set[str] = set()
    for case in CASES:
        if case.op not in seen:
            seen.add(case.op)
            exported(case.network(), newest_opset())


@pytest.mark.parametrize("name", ["bf16", "f16", "f64", "f8e4m3", "i8", "u16", "u64", "i4"])
def test_dtypes_are_widened_where_an_op_does_not_take_them(name: str) -> None:
    dtype = BY_NAME[name]
    b = Builder("narrow")
    x = b.input("x", dtype, (2, 3))
    y = x
    for op in ("add", "mul", "max"):
        (y,) = b.layer(op, y, x, name=op)
    if dtype.is_float:
        for op in ("celu", "gelu", "silu", "softmax", "asinh", "isinf"):
            (z,) = b.layer(op, y, name=op)
            y = z if z.dtype is dtype else y
    network = b.finish([("y", y), ("s", b.layer("reduce_sum", y, name="s", axes=[1])[0])])
    for opset in (19, 21, 23):
        if name == "i4" and opset < 21:
            with pytest.raises(BuildError, match="i4 came later"):
                export_onnx(network, opset=opset)
        else:
            assert exported(network, opset).graph.output[0].type.tensor_type.elem_type


# --- specs ---


def small(name: str, numbers: Mapping[str, str], folder: Path) -> Network:
    """A spec of the product with other sizes."""
    (folder / "ops").mkdir()
    (folder / "ops" / "attention.trtn").write_text((SPECS / "ops" / "attention.trtn").read_text())
    for file in (f"{name}.trtn", f"{name}.weights.trtn"):
        pattern = re.compile(r"\b(" + "|".join(numbers) + r")\b") if numbers else None
        text = (SPECS / file).read_text()
        (folder / file).write_text(pattern.sub(lambda m: numbers[m[1]], text) if pattern else text)
    return trtn.load(folder / f"{name}.trtn")


def feeds_of(network: Network, dims: Mapping[str, int]) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    found = {}
    for t in network.inputs:
        shape = [evaluate(d, dims) for d in t.shape]
        numbers = rng.standard_normal(shape) if t.dtype.is_float else rng.integers(0, 2, shape)
        found[t.name] = np.asarray(numbers).astype(t.dtype.numpy)
    return found


@pytest.mark.parametrize(
    ("name", "numbers", "dims", "opset"),
    [
        ("lenet", {}, {"N": 2}, 21),
        ("mobilenet_v2", {}, {"N": 1}, 17),
        ("resnet50", {}, {"N": 1}, 21),
        ("bert_base", {"768": "48", "3072": "96", "30522": "100"}, {"B": 2, "S": 16}, 17),
        ("bert_base", {"768": "48", "3072": "96", "30522": "100"}, {"B": 2, "S": 8}, 23),
        ("gpt2_small", {"768": "48", "3072": "96", "2304": "144", "50257": "100"}, {"B": 2, "S": 5}, 21),
        ("gpt2_small", {"768": "48", "3072": "96", "2304": "144", "50257": "100"}, {"B": 1, "S": 7}, 23),
    ],
)
def test_specs(name: str, numbers: dict[str, str], dims: dict[str, int], opset: int, tmp_path: Path) -> None:
    network = small(name, numbers, tmp_path)
    model = exported(network, opset)
    feeds = feeds_of(network, dims)
    results = run_ort(model, feeds)
    assert_same(results, trtn.build(network, device="cpu").run(feeds), 1e-5)
    assert {i.name for i in model.graph.initializer} >= {t.weight.name for t in network.weights if t.weight}
    if name != "resnet50":  # and back
        again = export_onnx(trtn.import_onnx(model), opset=opset)
        assert_same(run_ort(again, feeds), results, 1e-5)


# --- names, dims, metadata ---


def sample() -> Network:
    """A network with an odd name or two, profiles, an assert, a size that only the data decides."""
    b = Builder("sample", dims={"N": Range(1, 64), "S": Range(8, 512, 8)}, doc="A sample.")
    x = b.input("the image:0", F32, (symbol("N"), symbol("S")))
    w = b.constant(np.arange(6, dtype=np.float32), "h")  # the name that a layer has, too
    (h,) = b.layer("mul", x, b.constant(np.asarray(2, np.float32)), name="h")
    (flat,) = b.layer("reshape", h, name="flat", shape=[symbol("N") * symbol("S")])
    (places,) = b.layer("nonzero", flat, name="places", data_dims=["K"])
    (row,) = b.layer("reshape", places, name="row", shape=[symbol("K")])
    (picked,) = b.layer("gather", flat, row, name="picked")
    (twice,) = b.layer("fill", name="twice", shape=[symbol("K") * 2 - 1], value=1.0)
    b.asserts.append(Assertion(Relation("<=", symbol("N") * symbol("S"), 4096), "token budget"))
    network = b.finish([("picked values", picked), ("again", picked), ("twice", twice), ("w", w), ("the image:0", x)])
    ranges = {"N": ProfileRange(1, 4, 8), "S": ProfileRange(8, 64, 128)}
    profiles = (Profile("bulk", ranges), Profile("one", {**ranges, "N": ProfileRange(1, 1, 1)}))
    return Network(**{f: getattr(network, f) for f in Network.__dataclass_fields__} | {"profiles": profiles})


def test_names_dims_and_metadata_are_kept() -> None:
    network = sample()
    model = exported(network)
    graph = model.graph
    assert graph.name == "sample"
    assert (model.doc_string, graph.doc_string) == ("A sample.", "A sample.")
    assert [v.name for v in graph.input] == ["the image:0"]
    assert [v.name for v in graph.output] == ["picked values", "again", "twice", "w", "the image:0"]
    dims = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.output}
    assert dims["the image:0"] == ["N", "S"]
    assert dims["picked values"] == ["K"]
    assert dims["twice"] == ["2*K - 1"]
    assert dims["w"] == [6]
    assert "h" in {i.name for i in graph.initializer}
    assert {"h_2", "flat", "places"} <= {n.name for n in graph.node}
    assert len({n.name for n in graph.node}) == len(graph.node)
    found = {p.key: p.value for p in model.metadata_props}
    assert found["trtn.dim.N"] == "1..64"
    assert found["trtn.dim.S"] == "8..512 step 8"
    assert found["trtn.dim.K"] == "0..N*S"
    assert found["trtn.assert.0"] == "N*S <= 4096 # token budget"
    assert json.loads(found["trtn.profile.bulk"])["dims"]["N"] == {"min": 1, "opt": 4, "max": 8}
    feeds = {"the image:0": np.where(np.arange(16).reshape(2, 8) % 3 == 0, 1.5, 0).astype(np.float32)}
    assert_same(run_ort(model, feeds), evaluate_network(network, feeds), 1e-6)


def test_dims_are_computed_once() -> None:
    b = Builder("twice", dims={"N": Range(1, 64), "S": Range(1, 64)})
    n, s = symbol("N"), symbol("S")
    x = b.input("x", F32, (n, s))
    outputs = []
    for number in range(3):
        (y,) = b.layer("fill", name=f"y{number}", shape=[n * s, n + s], value=float(number))
        outputs.append((f"y{number}", y))
    (z,) = b.layer("reshape", x, name="z", shape=[n * s])
    model = exported(b.finish([*outputs, ("z", z)]))
    counts = [n.op_type for n in model.graph.node]
    assert counts.count("Shape") == 2
    assert counts.count("Mul") == counts.count("Add") == 1


def test_trtexec() -> None:
    command = trtexec_command(sample(), "a b.onnx")
    assert command == (
        "trtexec '--onnx=a b.onnx' '--minShapes='\"'\"'the image:0'\"'\"':1x8' "
        "'--optShapes='\"'\"'the image:0'\"'\"':4x64' '--maxShapes='\"'\"'the image:0'\"'\"':8x128' "
        "'--saveEngine=a b.plan'"
    )
    assert ":1x64" in trtexec_command(sample(), "a.onnx", profile="one")
    b = Builder("open", dims={"N": Range(2, 9)})
    (y,) = b.layer("relu", b.input("x", F32, (symbol("N"), 3)), name="y")
    words = trtexec_command(b.finish([("y", y)]), "a.onnx").split()
    assert words[2:5] == ["--minShapes=x:2x3", "--optShapes=x:9x3", "--maxShapes=x:9x3"]
    b = Builder("values", dims={})
    (y,) = b.layer("fill", b.input("shape", I64, (2,)), name="y")
    network = b.finish([("y", y)])
    element = ProfileRange(1, 2, 3)
    fields = {f: getattr(network, f) for f in Network.__dataclass_fields__}
    network = Network(**fields | {"profiles": (Profile("p", {}, {"shape": (element, element)}),)})
    assert "--optShapes=shape:2x2" in trtexec_command(network, "a.onnx")


# --- weights and files ---


def dense() -> Network:
    rng = np.random.default_rng(0)
    b = Builder("dense", dims={"N": Range(1, 8)})
    x = b.input("x", F32, (symbol("N"), 40))
    for n in range(3):
        weight = b.constant(rng.standard_normal((40, 40)).astype(np.float32), f"fc[{n}].weight")
        (x,) = b.layer("linear", x, weight, b.constant(np.ones(40, np.float32), f"fc[{n}].bias"), name=f"fc[{n}]")
    return b.finish([("y", x)])


def test_external_data(tmp_path: Path) -> None:
    network, path = dense(), tmp_path / "dense.onnx"
    seen: list[tuple[str, int, int]] = []
    files = save_onnx(network, path, external_data=True, progress=lambda *step: seen.append(step))
    assert files == (path, tmp_path / "dense.onnx.data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense.onnx", "dense.onnx.data"]
    assert seen[-1] == ("writing weights", 2 * 8192 + 6400, 2 * 8192 + 6400)
    onnx.checker.check_model(str(path), full_check=True)
    places = {}
    for proto in onnx.load(path, load_external_data=False).graph.initializer:
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            places[proto.name] = {e.key: e.value for e in proto.external_data}
    assert [p["offset"] for p in places.values()] == ["0", "8192", "16384"]
    assert places["fc[1].weight"] == {"location": "dense.onnx.data", "offset": "8192", "length": "6400"}
    feeds = feeds_of(network, {"N": 2})
    expected = evaluate_network(network, feeds)
    assert_same(run_ort(path, feeds), expected, 1e-5)
    assert_same(run_ort(export_onnx(trtn.import_onnx(path)), feeds), expected, 1e-5)
    assert save_onnx(network, path) == (path,)
    assert_same(run_ort(path, feeds), expected, 1e-5)


def test_a_failure_leaves_the_old_files(tmp_path: Path) -> None:
    path = tmp_path / "dense.onnx"
    save_onnx(dense(), path)
    before = path.read_bytes()
    with pytest.raises(BuildError):
        save_onnx(dense(), path, opset=3)
    with pytest.raises(BuildError, match="can't be written"):
        save_onnx(dense(), tmp_path / "no" / "such.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["dense.onnx"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["f64", "f16", "bf16", "f8e5m2", "i4", "u4", "i16", "u64", "bool"])
def test_weights_of_every_dtype(name: str) -> None:
    dtype = BY_NAME[name]
    array = np.asarray([[1, 0, 3], [2, 1, 0], [1, 1, 1]]).astype(dtype.numpy)
    b = Builder("weight")
    w = b.constant(array, "w")
    x = b.input("x", dtype, (3, 3))
    (y,) = b.layer("concat", x, w, name="y", axis=0)
    (proto,) = (i for i in exported(b.finish([("y", y)])).graph.initializer if i.name == "w")
    found = onnx.numpy_helper.to_array(proto)
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


# --- what can't be written ---


def test_refusals_name_every_layer() -> None:
    b = Builder("late")
    x, i = b.input("x", F32, (4,)), b.input("i", I64, (2,))
    (a,) = b.layer("scatter_elements", x, i, b.input("u", F32, (2,)), name="a", reduction="max")
    (c,) = b.layer("bit_cast", a, name="c", to="i32")
    network = b.finish([("c", c)])
    with pytest.raises(BuildError) as caught:
        export_onnx(network, opset=17)
    assert [d.code for d in caught.value.diagnostics] == ["E0805", "E0805"]
    first, second = (d.message for d in caught.value.diagnostics)
    assert first == (
        "`scatter_elements` of layer `a` has no form in ONNX opset 17: its reduction `max` is one of opset 18 and later"
    )
    assert "`bit_cast` of layer `c`" in second
    exported(network, 26)


def test_weights_that_no_file_can_hold(tmp_path: Path) -> None:
    class Large:
        def load(self) -> Array:
            raise AssertionError("read")

    b = Builder("large")
    w = b.weight(Weight("w", F32, (500_000_000,), Large()))
    (y,) = b.layer("relu", w, name="y")
    network = b.finish([("y", y)])
    for write in (export_onnx, lambda n: save_onnx(n, tmp_path / "a.onnx", external_data=False)):
        with pytest.raises(BuildError, match=r"weights of 2\.00 GB don't fit"):
            write(network)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [-1, 16, 1000])
def test_opsets_outside(opset: int) -> None:
    with pytest.raises(BuildError, match=f"opset {opset} can't be written: 17 to"):
        trtn.export_onnx(dense(), opset=opset)
