"""A small spec, its engine and the ONNX model that says the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trtn.cli.app import app

Trtn = Callable[..., Result]

SPEC = """\
trtn 1

network tiny {
  doc "Two layers, to try the command line on."
  dim B in 1..8

  input x: f32[B, 4]
  input ids: i64[B]
  output y: f32[B, 4]
  output n: i64[B]

  h = relu(x)
  y = h + x
  n = ids + ids
}

profile small for tiny {
  B: min 1, opt 2, max 4
}

profile large for tiny {
  B: min 2, opt 4, max 8
}
"""


@pytest.fixture
def trtn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trtn:
    """Runs the command line in an empty folder, without a terminal and without the user's colour settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "TRTN_BACKTRACE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(app, list(arguments), input=input)

    return run


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.trtn"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="session")
def engine_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from trtn.backend.build import build
    from trtn.dsl.load import load_text

    path = tmp_path_factory.mktemp("engine") / "tiny.engine"
    build(load_text(SPEC, path="tiny.trtn"), device="cpu").save(path)
    return path.read_bytes()


@pytest.fixture
def engine(tmp_path: Path, engine_bytes: bytes) -> Path:
    path = tmp_path / "tiny.engine"
    path.write_bytes(engine_bytes)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The network of SPEC as ONNX."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Add", ["h", "x"], ["y"]),
        helper.make_node("Add", ["ids", "ids"], ["n"]),
    ]
    floats, integers = TensorProto.FLOAT, TensorProto.INT64
    inputs = [
        helper.make_tensor_value_info("x", floats, ["B", 4]),
        helper.make_tensor_value_info("ids", integers, ["B"]),
    ]
    outputs = [
        helper.make_tensor_value_info("y", floats, ["B", 4]),
        helper.make_tensor_value_info("n", integers, ["B"]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    path = tmp_path / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
