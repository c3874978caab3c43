"""An ONNX model in ONNX Runtime, which trtn itself does not need."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from trtn.cli.failures import EnvironmentProblem
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import ImportModelError
from trtn.dsl.network import Network, Tensor

if TYPE_CHECKING:
    import numpy as np

    _Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

__all__ = ["Reference"]

_ERRORS_ONLY = 3
_EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"
_EXACT_PRODUCTS = "session.x64quantprecision"
"""Makes u8 of i8 weights: products of u8 and i8 saturate at 16 bits on processors without VNNI instructions."""


class Reference:
    """Raises EnvironmentProblem without ONNX Runtime, ImportModelError where it does not take the model."""

    def __init__(self, path: str) -> None:
        try:
            import onnxruntime  # noqa: F401
        except ImportError:
            raise EnvironmentProblem(
                "`trtn verify` compares with ONNX Runtime; install it: pip install onnxruntime"
            ) from None
        self.path = path
        self._session = _session(path, path)
        self._inner: tuple[tuple[str, ...], Any] | None = None
        self.inputs = [t.name for t in self._session.get_inputs()]
        self.outputs = [t.name for t in self._session.get_outputs()]

    def run(self, network: Network, feeds: _Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """The model's outputs, under the names that the network's outputs have."""
        outputs = self._names("output", network.outputs, self.outputs)
        return dict(zip(outputs, self._run(self._session, network, feeds, list(outputs.values())), strict=True))

    def values(self, network: Network, feeds: _Arrays, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Values of the model's main graph by their names there, computed without optimisations."""
        if self._inner is None or self._inner[0] != tuple(names):
            self._inner = (tuple(names), _session(self.path, _with_outputs(self.path, names), plain=True))
        return dict(zip(names, self._run(self._inner[1], network, feeds, names), strict=True))

    def _run(self, session: Any, network: Network, feeds: _Arrays, outputs: Sequence[str]) -> Any:
        inputs = self._names("input", network.inputs, self.inputs)
        try:
            return session.run(list(outputs), {inputs[name]: array for name, array in feeds.items()})
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            _refuse("E0804", f"ONNX Runtime can't run {self.path} on {shapes}: {_first_line(error)}")

    def _names(self, kind: str, ours: Sequence[Tensor], theirs: Sequence[str]) -> dict[str, str]:
        """The model's name for each of ours: the same, or, where none is, by position."""
        names = [t.name for t in ours]
        if set(names) <= set(theirs):
            return {name: name for name in names}
        if len(names) == len(theirs) and not set(names) & set(theirs):
            return dict(zip(names, theirs, strict=True))
        missing = next(n for n in names if n not in theirs)
        _refuse("E0804", f"{self.path} has no {kind} `{missing}`; it has {', '.join(f'`{n}`' for n in theirs)}")


def _session(path: str, model: str | bytes, *, plain: bool = False) -> Any:
    """A session for a model's file or its bytes; `path` is where its external data lies, and what messages call it."""
    import onnxruntime

    for exact in ("1", "0"):  # it fails to turn weights into u8 that share a zero point
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY + 1  # what it would print comes as an exception too
        options.add_session_config_entry(_EXACT_PRODUCTS, exact)
        if isinstance(model, bytes):
            options.add_session_config_entry(_EXTERNAL_DATA_FOLDER, os.path.dirname(os.path.abspath(path)))
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            reason = _first_line(error)
    _refuse("E0801", f"ONNX Runtime does not take {path}: {reason}")


def _with_outputs(path: str, names: Sequence[str]) -> bytes:
    """The model with more values as outputs; ONNX Runtime finds their types itself."""
    import onnx

    from trtn.dsl.convert.onnx.reader import read_proto

    proto = read_proto(path)
    known = {v.name for v in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    data: bytes = proto.SerializeToString()
    return data


def _first_line(error: Exception) -> str:
    """ONNX Runtime's messages are long and begin with codes: `[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model
    ..`.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rpartition(" : ")[2] if lines else type(error).__name__


def _refuse(code: str, message: str) -> NoReturn:
    raise ImportModelError(message, [Diagnostic(code, message)])
