"""Writes networks as ONNX models. Needs the `onnx` package; import this package only where a model is exported."""

from __future__ import annotations

from trtn.dsl.convert.export.exporter import DEFAULT_OPSET, OLDEST_OPSET, export_onnx, newest_opset
from trtn.dsl.convert.export.files import save_onnx
from trtn.dsl.convert.export.trtexec import trtexec_command

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "export_onnx", "newest_opset", "save_onnx", "trtexec_command"]
