"""`trtn import onnx` of a model with external data: what it takes of memory does not grow with the model.

In CI the data is 256 MB, in tensors of 32 MB. With TRTN_FULL_TESTS it is 3 GB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trtn.dsl.load import load

onnx = pytest.importorskip("onnx")

FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
LAYERS = 96 if FULL else 8
WIDTH = 4096
ROWS = 2048
PEAK = 600_000_000 if FULL else 220_000_000
"""Bytes. In CI less than the data: neither all of it nor a copy of it fits."""
MEASURE = """
import runpy, sys
from pathlib import Path
sys.argv = ["trtn", *sys.argv[1:]]
try:
    runpy.run_module("trtn", run_name="__main__", alter_sys=True)
finally:
    # Not getrusage: a child starts as a copy of its parent, whose memory would count.
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print("peak", int(lines["VmHWM"].split()[0]) * 1024)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linear layers of 32 MB; every other one is stored the other way round."""
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("large")
    size = ROWS * WIDTH * 4
    nodes, tensors = [], []
    source = "x"
    piece = bytes(range(1, 252)) * (size // 251 + 2)
    with (folder / "large.data").open("wb") as file:
        for n in range(LAYERS):
            shape = [ROWS, WIDTH] if n % 2 == 0 else [WIDTH, ROWS]
            tensor = TensorProto(name=f"layers.{n}.weight", data_type=1, dims=shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", "large.data"), ("offset", str(file.tell())), ("length", str(size))):
                tensor.external_data.add(key=key, value=value)
            tensors.append(tensor)
            file.write(memoryview(piece)[n : n + size])
            result = f"/layers.{n}/out"
            nodes.append(helper.make_node("Gemm" if n % 4 == 0 else "MatMul", [source, tensor.name], [result]))
            source = result
    nodes[0].attribute.append(helper.make_attribute("transB", 0))
    nodes.append(helper.make_node("Relu", [source], ["y"]))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", ROWS]) for n in "xy"]
    graph = helper.make_graph(nodes, "large", infos[:1], infos[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(proto, folder / "large.onnx")
    return folder / "large.onnx"


def peak_of(*arguments: str, folder: Path) -> int:
    command = [sys.executable, "-c", MEASURE, *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(result.stdout.split("peak ")[1])


def test_copied(model: Path) -> None:
    peak = peak_of("import", "onnx", model.name, "-o", "copied.trtn", folder=model.parent)
    copy = model.parent / "copied.safetensors"
    assert copy.stat().st_size > LAYERS * ROWS * WIDTH * 4
    copy.unlink()
    assert peak < PEAK


def test_kept(model: Path) -> None:
    peak = peak_of("import", "onnx", model.name, "-o", "kept.trtn", "--keep-storage", folder=model.parent)
    assert peak < PEAK
    assert sorted(p.name for p in model.parent.glob("kept*")) == ["kept.trtn", "kept.weights.trtn"]
    assert 'file f0 = "large.onnx"' in (model.parent / "kept.weights.trtn").read_text()
    network = load(model.parent / "kept.trtn")
    assert len([t for t in network.weights if t.weight is not None]) == LAYERS
    weight = network.weights[0].weight
    assert weight is not None
    assert weight.load().tobytes()[:1000] == (bytes(range(1, 252)) * 4)[:1000]
