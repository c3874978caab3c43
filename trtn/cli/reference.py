"""An ONNX model in ONNX Runtime, which trtn itself does not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from trtn.cli.failures import EnvironmentProblem
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import ImportModelError
from trtn.dsl.network import Network, Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Reference"]

_ERRORS_ONLY = 3


class Reference:
    """Raises EnvironmentProblem without ONNX Runtime, ImportModelError where it does not take the model."""

    def __init__(self, path: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise EnvironmentProblem(
                "`trtn verify` compares with ONNX Runtime; install it: pip install onnxruntime"
            ) from None
        self.path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY + 1  # what it would print comes as an exception too
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            _refuse("E0801", f"ONNX Runtime does not take {path}: {_first_line(error)}")
        self.inputs = [t.name for t in self._session.get_inputs()]
        self.outputs = [t.name for t in self._session.get_outputs()]

    def run(self, network: Network, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """The model's outputs, under the names that the network's outputs have."""
        inputs = self._names("input", network.inputs, self.inputs)
        outputs = self._names("output", network.outputs, self.outputs)
        try:
            results = self._session.run(list(outputs.values()), {inputs[name]: array for name, array in feeds.items()})
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            _refuse("E0804", f"ONNX Runtime can't run {self.path} on {shapes}: {_first_line(error)}")
        return dict(zip(outputs, results, strict=True))

    def _names(self, kind: str, ours: Sequence[Tensor], theirs: Sequence[str]) -> dict[str, str]:
        """The model's name for each of ours: the same, or, where none is, by position."""
        names = [t.name for t in ours]
        if set(names) <= set(theirs):
            return {name: name for name in names}
        if len(names) == len(theirs) and not set(names) & set(theirs):
            return dict(zip(names, theirs, strict=True))
        missing = next(n for n in names if n not in theirs)
        _refuse("E0804", f"{self.path} has no {kind} `{missing}`; it has {', '.join(f'`{n}`' for n in theirs)}")


def _first_line(error: Exception) -> str:
    """ONNX Runtime's messages are long and begin with codes: `[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model
    ..`.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rpartition(" : ")[2] if lines else type(error).__name__


def _refuse(code: str, message: str) -> NoReturn:
    raise ImportModelError(message, [Diagnostic(code, message)])
