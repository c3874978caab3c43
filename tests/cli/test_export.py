"""`trtn export onnx`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import SPEC, Trtn


def test_export_and_verify(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "tiny.trtn").write_text(SPEC)
    result = trtn("export", "onnx", "tiny.trtn", "-o", "out.onnx", "--opset", "17")
    assert result.exit_code == 0, result.output
    small, large = result.stdout.splitlines()
    assert small == (
        "trtexec --onnx=out.onnx --minShapes=x:1x4,ids:1 --optShapes=x:2x4,ids:2 --maxShapes=x:4x4,ids:4 "
        "--saveEngine=out.small.plan"
    )
    assert "--maxShapes=x:8x4,ids:8" in large
    assert result.stderr.startswith("out.onnx: network tiny, 3 layers, opset 17, out.onnx ")
    result = trtn("verify", "tiny.trtn", "--against", "out.onnx")
    assert result.exit_code == 0, result.output


def test_for_programs(trtn: Trtn) -> None:
    result = trtn("export", "onnx", "-", "-o", "out.onnx", "--format", "json", "--external-data", input=SPEC)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["trtexec"]) == 2


def test_failures(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "tiny.trtn").write_text(SPEC)
    assert trtn("export", "onnx", "tiny.trtn", "-o", "no/such/out.onnx").exit_code == 2
    assert trtn("export", "onnx", "tiny.trtn", "-o", "out.onnx", "--opset", "16").exit_code == 2
    result = trtn("export", "onnx", "tiny.trtn", "-o", "out.onnx", "--opset", "1000")
    assert result.exit_code == 1
    assert "error[E0805]" in result.stderr
    (tmp_path / "bad.trtn").write_text(SPEC.replace("relu(x)", "rele(x)"))
    assert trtn("export", "onnx", "bad.trtn", "-o", "out.onnx").exit_code == 1
    assert not (tmp_path / "out.onnx").exists()
