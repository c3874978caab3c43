"""A cuDNN graph as plain data: what another process can build, a file can be named after and a test can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["GraphSpec", "NodeSpec", "PlanName", "TensorSpec"]

Value = int | float | bool | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of the caller's. `dtype` is the language's name."""

    uid: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A call of a graph's method. Operands are tensors by uid, or earlier nodes' results: -1 for the first node's."""

    call: str
    operands: tuple[tuple[str, int], ...]
    options: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """The last node's result is `output`."""

    tensors: tuple[TensorSpec, ...]
    nodes: tuple[NodeSpec, ...]
    output: TensorSpec

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> GraphSpec:
        row = json.loads(text)
        return cls(
            tuple(_tensor(t) for t in row["tensors"]),
            tuple(NodeSpec(n["call"], _pairs(n["operands"]), _pairs(n["options"])) for n in row["nodes"]),
            _tensor(row["output"]),
        )

    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanName:
    """cuDNN's engine and its knobs: enough to make the plan again."""

    engine: int
    knobs: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return ",".join([f"e{self.engine}", *(f"{knob}={value}" for knob, value in self.knobs)])

    @classmethod
    def parse(cls, text: str) -> PlanName:
        """Raises ValueError for what is no such name."""
        engine, *knobs = text.split(",")
        if not engine.startswith("e"):
            raise ValueError(f"`{text}` names no plan")
        pairs = [knob.split("=") for knob in knobs]
        return cls(int(engine[1:]), tuple((key, int(value)) for key, value in pairs))


def _tensor(row: Any) -> TensorSpec:
    return TensorSpec(row["uid"], tuple(row["dims"]), tuple(row["strides"]), row["dtype"])


def _pairs(rows: Sequence[Sequence[Any]]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in rows)
