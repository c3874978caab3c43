"""An ONNX model as the importer reads it: decoded attributes, sorted nodes, nested graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtn.dsl.weights.sources import FileEntry

__all__ = ["ModelGraph", "Node", "OnnxModel", "ValueInfo"]


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """A declared input or output. `elem` is an onnx.TensorProto data type; `kind` is what it is when it is no tensor.

    A dim is an int, the text of a `dim_param`, or None where it is unset or negative. Without a `shape` the rank is
    unknown.
    """

    name: str
    elem: int = 0
    shape: tuple[int | str | None, ...] | None = None
    kind: str = "tensor"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node. Absent inputs and outputs are "". Attribute values are Python ones, TensorProtos, or nested graphs."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    module: str = ""
    """The path of the module that it was traced in, where the exporter notes it: `model/layers.0/mlp.fc1`."""

    @property
    def label(self) -> str:
        """What a person would call the node: its name, else its first output."""
        return self.name or next((o for o in self.outputs if o), self.op)

    @property
    def kind(self) -> str:
        """The op with its domain, where that isn't ONNX's own."""
        return f"{self.domain}::{self.op}" if self.domain else self.op

    @property
    def graphs(self) -> Iterator[ModelGraph]:
        return (a for a in self.attributes.values() if isinstance(a, ModelGraph))


@dataclass(frozen=True, slots=True, eq=False)
class ModelGraph:
    """A graph or the body of a control-flow node. Each of `nodes` follows those that it reads."""

    name: str
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
    initializers: Mapping[str, Any]
    """onnx.TensorProto by value name."""
    values: Mapping[str, ValueInfo] = field(default_factory=dict)
    """Declared types of inner values: hints, never relied upon."""
    doc: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A model that was read and found well-formed. `folder` is where external data may lie, None if nowhere."""

    graph: ModelGraph
    opsets: Mapping[str, int]
    file: str
    """The name of the model's file without its ending; "" where it came from memory."""
    folder: Path | None
    allow_outside: bool
    storage: FileEntry | None = None
    """The file as a manifest refers to it; None where it came from memory or has another ending than `.onnx`."""

    def opset(self, domain: str) -> int:
        """The version of a domain; a domain that isn't imported counts as version 1."""
        return self.opsets.get(domain, 1)
