"""Imports ONNX models. Needs the `onnx` package; import this package only where a model is imported."""

from __future__ import annotations

from trtn.dsl.convert.onnx.importer import import_onnx
from trtn.dsl.convert.onnx.inputdims import DEFAULT_RANGE

__all__ = ["DEFAULT_RANGE", "import_onnx"]
