"""What stands between the brackets of a call, or around an operator: names, weights, literals of short constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.elaborate.expressions import INFIX
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.signature import Input
from trtn.dsl.printer.literals import default_dtype
from trtn.dsl.syntax.names import quote_string

__all__ = ["Operand", "arguments", "infix", "standalone"]

_OPERATORS = {name: sign for sign, name in INFIX.items()}
_STATIC_FUNCTIONS = frozenset({"min", "max", "sqrt"})
"""Calls of these are computed when the text is read, where all their arguments are numbers."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An input of a layer: the name that it has in the text, or the elements of a constant."""

    tensor: Tensor | None
    name: str = ""
    literal: str = ""
    quoted: bool = False
    """Whether its dtype goes in quotes, because a tensor is called as the dtype is."""

    @property
    def is_number(self) -> bool:
        """Whether it may be written as a bare number, where its dtype follows from what is around it."""
        return bool(self.literal) and not self.literal.startswith("[")

    @property
    def text(self) -> str:
        """The text that means this tensor anywhere."""
        if self.tensor is None:
            return "none"
        if self.name:
            return self.name
        dtype = self.tensor.dtype.name
        return f"constant({self.literal}, dtype={quote_string(dtype) if self.quoted else dtype})"


def standalone(operand: Operand) -> str:
    """An operand where nothing tells the dtype of a number."""
    assert operand.tensor is not None
    return operand.literal if operand.is_number and default_dtype(operand.tensor.dtype) else operand.text


def arguments(layer: Layer, operands: Sequence[Operand]) -> list[str]:
    """The arguments of a call. A number is bare where its dtype follows: that of its variable's other tensors."""
    declared = layer.op.spec.inputs
    bare = {n for n, o in enumerate(operands) if o.is_number}
    while wrong := [n for n in sorted(bare) if not _dtype_follows(declared, operands, bare, n)]:
        bare.discard(wrong[0])
    if layer.op.name in _STATIC_FUNCTIONS and len(bare) == len(operands):
        bare.discard(0)
    return [o.literal if n in bare else o.text for n, o in enumerate(operands)]


def _dtype_follows(declared: Sequence[Input], operands: Sequence[Operand], bare: set[int], index: int) -> bool:
    kind = _kind(declared, index)
    wanted: DType | None = None
    if kind != "any":
        others = (o.tensor for n, o in enumerate(operands) if n not in bare and o.tensor and _kind(declared, n) == kind)
        wanted = BY_NAME.get(kind) or next((t.dtype for t in others), None)
    tensor = operands[index].tensor
    assert tensor is not None
    return default_dtype(tensor.dtype) if wanted is None else wanted is tensor.dtype


def _kind(declared: Sequence[Input], index: int) -> str:
    return declared[min(index, len(declared) - 1)].type if declared else ""


def infix(layer: Layer, operands: Sequence[Operand]) -> str | None:
    """`a + b`, `-x`, `x * 0.5`, or None where an operator would mean something else or read worse than the call."""
    if layer.op.name == "neg" and operands[0].name:
        return f"-{operands[0].name}"
    sign = _OPERATORS.get(layer.op.name)
    if sign is None or len(operands) != 2:
        return None
    a, b = operands
    if a.tensor is None or b.tensor is None:
        return None
    if a.name and b.name:
        return f"{a.name} {sign} {b.name}"
    numbers = [o for o in (a, b) if o.is_number]
    if len(numbers) != 1 or not (a.name or b.name) or a.tensor.dtype is not b.tensor.dtype:
        return None
    if sign == "**" and a.literal.startswith("-"):
        return None
    return f"{a.name or a.literal} {sign} {b.name or b.literal}"
