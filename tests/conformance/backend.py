"""The two sides of the comparison, as ONNX's backend suite wants them: trtn and ONNX Runtime."""

from __future__ import annotations

import os
import unittest
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

import trtn

__all__ = ["BACKENDS", "Prepared", "RuntimeBackend", "TrtnBackend", "session"]

os.environ.setdefault("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")  # ONNX Runtime refuses the newest opset otherwise


class Prepared(BackendRep):  # type: ignore[misc]
    """A model that takes its inputs by position."""

    def __init__(self, model: onnx.ModelProto) -> None:
        constants = {t.name for t in model.graph.initializer}
        self._names = [v.name for v in model.graph.input if v.name not in constants]

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
        return self.compute(dict(zip(self._names, map(_array, inputs), strict=False)))

    def compute(self, feeds: dict[str, Any]) -> list[Any]:
        raise NotImplementedError


def _array(value: Any) -> Any:
    """A NumPy scalar as an array; lists (sequences) and None (an empty optional) as they are."""
    return value if value is None else [_array(v) for v in value] if isinstance(value, list) else np.asarray(value)


class _Trtn(Prepared):
    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._outputs = [v.name for v in model.graph.output]
        try:
            network = trtn.import_onnx(model)
        except trtn.ImportModelError as e:
            raise unittest.SkipTest("; ".join(d.message for d in e.diagnostics)) from None
        self._engine = trtn.build(network, device="cpu")

    def compute(self, feeds: dict[str, Any]) -> list[Any]:
        found = self._engine.run(feeds)
        return [found[name] for name in self._outputs]


def session(model: onnx.ModelProto) -> Any:
    """The model in ONNX Runtime, on one thread of the CPU. Raises its exceptions, which share no base class."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Runtime(Prepared):
    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._session = session(model)

    def compute(self, feeds: dict[str, Any]) -> list[Any]:
        return list(self._session.run(None, feeds))


class TrtnBackend(Backend):  # type: ignore[misc]
    """What can't be imported is a skipped test, with the reason. Everything else that goes wrong is a failure."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        return _Trtn(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class RuntimeBackend(TrtnBackend):
    """ONNX Runtime on CPU, one thread."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        return _Runtime(model)


BACKENDS: dict[str, type[TrtnBackend]] = {"trtn": TrtnBackend, "onnxruntime": RuntimeBackend}
